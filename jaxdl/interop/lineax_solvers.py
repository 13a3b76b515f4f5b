"""A linear solver of lineax (Rader, Lyons, Kidger 2023) that uses the sparsity of the operator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl.jacobian.methods.base import Jacobian
from jaxdl.jacobian.methods.linear_solves import DirectSolver
from jaxdl.optional_packages import install_hint

if TYPE_CHECKING:
    import lineax  # pyright: ignore[reportMissingImports]


def sparse_solver() -> lineax.AbstractLinearSolver:
    """A direct solver of lineax for square operators, by the sparsity pattern of their program.

    The pattern of any operator, such as a `JacobianLinearOperator`, is found in the jaxpr of its product with a vector;
    the entries take as many products as the pattern has colours. The system is solved as by `jacobian.solve`: by
    blocks, in a band, or by SuperLU on the host. For the solvers of optimistix and diffrax it is their
    `linear_solver`; those with rectangular operators, as Levenberg-Marquardt, take `lineax.Normal(sparse_solver())`.

    Returns:
        The solver.

    Raises:
        ImportError: If lineax is not installed.
        ValueError: By the solver, if the operator is not square.

    Examples:
        >>> import jax.numpy as jnp, lineax
        >>> from jaxdl import interop
        >>> operator = lineax.JacobianLinearOperator(lambda x, args: x**2 + jnp.roll(x, 1), jnp.ones(1000))
        >>> lineax.linear_solve(operator, jnp.ones(1000), interop.sparse_solver()).value.shape
        (1000,)
    """
    with install_hint("lineax", "interop.sparse_solver"):
        return _solver_class()()


@functools.cache
def _solver_class():
    import equinox  # pyright: ignore[reportMissingImports]
    import lineax  # pyright: ignore[reportMissingImports]

    class State(equinox.Module):
        """The entries of the operator and where they are; whether it is the transpose; the types of both solutions."""

        entries: jax.Array
        pattern: _Pattern = equinox.field(static=True)
        is_transposed: bool = equinox.field(static=True)
        solution: Any = equinox.field(static=True)
        transposed_solution: Any = equinox.field(static=True)

    class SparseSolver(lineax.AbstractLinearSolver):
        def init(self, operator, options):
            if operator.in_size() != operator.out_size():
                raise ValueError(
                    f"interop.sparse_solver solves square systems, got an operator of {operator.out_size()} × "
                    f"{operator.in_size()}: take lineax.Normal(interop.sparse_solver()) for least squares"
                )
            zeros = jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), operator.in_structure())
            is_complex = any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in jax.tree.leaves(zeros))
            product = Jacobian("solve", operator.mv, DirectSolver, 0, False, is_complex)
            call = product.evaluate(lambda call: call, (zeros,), {})
            entries = call.prepared.entries(call.x, *call.others)
            types = _Types.of(operator.in_structure()), _Types.of(operator.out_structure())
            return State(entries, _Pattern.of(call.prepared), False, *types)

        def compute(self, state, vector, options):
            solved = state.pattern.form(state.entries, state.is_transposed)(ravel_pytree(vector)[0])
            return state.solution.arranged(solved), lineax.RESULTS.successful, {}

        def transpose(self, state, options):
            is_transposed, types = not state.is_transposed, (state.transposed_solution, state.solution)
            return State(state.entries, state.pattern, is_transposed, *types), options

        def conj(self, state, options):
            rest = state.pattern, state.is_transposed, state.solution, state.transposed_solution
            return State(state.entries.conj(), *rest), options

        def assume_full_rank(self):
            return True

    return SparseSolver


@dataclass(frozen=True)
class _Pattern:
    """Where the entries are, and how to solve with them; equal for equal places, as solvers compare states."""

    row: bytes
    column: bytes
    form: Callable[..., Any] = field(compare=False)

    @classmethod
    def of(cls, solver: DirectSolver) -> _Pattern:
        return cls(solver.row.tobytes(), solver.column.tobytes(), solver.form)


class _Types(tuple):
    """The structure of a pytree and the types of its leaves."""

    @classmethod
    def of(cls, tree: Any) -> _Types:
        leaves, structure = jax.tree.flatten(tree)
        return cls((structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)))

    def arranged(self, vector: jax.Array) -> Any:
        structure, types = self
        zeros = structure.unflatten([jnp.zeros(shape, dtype) for shape, dtype in types])
        return ravel_pytree(zeros)[1](vector)
