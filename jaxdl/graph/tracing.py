"""`trace`: a function's computation as a graph."""

from collections.abc import Callable
from typing import Any, overload

import jax
from jax.core import Tracer

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.graph.builder import argument_labels, traced_arguments
from jaxdl.graph.graph import Graph
from jaxdl.graph.node import Output


@overload
def trace(f: Callable[..., Any], /) -> Callable[..., Graph]: ...  # pyright: ignore[reportOverlappingOverload]


@overload
def trace(f: Callable[..., Any], /, *args: object, **kwargs: object) -> Graph: ...


@direct_or_curried
def trace(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    """The computational graph of f at these arguments.

    Every equation of f's jaxpr is a node, and so is every call of a function with a hand-written rule (a jaxdl op,
    `jax.custom_jvp`, `jax.custom_vjp`). Jitted functions are inlined. Loops, branches and checkpoints are single nodes,
    which `Graph.inside` opens.

    `trace(f)`, without arguments of f, is a function of them that returns the graph.

    Args:
        f: Any JAX function.
        *args: Its arguments, any pytrees of arrays. Python floats and complex numbers become arrays, integers and
            other objects are passed to f unchanged. With `jax.ShapeDtypeStruct`s in place of arrays the graph has
            types but no values.
        **kwargs: Its keyword arguments, passed to f unchanged.

    Returns:
        The graph, or without arguments of f a function of them that returns it.

    Raises:
        TypeError: An argument is traced by jit, grad or vmap, or f returns something that is not an array.
        ValueError: f returns nothing, or is jitted with a static argument that cannot be hashed.

    Examples:
        >>> graph = jaxdl.trace(lambda x, y, z: x * y + z, -2.0, 5.0, -4.0)
        >>> float(graph.outputs.value)
        -14.0
        >>> [float(graph.backward()[label].adjoint) for label in ("x", "y", "z")]
        [5.0, -2.0, 1.0]
    """
    args = jax.tree.map(lambda x: jax.numpy.asarray(x) if isinstance(x, float | complex) else x, args)
    _check_concrete(args, kwargs)
    jaxpr, tree, arrays = traced_arguments("trace", f, args, kwargs)
    name = getattr(f, "__name__", type(f).__name__)
    graph = Graph(name, jaxpr, argument_labels(f, args, kwargs), arrays, jx.code_of(f), jx.captured(f))
    flat = iter(graph.flat_arguments)
    graph.arguments = jax.tree.map(lambda x: next(flat) if jx.is_array(x) else None, args)
    graph.outputs = jax.tree.unflatten(tree, graph.flat_outputs)
    paths = jax.tree_util.tree_flatten_with_path(graph.outputs, is_leaf=lambda x: isinstance(x, Output))[0]
    graph.result_labels = [f"result{jax.tree_util.keystr(path)}" for path, _ in paths]
    return graph


def _check_concrete(args, kwargs):
    for leaf in jax.tree.leaves((args, kwargs)):
        if isinstance(leaf, Tracer):
            raise TypeError(
                f"trace: an argument, {jx.typed(jax.typeof(leaf))}, is traced by jit, grad or vmap and has no value; "
                f"call trace outside of them, on arrays (for a graph of the gradient: trace(jax.grad(f)))"
            )
