"""Long scans as scans over segments: only what each segment starts from is kept, √n of n steps (Chen et al. 2016).

The scan of a segment is a loop inside a loop, so the minimum cut may let it run again. It is an option where the budget
is too small for what each step of the scan starts from.
"""

from typing import Any

import jax

from jaxdl import jaxpr as jx

SHORTEST = 4  # scans of fewer steps are left alone


def in_segments(jaxpr: Any) -> Any:
    """A closed jaxpr, without calls of jitted functions, with its own scans as scans over segments."""
    scans = {id(eqn) for eqn in jx.opened(jaxpr).eqns if eqn.primitive.name == "scan"}

    def replacement(eqn):
        if id(eqn) not in scans or jx.scan(eqn).length < SHORTEST:
            return None
        return lambda *args: _segmented(jx.scan(eqn), jx.parameters(eqn)["unroll"], args)

    return jx.trace(lambda *args: jx.evaluate(jaxpr, args, replacement), *[v.aval for v in jx.opened(jaxpr).invars])[0]


def steps_of_segments(length: int) -> int:
    """How many steps a segment has, so that few carries are kept: one for each segment, and for each step that is over.

    Examples:
        >>> [steps_of_segments(n) for n in (4, 7, 12, 100)]
        [2, 2, 3, 10]
    """
    kept = lambda steps: length // steps + length % steps
    return min(range(2, length), key=lambda steps: kept(steps) + steps)


def _segmented(scan: jx.Scan, unroll: Any, args: Any) -> list[Any]:
    consts, carry, xs = scan.split(args)
    steps = steps_of_segments(scan.length)
    segments, over = divmod(scan.length, steps)

    def step(carry, x):
        carry, y = jx.split(jx.evaluate(scan.body, [*consts, *carry, *x], lambda eqn: None), scan.carry)
        return carry, y

    def run(carry, xs, length):
        return jax.lax.scan(step, carry, xs, length=length, reverse=scan.reverse, unroll=min(unroll, length))

    def run_segments(carry, xs):
        xs = [x.reshape(segments, steps, *x.shape[1:]) for x in xs]
        one = lambda carry, xs: run(carry, xs, steps)
        carry, ys = jax.lax.scan(one, carry, xs, length=segments, reverse=scan.reverse)
        return carry, [y.reshape(segments * steps, *y.shape[2:]) for y in ys]

    if not over:
        carry, ys = run_segments(carry, xs)
        return [*carry, *ys]
    first, last = [x[: segments * steps] for x in xs], [x[segments * steps :] for x in xs]
    parts = [(run_segments, first), (lambda carry, xs: run(carry, xs, over), last)]
    found = []
    for part, given in reversed(parts) if scan.reverse else parts:
        carry, ys = part(carry, given)
        found.append(ys)
    ordered = reversed(found) if scan.reverse else found
    return [*carry, *(jax.numpy.concatenate(y) for y in zip(*ordered, strict=True))]


jx.hide_from_source_lines(__file__)
