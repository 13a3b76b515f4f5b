"""What all methods share: the signature and the result of `jax.jacrev` around the Jacobian of a function of vectors.

A method is written as `prepare(vector, **options)`, which looks at the function once (its types, its jaxpr, never its
values) and returns `run(x, *others)`, the (m, n) matrix. `@method` makes of it what users call.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.fingerprints import fingerprint
from jaxdl.jacobian.analysis.traced_function import traced
from jaxdl.jacobian.analysis.vector_function import Vector, join

__all__ = ["Called", "Jacobian", "Vector", "bound", "method"]

MOST_KEPT = 64  # programs, with what was prepared for each


class Jacobian:
    """What a method returns: called like `jax.jacrev(f, argnums, has_aux)`, prepared once for each type of arguments.

    Under jit, vmap and shard_map the preparation happens while JAX traces.
    """

    def __init__(self, name, f, prepare, argnums, has_aux, holomorphic):
        functools.update_wrapper(self, f, updated=())
        self.name, self.f, self.prepare = name, f, prepare
        self.argnums, self.has_aux, self.holomorphic = argnums, has_aux, holomorphic
        self.prepared = {}

    def __repr__(self):
        return f"<jacobian.{self.name} of {getattr(self.f, '__name__', self.f)}>"

    def __call__(self, *args, **kwargs):
        call, matrix = self._run(*args, **kwargs)
        result = call.blocks(matrix)
        return (result, self.f(*args, **kwargs)[1]) if self.has_aux else result

    def matrix(self, *args, **kwargs):
        """The (m, n) matrix between the inputs and the outputs, each joined to one vector."""
        return self._run(*args, **kwargs)[1]

    def _run(self, *args, **kwargs):
        """A call and its matrix."""
        return self.evaluated(lambda call: (call, call.prepared(call.x, *call.others)), args, kwargs)

    def evaluated(self, of, args, kwargs):
        """What `of` makes of a call; once more, all traced anew, where JAX has lost what it knew of f."""
        try:
            return of(self.called(*args, **kwargs))
        except Exception as error:
            if not jx.is_spoilt_trace(error):
                raise
        jax.clear_caches()
        self.prepared.clear()
        return of(self.called(*args, **kwargs))

    def called(self, *args, **kwargs) -> "Called":
        """These arguments as vectors, and what was prepared for their types and for the program that f is on them.

        f is traced at each call: what it closes over may have changed. The preparation is kept by the program; arrays
        that f closes over are among its inputs.
        """
        chosen, tree = jax.tree.flatten(_chosen(self.name, self.argnums, args))
        for leaf in chosen:
            _check(self.name, self.holomorphic, "input", leaf)
        chosen = [jnp.asarray(leaf) for leaf in chosen]
        rest, rest_tree = jax.tree.flatten((_without(self.argnums, args), kwargs))
        found = traced(lambda fixed: self._of_leaves(tree, fixed, rest_tree), chosen, rest)
        consts, others = tuple(found.jaxpr.consts), found.others
        known = tuple(None if jx.is_staged(c) else c for c in consts)
        types = tuple(map(jax.typeof, (*chosen, *others)))
        settings = _hashable(found.fixed), tuple(c is None for c in known)
        key = types, tree, rest_tree, settings, fingerprint(found.jaxpr)
        entry = next((entry for entry in self.prepared.get(key, ()) if entry[1].fits(known)), None)
        if entry is None:
            vector = self._vector(found, chosen, known)
            run = _empty(vector) if vector.m == 0 or vector.n == 0 else self.prepare(vector)
            entry = run, vector, found.out_tree
            self._keep(key, entry)
        run, vector, out_tree = entry
        return Called(run, vector, join(chosen), (*consts, *others), types[: len(chosen)], tree, out_tree)

    def _keep(self, key, entry):
        self.prepared[key] = [entry, *self.prepared.get(key, ())][:MOST_KEPT]
        while len(self.prepared) > MOST_KEPT:
            del self.prepared[next(iter(self.prepared))]

    def _vector(self, found, chosen, known):
        program, count = jx.opened(found.jaxpr), len(known)

        def of_arrays(xs, *others):
            return jx.evaluate_opened(program, others[:count], (*xs, *others[count:]), jx.written_out)

        inputs = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in chosen)
        others = tuple(v.aval for v in (*program.constvars, *program.invars[len(chosen) :]))
        return Vector(self.name, of_arrays, inputs, others, found.outputs, known)

    def _of_leaves(self, tree, fixed, rest_tree):
        """f's output as the user's function gives it, as a function of the leaves of its arguments."""

        def of_leaves(xs, *others):
            given = iter(others)
            positional, kwargs = rest_tree.unflatten([next(given) if leaf is None else leaf for leaf in fixed])
            args = _with(self.argnums, positional, tree.unflatten(xs))
            y = self.f(*args, **kwargs)
            if self.has_aux:
                if not (isinstance(y, tuple) and len(y) == 2):
                    raise TypeError(
                        f"jacobian.{self.name}: with has_aux=True the function must return a pair (output, aux), "
                        f"got {type(y).__name__}"
                    )
                y = y[0]
            for leaf in jax.tree.leaves(y):
                _check(self.name, self.holomorphic, "output", leaf)
            return y

        return of_leaves


@dataclasses.dataclass(frozen=True)
class Called:
    """One call of a `Jacobian`: what was prepared, its arguments as vectors, and the way back."""

    prepared: Any
    vector: Vector
    x: jax.Array
    others: tuple
    inputs: tuple
    in_tree: Any
    out_tree: Any

    @property
    def plan(self):
        """What the method has decided. Raises ValueError where there is nothing to decide."""
        m, n = self.vector.m, self.vector.n
        if m == 0 or n == 0:
            raise ValueError(f"jacobian.{self.vector.name}: the Jacobian is empty ({m}×{n}): there is no plan")
        return self.prepared.plan

    def blocks(self, matrix):
        """The matrix as `jax.jacrev` arranges it: for each output, for each input, output.shape + input.shape."""
        rows = _pieces(matrix, self.vector.outputs, 0)
        return self.arranged(
            [
                block.reshape(y.shape + x.shape).astype(x.dtype)
                for block, x in zip(_pieces(row, self.inputs, 1), self.inputs, strict=True)
            ]
            for row, y in zip(rows, self.vector.outputs, strict=True)
        )

    def arranged(self, rows):
        """Blocks, a list for each output with one entry for each input, as a pytree of outputs of pytrees of inputs."""
        return self.out_tree.unflatten([self.in_tree.unflatten(row) for row in rows])


def method(prepare: Callable, kind: type = Jacobian) -> Callable:
    """Makes `prepare(vector, **options) → run(x, *others)` a method: `(f, argnums=0, has_aux=False, …, **options)`.

    kind: the class of what it returns, for methods that give more than the matrix.
    """
    own = list(inspect.signature(prepare).parameters.values())[1:]
    name = prepare.__name__

    @functools.wraps(prepare)
    def of(f, argnums=0, has_aux=False, holomorphic=False, **options):
        if not callable(f):
            raise TypeError(f"jacobian.{name}: expected a function, got {type(f).__name__}")
        unknown = [option for option in options if option not in {p.name for p in own}]
        if unknown:
            raise TypeError(f"jacobian.{name} has no option {unknown[0]!r}; it has {[p.name for p in own]}")
        return kind(name, f, functools.partial(prepare, **options), argnums, has_aux, holomorphic)

    parameter = inspect.Parameter
    common = [parameter("f", parameter.POSITIONAL_OR_KEYWORD)] + [
        parameter(key, parameter.POSITIONAL_OR_KEYWORD, default=value)
        for key, value in (("argnums", 0), ("has_aux", False), ("holomorphic", False))
    ]
    of.__signature__ = inspect.Signature([*common, *own])
    return of


# --- arguments and vectors -----------------------------------------------------------------------------


def bound(name, f, argnums, args, kwargs):
    """f as a function of its arguments `argnums` alone, and these: numbers that can be differentiated."""
    chosen = jax.tree.map(jnp.asarray, _checked(name, argnums, args))
    return lambda chosen: f(*_with(argnums, args, chosen), **kwargs), chosen


def _checked(name, argnums, args):
    chosen = _chosen(name, argnums, args)
    for leaf in jax.tree.leaves(chosen):
        _check(name, False, "input", leaf)
    return chosen


def _check(name, holomorphic, kind, leaf):
    """Refuses leaves that have no derivative, where JAX would answer with zeros or from inside itself."""
    try:
        dtype = jax.typeof(leaf).dtype
    except TypeError:
        raise TypeError(
            f"jacobian.{name}: the function's {kind}s must be arrays, got {leaf!r}; keep it out of the "
            f"{'differentiated arguments' if kind == 'input' else 'output, or return it with has_aux=True'}"
        ) from None
    if not jnp.issubdtype(dtype, jnp.complexfloating if holomorphic else jnp.floating):
        if jnp.issubdtype(dtype, jnp.complexfloating):
            hint = "complex numbers need holomorphic=True and a holomorphic function"
        elif kind == "input":
            hint = "convert it, or leave it out with argnums"
        else:
            hint = "convert it, or return it with has_aux=True"
        raise TypeError(
            f"jacobian.{name}: the function's {kind}s must be {'complex' if holomorphic else 'floating-point'}, "
            f"got {dtype}{list(jnp.shape(leaf))}; {hint}"
        )


def _chosen(name, argnums, args):
    """The differentiated arguments: one for a number, a tuple for a tuple, as `jax.jacrev` has it."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -len(args) <= i < len(args):
            raise ValueError(f"jacobian.{name}: argnums {argnums} asks for argument {i}, the call has {len(args)}")
    chosen = tuple(args[i] for i in numbers)
    return chosen[0] if isinstance(argnums, int) else chosen


def _places(argnums, count):
    return [i % count for i in ((argnums,) if isinstance(argnums, int) else argnums)]


def _without(argnums, args):
    places = _places(argnums, len(args))
    return tuple(() if i in places else arg for i, arg in enumerate(args))


def _with(argnums, args, chosen):
    args = list(args)
    for i, value in zip(_places(argnums, len(args)), (chosen,) if isinstance(argnums, int) else chosen, strict=True):
        args[i] = value
    return args


def _pieces(matrix, types, axis):
    ends = np.cumsum([math.prod(t.shape) for t in types], dtype=int)
    return jnp.split(matrix, ends, axis)[:-1]  # what is after the last is empty


def _empty(vector):
    return lambda x, *others: jnp.zeros((vector.m, vector.n), x.dtype)


def _hashable(leaves):
    """Settings among the arguments by value where they have one that hashes, else by identity."""
    keys = []
    for leaf in leaves:
        try:
            hash(leaf)
            keys.append(jx.exactly(leaf))
        except TypeError:
            keys.append(id(leaf))
    return tuple(keys)
