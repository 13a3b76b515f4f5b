"""The forward and backward pass of a function as lists of equations, with its scans opened.

A region is a jaxpr with its derivative: the whole function, or the body of a scan in it. Both passes are traced as one
program by `jax.vjp`, with every differentiated scan replaced by a placeholder, whose body is a region of its own.
Hand-written rules are traced through, so what they compute and save are values like all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.report import error_text
from jaxdl.rule import op, saving
from jaxdl.tuner.segments import in_segments


@dataclass(eq=False)
class Region:
    """A jaxpr with its backward pass.

    Attributes:
        inputs: The variables of the arguments.
        cotangents: The variables of the cotangents, one for each differentiated output.
        constants: The values of the constants, by variable.
        outputs: What the jaxpr returns.
        results: The cotangents of the differentiated inputs.
        forward: The equations that depend on no cotangent, in order.
        backward: The other equations, in order.
        loops: The differentiated scans, by their index in `forward`.
        carried: How many of the inputs, after `consts` ones, are a scan's carry.
        moving: For each input whether it is differentiated.
        smooth: For each output whether it has a cotangent.
        consts: How many of the inputs are a scan's constants.
        seconds: What it costs to compute each forward equation again, once that is known.
        form: The settings of `region_of` with which it was made.
    """

    inputs: list[Any]
    cotangents: list[Any]
    constants: dict[Any, Any]
    outputs: list[Any]
    results: list[Any]
    forward: list[Any]
    backward: list[Any]
    moving: list[bool]
    smooth: list[bool]
    loops: dict[int, Loop] = field(default_factory=dict)
    consts: int = 0
    carried: int = 0
    seconds: dict[int, float] = field(default_factory=dict)
    form: dict[str, bool] = field(default_factory=dict)

    @property
    def carry(self) -> list[Any]:
        """The inputs that a scan carries from step to step."""
        return self.inputs[self.consts : self.consts + self.carried]

    @property
    def values(self) -> list[Any]:
        """All variables that may be kept, in an order that every trace of the same program has."""
        return [*self.carry, *(v for eqn in self.forward for v in eqn.outvars)]

    def all(self) -> Iterator[Region]:
        """This region and those inside it, in order."""
        yield self
        for loop in self.loops.values():
            yield from loop.body.all()


@dataclass(eq=False)
class Loop:
    """A differentiated scan.

    Attributes:
        scan: The scan's record.
        unroll: How many steps are unrolled.
        body: The body as a region.
        inputs: The scan's inputs in the region around it.
    """

    scan: jx.Scan
    unroll: Any
    body: Region
    inputs: list[Any] = field(default_factory=list)


def region_of(jaxpr: Any, *, through_checkpoints: bool = True, segmented: bool = False) -> Region | None:
    """The forward and backward pass of a closed jaxpr, differentiated in all its floating-point inputs.

    Args:
        jaxpr: The jaxpr.
        through_checkpoints: Whether `jax.checkpoint` in it has no effect.
        segmented: Whether scans become scans over segments.

    Returns:
        The region; None where no output depends on a floating-point input.

    Raises:
        TypeError: JAX has no reverse mode for it.
    """
    calls = jx.CALLS | (jx.CHECKPOINTS if through_checkpoints else set())
    jaxpr = jx.inlined(jaxpr, calls)
    jaxpr = in_segments(jaxpr) if segmented else jaxpr
    moving = [_is_inexact(v) for v in jx.opened(jaxpr).invars]
    moved = _moved(jaxpr, moving)
    smooth = [jx.is_variable(v) and v in moved for v in jx.opened(jaxpr).outvars]
    if not any(smooth):
        return None
    try:
        region = _region(jaxpr, moving, smooth)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TypeError(
            f"rematerialized: the function has no reverse mode in all floating-point arrays among its arguments "
            f"({error_text(error)}); put jax.lax.stop_gradient around those in which it is not differentiated"
        ) from error
    region.form = {"through_checkpoints": through_checkpoints, "segmented": segmented}
    return region


def _is_inexact(v):
    return jnp.issubdtype(v.aval.dtype, jnp.inexact)


def _moved(jaxpr, moving):
    """The variables of a jaxpr that have a tangent if its inputs marked True have one."""
    plain = jx.opened(jaxpr)
    moved = {v for v, m in zip(plain.invars, moving, strict=True) if m}
    for eqn in plain.eqns:
        given = [jx.is_variable(v) and v in moved for v in eqn.invars]
        if not any(given):
            continue
        marks = _through_scan(eqn, given)[1] if eqn.primitive.name == "scan" else [True] * len(eqn.outvars)
        moved.update(v for v, m in zip(eqn.outvars, marks, strict=True) if m and _is_inexact(v))
    return moved


def _through_scan(eqn, given):
    """Which inputs of a scan have a tangent in any step, and which of its outputs."""
    scan = jx.scan(eqn)
    while True:
        moved = _moved(scan.body, given)
        marks = [jx.is_variable(v) and v in moved for v in jx.opened(scan.body).outvars]
        consts, carry, xs = scan.split(given)
        carried = [a or b for a, b in zip(carry, marks[: scan.carry], strict=True)]
        if carried == carry:
            return given, [*carry, *marks[scan.carry :]]
        given = [*consts, *carried, *xs]


def _region(jaxpr, moving, smooth, consts=0, carried=0):
    plain = jx.opened(jaxpr)
    moved = _moved(jaxpr, moving)
    loops = {}

    def in_place(eqn):
        given = [jx.is_variable(v) and v in moved for v in eqn.invars]
        if eqn.primitive.name != "scan" or not any(given) or jx.scan(eqn).length == 0:
            return None
        if id(eqn) not in loops:
            loops[id(eqn)] = _loop(eqn, *_through_scan(eqn, given))
        return lambda *args: _standing_for(loops[id(eqn)], [v.aval for v in eqn.outvars])(*args)

    def both(args, dy):
        def outputs(*moving_args):
            given = iter(moving_args)
            full = [next(given) if m else x for x, m in zip(args, moving, strict=True)]
            y = jx.evaluate(jaxpr, full, in_place)
            return [v for v, s in zip(y, smooth, strict=True) if s], y

        _, pullback, y = jax.vjp(outputs, *[x for x, m in zip(args, moving, strict=True) if m], has_aux=True)
        return y, pullback(dy)

    dy = [v.aval.to_tangent_aval() for v, s in zip(plain.outvars, smooth, strict=True) if s]
    traced, _ = jx.trace(both, [v.aval for v in plain.invars], dy)
    joint = jx.inlined(traced, jx.CALLS)
    return _parted(joint, moving, smooth, consts, carried)


def _loop(eqn, moving, smooth):
    scan = jx.scan(eqn)
    body = _region(scan.body, moving, smooth, scan.consts, scan.carry)
    return Loop(scan, jx.parameters(eqn)["unroll"], body)


def _standing_for(loop: Loop, types: Sequence[Any]):
    """A function of a scan's inputs that is one placeholder, and whose pullback is another one."""

    @op
    def scanned(*args):
        return jx.placeholder((loop, "forward"), types, *args)

    @scanned.rule
    def scanned_rule(*args):
        tangents = [jax.typeof(x).to_tangent_aval() for x, m in zip(args, loop.body.moving, strict=True) if m]

        def pullback(dy):
            smooth = [d for d, s in zip(dy, loop.body.smooth, strict=True) if s]
            cotangents = iter(jx.placeholder((loop, "backward"), tangents, *smooth))
            return tuple(next(cotangents) if m else None for m in loop.body.moving)

        return scanned.primal(*args), saving(pullback)

    return scanned


def _parted(joint, moving, smooth, consts, carried):
    """The region of a jaxpr with the arguments and cotangents as inputs, and values and cotangents as outputs."""
    plain, inputs, outputs = jx.opened(joint), len(moving), len(smooth)
    late = {*plain.invars[inputs:]}
    forward, backward = [], []
    for eqn in jx.needed_equations(joint):
        if any(jx.is_variable(v) and v in late for v in eqn.invars):
            late.update(eqn.outvars)
            backward.append(eqn)
        else:
            forward.append(eqn)
    region = Region(
        inputs=plain.invars[:inputs],
        cotangents=plain.invars[inputs:],
        constants=dict(zip(plain.constvars, joint.consts, strict=True)),
        outputs=plain.outvars[:outputs],
        results=plain.outvars[outputs:],
        forward=forward,
        backward=backward,
        moving=moving,
        smooth=smooth,
        consts=consts,
        carried=carried,
    )
    for i, eqn in enumerate(forward):
        if stands_for := jx.stands_for(eqn):
            region.loops[i] = stands_for[0]
            region.loops[i].inputs = list(eqn.invars)
    return region


jx.hide_from_source_lines(__file__)
