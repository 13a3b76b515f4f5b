"""The parameters and the result of a function as Python source: the arrays in them, and their containers."""

import ast
import itertools
import keyword
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.graph.builder import argument_labels, parameter_names, traced_arguments
from jaxdl.graph.codegen.literals import tuple_of

RESERVED = {"jax", "jnp", "lax", "op", "saving", "pullback"}


class Parameter(NamedTuple):
    """A parameter of the op.

    Attributes:
        name: Its name.
        names: The names of the arrays in it; "_" for a leaf that is fixed.
        tree: The name of its pytree structure; empty if it is an array itself.
        is_number: Whether a Python number is given for it.
    """

    name: str
    names: list[str]
    tree: str = ""
    is_number: bool = False

    def opened(self, with_tree: bool) -> list[str]:
        """The lines that unpack its arrays."""
        if not self.tree:
            return [f"{self.name} = jnp.asarray({self.name})"] if self.is_number else []
        if not self.names:
            message = f"{self.name} must not contain arrays"
            return [f"if jax.tree.leaves({self.name}):", f'    raise ValueError("{message}")']
        found = tuple_of(self.names)
        if with_tree:
            return [f"{found}, {self.tree} = jax.tree.flatten({self.name})"]
        return [f"{found if len(self.names) == 1 else found[1:-1]} = jax.tree.leaves({self.name})"]

    def cotangent(self, by_name: dict[str, str]) -> str:
        """The expression of its cotangent; None where there is none."""
        sent = [by_name.get(name, "None") for name in self.names]
        if not self.tree or set(sent) <= {"None"}:
            return "None" if self.tree else sent[0]
        return f"jax.tree.unflatten({self.tree}, {tuple_of(sent)})"


class Signature(NamedTuple):
    """The parameters of the op.

    Attributes:
        parameters: Those with arrays.
        settings: The keyword-only parameters, each with the only value that it may have.
        fixed: Lines for the docstring about arguments that are no parameters.
        names: The names of all arrays, in JAX's order.
        arrays: These arrays.
    """

    parameters: list[Parameter]
    settings: dict[str, str]
    fixed: list[str]
    names: list[str]
    arrays: list[Any]

    @property
    def head(self) -> str:
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return ", ".join([p.name for p in self.parameters] + (["*", *settings] if settings else []))

    def opened(self, with_trees: bool) -> list[str]:
        """The lines that check the settings and unpack the arrays of the parameters."""
        checks = [
            [f"if {name} != {value}:", f'    raise ValueError("{name} must be " {value!r})']
            for name, value in self.settings.items()
        ]
        return list(itertools.chain(*checks, *(p.opened(with_trees) for p in self.parameters)))

    @property
    def taken(self) -> set[str]:
        """All names in use."""
        return {*self.settings, *(p.name for p in self.parameters), *(p.tree for p in self.parameters), *self.names}


def signature_of(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Signature, Any, tuple[Any, ...]]:
    """The op's signature, the structure of f's result, and f's positional arguments with numbers as arrays."""
    given, (_, result, arrays) = _traced_with_numbers(f, args, kwargs)
    written = dict(zip(map(identifier, parameter_names(f, len(given))), given, strict=True))
    numbers = {name for name, x, y in zip(written, args, given, strict=True) if jx.is_array(y) and not jx.is_array(x)}
    written |= {identifier(name): kwargs[name] for name in sorted(kwargs)}
    labels, distinct = iter(argument_labels(f, given, kwargs)), Names(written)
    parameters, settings, fixed = [], {}, []
    for name, x in written.items():
        leaves = jax.tree.leaves(x)
        names = [distinct(identifier(next(labels))) if jx.is_array(leaf) else "_" for leaf in leaves]
        if jx.is_array(x):
            parameters.append(Parameter(name, [name], "", name in numbers))
        elif set(names) <= {"_"} and leaves and _is_literal(x):
            settings[name] = repr(x)
        elif set(names) <= {"_"} and leaves:
            fixed.append(f"{name}: {_described(x)}")
        else:
            parameters.append(Parameter(name, names, distinct(f"{name}_tree")))
            fixed += [f"{name}: {_described(leaf)}" for n, leaf in zip(names, leaves, strict=True) if n == "_"]
    names = [n for p in parameters for n in p.names if n != "_"]
    return Signature(parameters, settings, fixed, names, arrays), result, given


def _traced_with_numbers(f, args, kwargs):
    """The positional arguments, with numbers as arrays if f can be traced with them, and the trace of f."""
    numbers = {type(x) for x in jax.tree.leaves(args) if isinstance(x, int | float | complex) and not jx.is_array(x)}
    for kinds in dict.fromkeys((frozenset(numbers), frozenset(numbers - {int, bool}), frozenset())):
        given = _with_arrays(args, kinds)
        try:
            return given, traced_arguments("source", f, given, kwargs)
        except Exception:  # of any kind: f may need the number itself
            if not kinds:
                raise
    raise AssertionError("the last attempt returns or raises")


def _with_arrays(args, kinds):
    return jax.tree.map(lambda x: jnp.asarray(x) if type(x) in kinds else x, args)


class Names:
    """Chooses names that are not in use yet."""

    def __init__(self, taken: Iterable[str]):
        self.taken: set[str] = set(taken)

    def __call__(self, name: str) -> str:
        free = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        found = next(n for n in free if n not in self.taken)
        self.taken.add(found)
        return found


def identifier(text: str) -> str:
    """A label as a Python identifier: params_w_0 for params['w'][0]."""
    name = re.sub(r"\W+", "_", text).strip("_") or "f"
    return f"x{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in RESERVED else name


def _is_literal(x) -> bool:
    try:
        hash(x)
        return ast.literal_eval(repr(x)) == x
    except (SyntaxError, ValueError, TypeError):
        return False


def _described(x) -> str:
    """A fixed argument as text for a docstring."""
    text = getattr(x, "__name__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(x))
    return text.replace("\\", "/").replace('"', "'")


def _is_leaf(tree):
    return tree.num_nodes == tree.num_leaves == 1


# --- the result --------------------------------------------------------------------------------------


class OtherContainer(Exception):
    """A container class that has no literal in Python."""


def displayed(tree: Any, outputs: Iterator[str]) -> str:
    """The expression of a result with this structure."""
    if _is_leaf(tree):
        return next(outputs)
    kind, keys = _container(tree)
    parts = [displayed(child, outputs) for child in tree.children()]
    if kind is dict:
        return "{" + ", ".join(f"{k!r}: {part}" for k, part in zip(keys, parts, strict=True)) + "}"
    return {tuple: tuple_of(parts), list: f"[{', '.join(parts)}]", type(None): "None"}[kind]


def places(tree: Any, whole: str) -> Iterator[str]:
    """The expression of each array in a result of this structure."""
    if _is_leaf(tree):
        yield whole
        return
    _, keys = _container(tree)
    for key, child in zip(keys, tree.children(), strict=True):
        yield from places(child, f"{whole}[{key!r}]")


def _container(tree):
    kind, keys = tree.node_data()
    kind = tuple if hasattr(kind, "_fields") else kind  # a named tuple is written as a plain one
    keys = keys if kind is dict else range(len(tree.children()))
    if kind not in (dict, tuple, list, type(None)) or not all(map(_is_literal, keys)):
        raise OtherContainer(getattr(kind, "__name__", str(kind)))
    return kind, keys
