"""Arguments for a function of which only name and signature are known, and the public functions of a module."""

import inspect
import itertools
import re
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx

# Tried are first one shape for all arrays, then a shape for each; images are (n, h, w, c).
SHAPES = ((3, 4), (3,), (4, 4), (2, 8, 8, 3), (2, 3, 4), ())
OWN_SHAPES = ((4, 4), (4,), (3, 4), ())
MOST_PARAMETERS = 6
MOST_OF_OWN_SHAPE = 3


class Generated(NamedTuple):
    """Generated arguments.

    Attributes:
        args: The arguments; None where none were found.
        reason: Why none were found.
    """

    args: tuple[Any, ...] | None
    reason: str = ""


# --- values, by NumPy: JAX would compile a program for each shape ------------------------------------------


def _definite(random, shape):
    """A symmetric positive definite matrix for square shapes, else ordinary numbers."""
    half = random.uniform(-1, 1, shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return half
    return half @ np.swapaxes(half, -1, -2) + np.eye(shape[-1])


# Distributions, tried in this order until the output is finite.
DRAWS: dict[str, Callable[..., Any]] = {
    "ordinary": lambda random, shape: random.uniform(-1.5, 1.5, shape),
    "between 0 and 1": lambda random, shape: random.uniform(0.1, 0.9, shape),
    "positive": lambda random, shape: random.uniform(0.5, 2.0, shape),
    "above 1": lambda random, shape: random.uniform(1.2, 2.5, shape),
    "definite": _definite,
}


def _floats(shape):
    return lambda random, draw: jnp.asarray(DRAWS[draw](random, shape), jnp.float32)


def _integers(shape):
    return lambda random, draw: jnp.asarray(random.integers(0, 3, shape), jnp.int32)


def _booleans(shape):
    return lambda random, draw: jnp.asarray(random.random(shape) < 0.7)


def _scalar(random, draw):
    """A small positive number, as settings are."""
    return jnp.asarray(random.uniform(0.1, 0.5), jnp.float32)


def _fixed(make):
    return lambda random, draw: make()


def _labels(shape):
    """Labels of rows, of entries, or probabilities of classes."""
    return [_integers(shape[:-1] if len(shape) > 1 else shape), _integers(shape), _floats(shape)]


# What a parameter with a name may be, where the floating-point arrays have a shape.
BY_NAME: dict[str, Callable[..., list[Any]]] = {
    "key|rng|prng_key|seed": lambda shape: [_fixed(lambda: jax.random.key(0)), _floats(shape)],
    "labels?|targets?|indices|index|idx|ids|.*_ids": _labels,
    "mask|condition|cond|.*_mask": lambda shape: [_booleans(shape), _floats(shape)],
    "eps|epsilon|tol|tolerance|temperature|margin|delta|scale|rate|.*_eps": lambda shape: [_scalar, _floats(shape)],
    "axis|dim": lambda shape: [_fixed(lambda: -1)],
    "num_.*|n_.*|.*_size|size|length": lambda shape: [_fixed(lambda: 4), _floats(shape)],
}


def _kinds(name, shape):
    for pattern, options in BY_NAME.items():
        if re.fullmatch(pattern, name):
            return options(shape)
    return [_floats(shape)]


# --- the search ---------------------------------------------------------------------------------------------


def generated(f: Callable[..., Any]) -> Generated:
    """Arguments for which f can be traced, and has an output that depends on a floating-point input.

    Shapes, kinds by the names of the parameters, and values are tried until some fit. Only parameters without a default
    get an argument. Floating-point arrays are float32, random with a fixed seed, from the first of several
    distributions with which all outputs are finite.

    Args:
        f: Any callable. Its exceptions are caught.

    Returns:
        The arguments, or the reason why none were found.

    Examples:
        >>> [x.shape for x in generated(jnp.matmul).args]
        [(3,), (3,)]
    """
    try:
        lists = _parameters(f)
    except (TypeError, ValueError) as error:
        return Generated(None, str(error))
    reason = "takes no argument"
    for names in lists:
        for kinds in _combinations(names):
            args = _drawn(kinds, "ordinary")
            found = _objection(f, args)
            if found is None:
                kinds = _differentiable(f, kinds, args)
                return Generated(_finite(f, kinds) or _drawn(kinds, "ordinary"))
            reason = found
    return Generated(None, reason)


def _parameters(f) -> list[tuple[Any, ...]]:
    """The names of the parameters that need an argument; several lists where their number may vary."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return [("x",), ("x", "y"), ("x", "y", "z")]
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    only_by_name = [p.name for p in needed if p.kind is p.KEYWORD_ONLY]
    if only_by_name:
        raise TypeError(f"needs {', '.join(only_by_name)} by name")
    names = tuple(p.name for p in needed if p.kind is not p.VAR_POSITIONAL)
    if len(names) > MOST_PARAMETERS:
        raise TypeError(f"takes {len(names)} arguments; at most {MOST_PARAMETERS} are tried")
    if any(p.kind is p.VAR_POSITIONAL for p in needed):
        return [(*names, "x"), (*names, "x", "y")]
    return [names or tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)[:1]]


def _combinations(names) -> Iterator[tuple[Any, ...]]:
    """Kinds of values for the parameters: of one shape, then with integers, then with a shape for each."""
    if not names:
        return
    for shape in SHAPES:
        yield from itertools.product(*[_kinds(name, shape) for name in names])
    two = _fixed(lambda: 2)
    for shape in SHAPES[:3] if len(names) > 1 else ():
        yield (_floats(shape), *[two] * (len(names) - 1))
        yield (two, *[_floats(shape)] * (len(names) - 1))
        yield (*[_floats(shape)] * (len(names) - 1), two)
    if 1 < len(names) <= MOST_OF_OWN_SHAPE:
        for shapes in itertools.product(OWN_SHAPES, repeat=len(names)):
            yield tuple(_kinds(name, shape)[0] for name, shape in zip(names, shapes, strict=True))


def _drawn(kinds, draw):
    random = np.random.default_rng(0)
    return tuple(kind(random, draw) for kind in kinds)


def _objection(f, args) -> str | None:
    """Why these arguments do not fit; None where they do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jaxpr, _, arrays = jx.trace_arrays(f, args, {})
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    inputs = [_is_float(x) for x in arrays]
    outputs = zip(jx.opened(jaxpr).outvars, jx.dependent_outputs(jaxpr, inputs), strict=True)
    if any(depends and _is_float(v.aval) for v, depends in outputs):
        return None
    return "no floating-point output depends on a floating-point input"


def _differentiable(f, kinds, args):
    """The kinds of values, with floats for integer arrays where JAX can derive f only at floats."""
    integers = [jx.is_array(x) and jnp.issubdtype(x.dtype, jnp.integer) for x in args]
    if not any(integers) or _has_pullback(f, args):
        return kinds
    floats = [_floats(x.shape) if i else kind for x, i, kind in zip(args, integers, kinds, strict=True)]
    drawn = _drawn(floats, "ordinary")
    return floats if _objection(f, drawn) is None and _has_pullback(f, drawn) else kinds


def _has_pullback(f, args):
    """Whether JAX can derive f at these arguments in reverse mode."""
    arrays = [x for x in args if jx.is_array(x)]
    smooth = [i for i, x in enumerate(arrays) if _is_float(x)]
    of_smooth = jx.in_some(jx.in_arrays(f, args, {}), arrays, smooth)
    moved = [arrays[i] for i in smooth]
    try:
        jax.eval_shape(lambda *x: (pulled := jax.vjp(of_smooth, *x))[1](pulled[0]), *moved)
    except (Exception, SystemExit):  # whatever the user's rule raises
        return False
    return True


def _is_float(x):
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _finite(f, kinds):
    """The first arguments whose outputs are all finite, or None."""
    for draw in DRAWS:
        args = _drawn(kinds, draw)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays = [x for x in args if jx.is_array(x)]
                y = jx.quick_jit(jx.in_arrays(f, args, {}), *arrays)(*arrays)
        except (Exception, SystemExit):  # it can be traced, but not run
            return None
        if all(np.isfinite(np.asarray(leaf).astype(complex)).all() for leaf in jax.tree.leaves(y) if _is_float(leaf)):
            return args
    return None


# --- the public functions of a module --------------------------------------------------------------------------


def public_callables(module: types.ModuleType) -> dict[str, Any]:
    """The public functions of a module, sorted by name.

    Args:
        module: A module. Its names in `__all__`, or those without a leading underscore, are public.

    Returns:
        The callables that the module's own package defines, without classes and without the parts of its rules.

    Examples:
        >>> "relu" in public_callables(jax.nn)
        True
    """
    parts = {id(part) for part in parts_of_rules(module).values()}
    return {name: f for name, f in _public(module).items() if id(f) not in parts}


def parts_of_rules(module: types.ModuleType) -> dict[str, Any]:
    """The public functions of a module that were given to `defvjp`, `defjvp` or `@NAME.rule` of a function in it.

    Args:
        module: A module.

    Returns:
        The functions by name. They are judged with the rule of which they are a part.

    Examples:
        >>> parts_of_rules(jax.nn)
        {}
    """
    parts = {id(part) for value in vars(module).values() for part in _parts(value)}
    return {name: f for name, f in _public(module).items() if isinstance(f, types.FunctionType) and id(f) in parts}


def _parts(value):
    """The functions of a rule, also of one in a wrapper such as that of `jax.jit`."""
    if not callable(value):
        return []
    forms = getattr(value, "forms", {})
    found = [getattr(value, name, None) for name in ("fwd", "bwd", "jvp", "derivative")]
    inner = getattr(value, "__wrapped__", None)
    found += [*(forms.values() if isinstance(forms, dict) else ()), *(_parts(inner) if inner else ())]
    return [part for part in found if isinstance(part, types.FunctionType)]


def _public(module):
    package = module.__name__.split(".")[0]
    listed = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    offered = {name: getattr(module, name, None) for name in sorted(listed)}
    return {name: value for name, value in offered.items() if _is_function(value) and _home(value) == package}


def _is_function(value):
    return callable(value) and not inspect.isclass(value) and not inspect.ismodule(value)


def _home(value):
    """The package that defines a callable, or the class of an object."""
    return (getattr(value, "__module__", None) or type(value).__module__).split(".")[0]
