"""What all methods share: the signature and the result of `jax.jacrev`, around the Jacobian of a function of vectors.

A method is a function `prepare(function, **options)`, which analyses the function once (its types and its jaxpr, never
its values) and returns `run(x, *others)`, which gives the (m, n) matrix. Where the function's outputs come with it,
`run.with_outputs(x, *others)` returns them and the matrix.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.fingerprints import fingerprint
from jaxdl.jacobian.analysis.traced_function import TracedFunction, trace_function, vector_function
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction, join, pieces
from jaxdl.jacobian.methods.arguments import (
    Argnums,
    check_leaf,
    differentiated,
    with_differentiated,
    without_differentiated,
)

P = ParamSpec("P")
F = TypeVar("F", bound=Callable)
Form = Callable[["Call", bool], tuple[Outputs | None, Any]]  # the Jacobian in some form; with the outputs if True
T = TypeVar("T")

MOST_KEPT = 64  # programs for which the preparation is kept

COMMON_ARGUMENTS = ("f", "argnums", "has_aux", "holomorphic")


class Jacobian(Generic[P]):
    """A function for the Jacobian of f, as `jax.jacrev(f, argnums, has_aux, holomorphic)` returns it.

    It is called with f's arguments. It analyses f once for each type of arguments; under jit, vmap and shard_map while
    JAX traces.

    Attributes:
        name: The method's name.
        f: The user's function.
        argnums: The differentiated arguments.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        batch: Whether to prepare for many points at once; None, if `jax.vmap` is seen around the call.
    """

    def __init__(
        self,
        name: str,
        f: Callable[P, Any],
        prepare: Callable[[VectorFunction], Callable[..., Any]],
        argnums: Argnums,
        has_aux: bool,
        holomorphic: bool,
        batch: bool | None = False,
    ):
        functools.update_wrapper(self, f, updated=())
        self.name: str = name
        self.f: Callable[..., Any] = f
        self.prepare: Callable[[VectorFunction], Callable[..., Any]] = prepare
        self.argnums: Argnums = argnums
        self.has_aux: bool = has_aux
        self.holomorphic: bool = holomorphic
        self.batch: bool | None = batch
        self.prepared: dict[Any, list[Any]] = {}

    def __repr__(self) -> str:
        return f"<jacobian.{self.name} of {getattr(self.f, '__name__', self.f)}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The Jacobian at these arguments of f.

        Returns:
            An array of shape output.shape + input.shape; for pytrees, a pytree of the output's structure with pytrees
            of the structure of the differentiated arguments as leaves. With `has_aux` a pair of this and aux.
        """
        return self.in_form(dense_blocks, args, kwargs)

    def value_and_jacobian(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """The value of f and the Jacobian at these arguments, from one forward pass where the method has one.

        Returns:
            A pair of f(*args) and the Jacobian. With `has_aux` the first of them is the pair (output, aux), as in
            `jax.value_and_grad`.

        Examples:
            >>> import jax.numpy as jnp
            >>> from jaxdl import jacobian
            >>> y, J = jacobian.reverse(jnp.sin).value_and_jacobian(jnp.zeros(3))
            >>> y.shape, J.shape
            ((3,), (3, 3))
        """
        return self.in_form_with_value(dense_blocks, args, kwargs)

    def matrix(self, *args: P.args, **kwargs: P.kwargs) -> jax.Array:
        """The Jacobian at these arguments of f as one matrix.

        Returns:
            The (m, n) matrix, with all entries of the outputs as rows and all entries of the differentiated arguments
            as columns, each flattened and joined in the order of `jax.tree.leaves`.
        """
        return self.evaluate(lambda call: call.run(False)[1], args, kwargs)

    def in_form(self, form: Form, args: Sequence[Any], kwargs: dict[Any, Any]) -> Any:
        """The Jacobian in a form; in a pair with f's aux if it has one."""
        call, (outputs, jacobian) = self.evaluate(lambda call: (call, form(call, self.has_aux)), args, kwargs)
        return (jacobian, call.value(outputs)[1]) if self.has_aux else jacobian

    def in_form_with_value(self, form: Form, args: Sequence[Any], kwargs: dict[Any, Any]) -> tuple[Any, Any]:
        """What f returns, and the Jacobian in a form."""
        call, (outputs, jacobian) = self.evaluate(lambda call: (call, form(call, True)), args, kwargs)
        y, aux = call.value(outputs)
        return ((y, aux) if self.has_aux else y), jacobian

    def evaluate(self, of: Callable[[Call], T], args: Sequence[Any], kwargs: dict[Any, Any]) -> T:
        """`of(call)`; repeated with fresh traces if JAX's caches hold a broken trace of f."""
        try:
            return of(self.bind(args, kwargs))
        except Exception as error:
            if not jx.is_spoilt_trace(error):
                raise
        jax.clear_caches()
        self.prepared.clear()
        return of(self.bind(args, kwargs))

    def bind(self, args: Sequence[Any], kwargs: dict[Any, Any]) -> Call:
        """These arguments as vectors, with the preparation for their types and for the program that f is on them.

        f is traced at each call, as what it closes over may have changed. The preparation is kept for each program;
        arrays that f closes over are inputs of the program.
        """
        chosen, tree = jax.tree.flatten(differentiated(self.name, self.argnums, args))
        for leaf in chosen:
            check_leaf(self.name, self.holomorphic, "input", leaf)
        chosen = [jnp.asarray(leaf) for leaf in chosen]
        rest, rest_tree = jax.tree.flatten((without_differentiated(self.argnums, args), kwargs))
        found = trace_function(lambda settings: self._of_leaves(tree, settings, rest_tree), chosen, rest)
        found = self._with_references_read(found)
        consts, others = tuple(found.jaxpr.consts), found.others
        known = tuple(None if jx.is_staged(c) else c for c in consts)
        types = tuple(map(jax.typeof, (*chosen, *others)))
        settings = _hashable(found.settings), tuple(c is None for c in known)
        in_batch = any(jx.mapped_points(x) > 1 for x in (*chosen, *others)) if self.batch is None else self.batch
        key = types, tree, rest_tree, found.out_tree, settings, fingerprint(found.jaxpr), in_batch
        entry = next((entry for entry in self.prepared.get(key, ()) if entry[1].fits(known)), None)
        if entry is None:
            inputs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in chosen]
            function = vector_function(self.name, found, inputs, known)
            function = self.differentiable(dataclasses.replace(function, in_batch=in_batch))
            run = _empty(function) if function.m == 0 or function.n == 0 else self.prepare(function)
            entry = run, function
            self._keep(key, entry)
        run, function = entry
        out_tree = found.out_tree if function.potential is None else tree
        return Call(run, function, join(chosen), (*consts, *others), types[: len(chosen)], tree, out_tree, found)

    def differentiable(self, function: VectorFunction) -> VectorFunction:
        """What is differentiated: f, or its gradient."""
        return function

    def _with_references_read(self, traced: TracedFunction) -> TracedFunction:
        read = jx.with_references_read(traced.jaxpr, traced.others)
        if read is None:
            raise ValueError(
                f"jacobian.{self.name}: f writes to a reference from outside (`jax.new_ref`), or a custom rule takes "
                "one. Make the reference inside f, or pass its value as an argument and return what it becomes"
            )
        return dataclasses.replace(traced, jaxpr=read[0], others=read[1])

    def _keep(self, key: Any, entry: tuple[Any, ...]) -> None:
        self.prepared[key] = [entry, *self.prepared.get(key, ())][:MOST_KEPT]
        while len(self.prepared) > MOST_KEPT:
            del self.prepared[next(iter(self.prepared))]

    def _of_leaves(self, tree: Any, settings: Sequence[Any], rest_tree: Any) -> Callable[..., Any]:
        """f's output and aux as a function of the leaves of its arguments."""

        @jx.named_as(self.f)
        def of_leaves(xs, *others):
            given = iter(others)
            positional, kwargs = rest_tree.unflatten([next(given) if leaf is None else leaf for leaf in settings])
            args = with_differentiated(self.argnums, positional, tree.unflatten(xs))
            y, aux = self.f(*args, **kwargs), None
            if self.has_aux:
                if not (isinstance(y, tuple) and len(y) == 2):
                    raise TypeError(
                        f"jacobian.{self.name}: with has_aux=True the function must return a pair (output, aux), "
                        f"got {type(y).__name__}"
                    )
                y, aux = y
            for leaf in jax.tree.leaves(y):
                check_leaf(self.name, self.holomorphic, "output", leaf)
            return y, aux

        return of_leaves


class PlannedJacobian(Jacobian[P], Generic[P, T]):
    """A `Jacobian` of a method that plans: `plan(*args)` shows what it has decided."""

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the method has decided for arguments of these types.

        Raises:
            ValueError: If the Jacobian is empty.
        """
        return self.evaluate(lambda call: call.plan, args, kwargs)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a `Jacobian`.

    Attributes:
        prepared: The preparation, `run(x, *others)`.
        function: The user's function between vectors.
        x: The differentiated arguments as one vector.
        others: All other arrays.
        inputs: The types of the differentiated arrays.
        in_tree: The structure of the differentiated arguments.
        out_tree: The structure of the output.
        traced: The trace of this call.
    """

    prepared: Any
    function: VectorFunction
    x: jax.Array
    others: tuple[Any, ...]
    inputs: tuple[Any, ...]
    in_tree: Any
    out_tree: Any
    traced: TracedFunction

    def run(self, with_outputs: bool) -> tuple[Outputs | None, Any]:
        """The matrix (the operator of `structured`), with the function's outputs if they are wanted."""
        if with_outputs:
            return outputs_and_matrix(self.prepared, self.function, self.x, self.others)
        return None, self.prepared(self.x, *self.others)

    def value(self, outputs: Outputs | None) -> tuple[Any, Any]:
        """The function's output and aux as pytrees."""
        assert outputs is not None
        types = self.function.outputs
        y = [part.reshape(t.shape).astype(t.dtype) for part, t in zip(pieces(outputs[0], types), types, strict=True)]
        return self.out_tree.unflatten(y), self.traced.aux(self.function.aux_of(outputs[1], *self.others))

    @property
    def plan(self) -> Any:
        """What the method has decided.

        Raises:
            ValueError: If the Jacobian is empty or computed in chunks, so that there is nothing to decide.
        """
        m, n = self.function.m, self.function.n
        if m == 0 or n == 0:
            raise ValueError(f"jacobian.{self.function.name}: the Jacobian is empty ({m}×{n}): there is no plan")
        if not hasattr(self.prepared, "plan"):
            raise ValueError(
                f"jacobian.{self.function.name}: with chunk or max_bytes no method is chosen: there is no plan"
            )
        return self.prepared.plan

    def blocks(self, matrix: jax.Array) -> Any:
        """The matrix as `jax.jacrev` arranges it: for each output, for each input, output.shape + input.shape."""
        rows = pieces(matrix, self.function.outputs, 0)
        return self.arranged(
            [
                block.reshape(y.shape + x.shape).astype(x.dtype)
                for block, x in zip(pieces(row, self.inputs, 1), self.inputs, strict=True)
            ]
            for row, y in zip(rows, self.function.outputs, strict=True)
        )

    def arranged(self, rows: Iterable[list[Any]]) -> Any:
        """Blocks, a list for each output with an entry for each input, as a pytree of outputs of pytrees of inputs."""
        return self.out_tree.unflatten([self.in_tree.unflatten(row) for row in rows])


def dense_blocks(call: Call, with_outputs: bool) -> tuple[Outputs | None, Any]:
    """The Jacobian as `jax.jacrev` arranges it."""
    outputs, matrix = call.run(with_outputs)
    return outputs, call.blocks(matrix)


def outputs_and_matrix(
    run: Callable[..., Any], function: VectorFunction, x: jax.Array, others: Sequence[Any]
) -> tuple[Outputs, jax.Array]:
    """The function's outputs and the matrix; in one pass if the method has one."""
    if hasattr(run, "with_outputs"):
        return run.with_outputs(x, *others)  # pyright: ignore[reportFunctionMemberAccess]
    return function.with_aux(x, *others), run(x, *others)


def method(function: F) -> F:
    """Checks the first argument of a public method, and that it has the options that are given."""
    name = function.__name__
    options = [option for option in inspect.signature(function).parameters if option not in COMMON_ARGUMENTS]

    @functools.wraps(function)
    def checked(f, *args, **kwargs):
        if not callable(f):
            raise TypeError(f"jacobian.{name}: expected a function, got {type(f).__name__}")
        for option in kwargs:
            if option not in (*COMMON_ARGUMENTS, *options):
                raise TypeError(f"jacobian.{name} has no option {option!r}; it has {options}")
        return function(f, *args, **kwargs)

    return checked  # type: ignore[return-value]  # the same signature


def _empty(function: VectorFunction) -> Callable[..., Any]:
    return lambda x, *others: jnp.zeros((function.m, function.n), x.dtype)


def _hashable(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """A key for settings: their values if they can be hashed, else their identities."""
    keys = []
    for leaf in leaves:
        try:
            hash(leaf)
            keys.append(jx.exactly(leaf))
        except TypeError:
            keys.append(id(leaf))
    return tuple(keys)
