"""The parameters of an equation by the primitive's own terms: a record for each primitive with structure.

`parameters(eqn)` is the dictionary of those without a record.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdl.jaxpr.versions import AnyJaxpr, Equation, scan_counts


def parameters(eqn: Equation) -> dict[str, Any]:
    """All parameters of an equation, by JAX's names."""
    return dict(eqn.params)


def split(values: Sequence[Any], *counts: int) -> list[list[Any]]:
    """Consecutive parts of a sequence with the given lengths, and the rest as the last part."""
    ends = np.cumsum([0, *counts]).tolist()
    return [list(values[a:b]) for a, b in zip(ends, [*ends[1:], None], strict=True)]


class Scan(NamedTuple):
    """`scan`: body(consts, carry, x) → (carry, y), `length` times. `consts` and `carry` count its first inputs."""

    body: Any
    length: int
    reverse: bool
    consts: int
    carry: int

    def split(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """The constants, the initial carry and the arrays that are scanned over."""
        return split(inputs, self.consts, self.carry)


def scan(eqn: Equation) -> Scan:
    """The record of a `scan`."""
    p = eqn.params
    return Scan(p["jaxpr"], p["length"], p["reverse"], *scan_counts(eqn))


class While(NamedTuple):
    """`while`: body(constants, carry) → carry as long as test(constants, carry), each with constants of its own."""

    test: Any
    body: Any
    test_consts: int
    body_consts: int

    def split(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """The constants of the test, those of the body, and the initial carry."""
        return split(inputs, self.test_consts, self.body_consts)


def while_(eqn: Equation) -> While:
    """The record of a `while`."""
    p = eqn.params
    return While(p["cond_jaxpr"], p["body_jaxpr"], p["cond_nconsts"], p["body_nconsts"])


def branches(eqn: Equation) -> tuple[AnyJaxpr, ...]:
    """The jaxprs of `cond`; its first input is the index of the one that runs, its other inputs are theirs."""
    return eqn.params["branches"]


def scan_length(eqn: Equation) -> int:
    """How often the bodies of an equation run: the length of a scan, 1 for every other primitive."""
    return eqn.params["length"] if eqn.primitive.name == "scan" else 1


class LinearSolve(NamedTuple):
    """`custom_linear_solve`: A x = b. The jaxprs, and how many of the first inputs are constants of each."""

    matvec: Any
    solve: Any
    transpose_solve: Any
    counts: tuple[int, int, int, int]

    def split(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """The constants of matvec, vecmat, solve and transpose_solve, and the right-hand sides b."""
        return split(inputs, *self.counts)

    def inputs_of_solve(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs of the jaxpr `solve`: its constants and b."""
        _, _, of_solve, _, b = self.split(inputs)
        return [*of_solve, *b]


def linear_solve(eqn: Equation) -> LinearSolve:
    """The record of a `custom_linear_solve`."""
    jaxprs, counts = eqn.params["jaxprs"], eqn.params["const_lengths"]
    counts = counts.matvec, counts.vecmat, counts.solve, counts.transpose_solve
    return LinearSolve(jaxprs.matvec, jaxprs.solve, jaxprs.transpose_solve, counts)


class Dot(NamedTuple):
    """`dot_general`: for each operand the contracted axes and the batch axes, paired in order."""

    contracted: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]

    def free(self, place: int, ndim: int) -> list[int]:
        """The other axes of operand `place`."""
        return [axis for axis in range(ndim) if axis not in (*self.contracted[place], *self.batch[place])]


def dot(eqn: Equation) -> Dot:
    """The record of a `dot_general`."""
    (left, right), (of_left, of_right) = eqn.params["dimension_numbers"]
    return Dot((tuple(left), tuple(right)), (tuple(of_left), tuple(of_right)))


class Convolution(NamedTuple):
    """`conv_general_dilated`. lhs, rhs, out: the axes in the order (batch, channel, space…), (out, in, space…)."""

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]
    out: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int
    batch_groups: int

    @property
    def windows(self) -> tuple[tuple[Any, ...], ...]:
        """Strides, padding, dilation of the image and of the kernel, each with one entry for an axis of space."""
        return self.strides, self.padding, self.lhs_dilation, self.rhs_dilation


def convolution(eqn: Equation) -> Convolution:
    """The record of a `conv_general_dilated`."""
    p = eqn.params
    numbers = p["dimension_numbers"]
    return Convolution(
        *(numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec),
        *(p["window_strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"]),
        *(p["feature_group_count"], p["batch_group_count"]),
    )


class Window(NamedTuple):
    """`reduce_window_*` and its kin: sizes, strides, padding and dilations, each with one entry for an axis."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    base_dilation: tuple[int, ...]
    window_dilation: tuple[int, ...]


def window(eqn: Equation) -> Window:
    """The record of an equation with a sliding window."""
    p = eqn.params
    ones = (1,) * len(p["window_dimensions"])
    dilations = (p.get(name) or ones for name in ("base_dilation", "window_dilation"))
    return Window(p["window_dimensions"], p["window_strides"], p["padding"], *dilations)


def reduced_axes(eqn: Equation) -> tuple[int, ...] | None:
    """The axes over which a reduction runs; None for an equation that names none."""
    axes = eqn.params.get("axes", eqn.params.get("dimensions"))
    return None if axes is None else tuple(axes)


class Scatter(NamedTuple):
    """The `scatter` family: where updates go, and the jaxpr that combines an entry and an update (None: replace)."""

    dimension_numbers: Any
    mode: Any
    update: Any


def scatter(eqn: Equation) -> Scatter:
    """The record of an equation of the `scatter` family."""
    p = eqn.params
    return Scatter(p["dimension_numbers"], p["mode"], p.get("update_jaxpr"))


def is_replacement(eqn: Equation) -> bool:
    """Whether an equation is a scatter that replaces entries by its updates."""
    body = eqn.params.get("update_jaxpr")
    return eqn.primitive.name == "scatter" and (body is None or body.outvars[0] is body.invars[1])


class Gather(NamedTuple):
    """`gather`: which slices of the operand the indices select."""

    dimension_numbers: Any
    slice_sizes: tuple[int, ...]
    mode: Any


def gather(eqn: Equation) -> Gather:
    """The record of a `gather`."""
    p = eqn.params
    return Gather(p["dimension_numbers"], p["slice_sizes"], p["mode"])


def exponent(eqn: Equation) -> int:
    """n of `integer_pow`, xⁿ."""
    return eqn.params["y"]


def label(eqn: Equation) -> str | None:
    """The name that an equation carries: of a jitted function, or of `checkpoint_name`."""
    return eqn.params.get("name")


def op_call(eqn: Equation) -> Any:
    """The call that an equation of a jaxdl op carries (see `jaxdl.rule`); None for all others."""
    return eqn.params.get("call") if eqn.primitive.name.startswith("jaxdl_") else None


def rule_jaxpr(eqn: Equation) -> Any:
    """The primal of `jax.custom_jvp` and `jax.custom_vjp`, as traced."""
    return eqn.params["call_jaxpr"]


def rule_constants(eqn: Equation) -> int:
    """How many of the first inputs are constants that a custom rule closes over."""
    return eqn.params.get("num_consts", 0)
