"""What must hold of any derivative, whatever its values: each check gives findings, none where it holds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.findings import Finding, Verdict, entry, number, said
from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.slopes import slopes_of_cotangents
from jaxdl.auditor.subject import Raised, Subject, drawn, evaluated, in_float64, run, theirs, top, vjp
from jaxdl.auditor.untold import is_drawn_in_a_loop, search, untold
from jaxdl.double_precision import as_double, real_parts

SCALES = 2.0**-12, 2.0**12
ROUNDED = 0.02  # of the largest entry: what rounding to 16 bits on the way explains
SEVERAL = 32
ROUNDING_LEFT = 1e-12  # of the largest value or cotangent: what float64 leaves of a second derivative that is 0
PULLBACK, TANGENT = "the pullback", "the tangent"  # what is wrong where there is no pullback that could be called


def structure(subject: Subject) -> list[Finding]:
    """Each cotangent has the shape and the type of its input; outputs are those of the plain function."""
    u = list(subject.outputs)
    step = lambda f: theirs(jax.eval_shape)(functools.partial(subject.step, f), subject.types, u)
    try:
        found = step(subject.hand)
    except Raised as raised:
        told = "structure", PULLBACK, "", said(raised.error)
        try:
            step(subject.plain)
        except Raised:  # it has no derivative, by hand or not
            return [Finding(Verdict.NOT_VERIFIABLE, *told, "a derivative")]
        return _nonlinear_tangent(subject) or [Finding(Verdict.STRUCTURE, *told, "cotangents like the inputs")]
    expected = u + [subject.types[i] for i in subject.smooth]
    unlike = [
        Finding(Verdict.STRUCTURE, "structure", name, "", jx.typed(got), jx.typed(like))
        for name, got, like in zip(subject.names, found, expected, strict=True)
        if (got.shape, got.dtype) != (like.shape, like.dtype)
    ]
    return unlike or _weak(subject)


def _nonlinear_tangent(subject) -> list[Finding]:
    """That the tangent of a sum is not the sum of the tangents: what is not linear has no transpose."""
    v, w = (drawn(seed, [subject.types[i] for i in subject.smooth]) for seed in (3, 4))
    both = [np.asarray(a + b, a.dtype) for a, b in zip(v, w, strict=True)]

    def pushed(inputs, *along):
        f, moving = subject.of_smooth(subject.hand, inputs), [inputs[i] for i in subject.smooth]
        return [theirs(jax.jvp)(f, moving, list(v))[1] for v in along]

    try:
        of_v, of_w, of_both = run(pushed, subject.inputs, v, w, both)
    except Raised:  # there is no tangent either
        return []
    unlike = functools.partial(_unlike, Verdict.NOT_LINEAR, "structure", subject)
    return [
        found
        for k, (a, b, c) in enumerate(zip(of_v, of_w, of_both, strict=True))
        for found in unlike(TANGENT, f"of output {k}, for the tangent v + w", c, as_double(a) + as_double(b), ROUNDED)
    ]


def _weak(subject) -> list[Finding]:
    """Cotangents of weak type, as of a Python number, where the plain function's are not: parameters moved along
    them would change their type, and what is compiled for these be compiled again."""
    if None in subject.steps:
        return []
    hand, plain = ([v.aval for v in jx.opened(step).outvars] for step in subject.steps)
    return [
        Finding(Verdict.STRUCTURE, "structure", name, "", f"{jx.typed(a)} of weak type", jx.typed(b))
        for name, a, b in zip(subject.names, hand, plain, strict=True)
        if a.weak_type and not b.weak_type
    ]


def linear(subject: Subject) -> list[Finding]:
    """The pullback of 0 is 0, of a sum the sum, of a multiple the multiple."""

    def pulled(inputs, u, w):
        pullback = subject.pulled(subject.hand, inputs)[1]
        scaled = lambda u, s: [x * jnp.asarray(s, x.dtype) for x in u]
        both = [a + b for a, b in zip(u, w, strict=True)]
        each = [pullback(x) for x in (u, w, both, scaled(u, 0.0), *(scaled(u, s) for s in SCALES))]
        types = [subject.types[i].dtype for i in subject.smooth]
        return [[jnp.asarray(x, t) for x, t in zip(cotangents, types, strict=True)] for cotangents in each]

    u, w = drawn(1, subject.outputs), drawn(2, subject.outputs)
    of_u, of_w, of_both, of_zero, *of_scaled = run(pulled, subject.inputs, u, w)
    floor = [max(top(x), _floor(subject, u)) for x in of_u]
    scales = SCALES if float(jnp.finfo(subject.dtype).max) > 1e10 else ()  # float16 has no room for them
    cases = [
        ("u + w", of_both, [as_double(a) + b for a, b in zip(of_u, of_w, strict=True)], ROUNDED, floor),
        ("0", of_zero, [np.where(np.isfinite(x), 0, x) for x in of_u], None, [0.0] * len(floor)),
        *(
            (f"{number(s)} u", got, [as_double(x) * s for x in of_u], None, [s * size for size in floor])
            for s, got in zip(scales, of_scaled, strict=False)
        ),
    ]
    unlike = functools.partial(_unlike, Verdict.NOT_LINEAR, "linear", subject)
    return [
        found
        for case, got, expected, room, floors in cases
        for name, a, b, size in zip(subject.cotangents, got, expected, floors, strict=True)
        for found in unlike(name, f"for the cotangent {case}", a, b, room, size)
    ]


def adjoint(subject: Subject) -> list[Finding]:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ between forward and reverse mode, where there is forward mode."""
    v = drawn(3, [subject.types[i] for i in subject.smooth])
    u = drawn(1, subject.outputs)

    def both(inputs, u, v):
        f, moving = subject.of_smooth(subject.hand, inputs), [inputs[i] for i in subject.smooth]
        return theirs(jax.jvp)(f, moving, v)[1], subject.pulled(subject.hand, inputs)[1](u)

    try:
        sides = _sides(u, v, *run(both, subject.inputs, u, v))
    except Raised as raised:
        if "forward-mode" in str(raised) or "custom_vjp" in str(raised):
            return []
        raise
    room = _half(subject.roughest)
    if _apart(*sides, room) and (wider := in_float64(jx.trace(both, subject.inputs, u, v)[0], *subject.inputs, *u, *v)):
        sides = _sides(u, v, wider[: len(u)], wider[len(u) :])  # it may be noise
    if not _apart(*sides, room):
        return []
    forward, reverse, _ = sides
    told = "⟨u, Jv⟩", "of forward mode", number(forward), f"⟨Jᵀu, v⟩ = {number(reverse)}"
    return [Finding(Verdict.WRONG, "adjoint", *told, inputs=subject.inputs)]


def _sides(u, v, pushed, pulled):
    """⟨u, Jv⟩, ⟨Jᵀu, v⟩, and how large the terms of the first are together, if only by rounding."""
    terms = lambda xs, ys: [np.real(as_double(x) * y) for x, y in zip(xs, ys, strict=True)]
    forward, reverse = terms(u, pushed), terms(pulled, v)
    size = max(sum(np.abs(t).sum() for t in forward), ROUNDING_LEFT * max(map(top, u)) * max(map(top, v)))
    return sum(t.sum() for t in forward), sum(t.sum() for t in reverse), size


def _apart(forward, reverse, size, room):
    return bool(np.isfinite([forward, reverse]).all() and abs(forward - reverse) > room * size)


def second_order(subject: Subject) -> list[Finding]:
    """The derivative of the pullback is that of the plain function's."""
    if is_drawn_in_a_loop(subject):  # which JAX's derivative does not differentiate
        return []
    try:
        hand, plain = subject.seconds
    except Raised as raised:
        return [first_order_only(subject, raised.error)]
    u, v = subject.seeds(), drawn(3, [subject.types[i] for i in subject.smooth])
    got, expected = in_float64(hand, *subject.inputs, *u, *v), in_float64(plain, *subject.inputs, *u, *v)
    if got is None or expected is None:
        return []
    half = _half(subject.dtype)
    floor = half * max(map(top, expected))  # where all is 0 but for rounding, nothing can be said
    unlike = functools.partial(_unlike, Verdict.WRONG_SECOND, "second order", subject)
    if any(_differ(a, b, half, floor) for a, b in zip(got, expected, strict=True)):
        floor = max(floor, ROUNDING_LEFT * max(map(top, in_float64(subject.steps[0], *subject.inputs, *u) or expected)))
        expected = _by_values_beside(subject, u, v, got, expected, floor)
    return [
        found
        for name, a, b in zip(subject.cotangents, got, expected, strict=True)
        if np.isfinite(b).all()
        for found in unlike(f"second {name}", "", a, b, half, floor)
    ]


def _by_values_beside(subject, u, v, got, expected, floor):
    """What is expected of second cotangents, where rule and plain function disagree: of the plain function's and of
    what its first cotangents around the point allow, where these tell, the nearest to those got."""
    is_told = not any(mask.any() for mask in untold(subject, subject.inputs, u))
    if not is_told or in_float64(subject.steps[1], *subject.inputs, *u) is None:
        return expected
    half = half_of_the_digits(subject.dtype)
    most = [half * max(top(b), top(a) * 0.5, floor) for a, b in zip(got, expected, strict=True)]
    slopes = slopes_of_cotangents(subject, u, v, most)
    return [_nearest(a, b, s) for a, b, s in zip(got, expected, slopes, strict=True)]


def _nearest(got, expected, slopes):
    """To each entry got, of that expected and those that slopes allow."""
    a, b = real_parts(got), real_parts(expected)
    c = np.clip(a, slopes.low, slopes.high)
    nearest = np.where((np.abs(a - b) <= np.abs(a - c)) | ~np.isfinite(c), b, c)
    return nearest[..., 0] + 1j * nearest[..., 1] if np.iscomplexobj(expected) else nearest


def first_order_only(subject, error) -> Finding:
    """The pullback has no derivative: the rule's fault if the plain function's has one."""
    verdict = Verdict.NOT_VERIFIABLE if subject.plain_second is None else Verdict.WRONG_SECOND
    return Finding(verdict, "second order", "the pullback's derivative", "", said(error), "a derivative")


def mapped(subject: Subject) -> list[Finding]:
    """vmap of the derivative is a loop of it, with all inputs mapped, and with each of several alone."""
    inputs, u = list(subject.inputs), drawn(1, subject.outputs)
    others = [_another(x) if i in subject.smooth else x for i, x in enumerate(inputs)]
    step = functools.partial(subject.step, subject.hand)
    ways = {"all inputs": subject.smooth}
    if len(subject.smooth) > 1:
        ways |= {f"input {i}": (i,) for i in subject.smooth}

    def every_way(inputs, others, u):
        results = []
        for way in ways.values():
            pairs = [(a, b if i in way else a) for i, (a, b) in enumerate(zip(inputs, others, strict=True))]
            stacked = [jnp.stack(pair) if i in way else pair[0] for i, pair in enumerate(pairs)]
            axes = [0 if i in way else None for i in range(len(inputs))]
            together = jax.vmap(lambda inputs: step(inputs, u), (axes,))(stacked)
            results.append((together, *(step([pair[k] for pair in pairs], u) for k in (0, 1))))
        return results

    unlike = functools.partial(_unlike, Verdict.WRONG, "vmap", subject, **_rounding(subject, u))
    return [
        found
        for way, (together, *alone) in zip(ways, run(every_way, inputs, others, u), strict=True)
        for name, a, *each in zip(subject.names, together, *alone, strict=True)
        for k in (0, 1)
        for found in unlike(name, f"under vmap over {way}", a[k], each[k])
    ]


def alone(subject: Subject) -> list[Finding]:
    """One input's cotangent, or that of one output, is the same where the others are not asked for."""
    if len(subject.smooth) + len(subject.outputs) == 2:
        return []

    def each(inputs, u):
        moving = [inputs[i] for i in subject.smooth]
        f = subject.of_smooth(subject.hand, inputs)
        whole = lambda u: vjp(f, *moving)[1](u)
        pairs, together = [], whole(u)
        for k in range(len(moving)):
            only = lambda x, k=k: f(*moving[:k], x, *moving[k + 1 :])
            pairs.append((vjp(only, moving[k])[1](u)[0], together[k]))
        for k in range(len(u) if len(u) > 1 else 0):
            zeros = [x if j == k else jnp.zeros_like(x) for j, x in enumerate(u)]
            single = vjp(lambda *x, k=k: f(*x)[k], *moving)[1](u[k])
            pairs += zip(single, whole(zeros), strict=True)
        return pairs

    u = drawn(1, subject.outputs)
    names = [(name, "alone") for name in subject.cotangents]
    names += [(name, f"from output {k} alone") for k in range(len(u)) for name in subject.cotangents]
    unlike = functools.partial(_unlike, Verdict.WRONG, "asked alone", subject, **_rounding(subject, u))
    pairs = [*zip(names, run(each, subject.inputs, u), strict=False)]
    found = [[*unlike(name, at, a, b)] for (name, at), (a, b) in pairs]
    if any(found[: len(subject.smooth)]) and subject.ways:  # f need not ask for each input alone
        ways = subject.ways()
        found = [new for k, new in enumerate(found) if k >= len(subject.smooth) or {subject.smooth[k]} in ways]
    return [f for new in found for f in new]


def eager(subject: Subject) -> list[Finding]:
    """Outside jit the derivative is the same as inside; what rounding may explain is no worse than inaccurate, and what
    the plain function itself does differently is no fault."""
    u = drawn(1, subject.outputs)
    found = []
    for name, a, b in zip(subject.names, *_inside_and_outside(subject, subject.hand, u), strict=True):
        verdict = Verdict.WRONG if _differ(a, b, ROUNDED) else Verdict.INACCURATE
        found.append(_unlike(verdict, "jit", subject, name, "inside jit", a, b, **_rounding(subject, u)))
    if not any(found):
        return []
    plainly = zip(*_inside_and_outside(subject, subject.plain, u), strict=True)
    alike = [not _differ(a, b, _half(subject.roughest), _floor(subject, u)) for a, b in plainly]
    alike += [True] * (len(found) - len(alike))
    return [f for new, is_alike in zip(found, alike, strict=True) for f in new if is_alike]


def _inside_and_outside(subject, f, u):
    """Outputs and cotangents inside jit and outside; of a plain function without a derivative the outputs."""
    step = functools.partial(subject.step, f)
    if f is subject.plain and subject.steps[1] is None:
        step = lambda inputs, u: subject.of_smooth(f, inputs)(*[inputs[i] for i in subject.smooth])
    arrays = jax.tree.map(jnp.asarray, ([*subject.inputs], u))
    return run(step, subject.inputs, u), [*map(np.asarray, step(*arrays))]


CHECKS = {
    "linear": linear,
    "adjoint": adjoint,
    "vmap": mapped,
    "asked alone": alone,
    "jit": eager,
}


def _another(x):
    x = np.asarray(x)
    return (x * np.asarray(0.75, x.dtype) + np.roll(x, 1) * np.asarray(0.25, x.dtype)).astype(x.dtype)


def _half(dtype):
    return float(jnp.finfo(dtype).eps) ** 0.5


def _floor(subject, u):
    """A size below which cotangents are but the rounding of what cancels."""
    return _half(subject.roughest) * max(map(top, u))


def _rounding(subject, u):
    """What two runs may differ by where each rounds in its own way."""
    noise = functools.cache(lambda: _noise(subject, u))
    return {"room": _half(subject.roughest), "floor": _floor(subject, u), "noise": lambda name: noise().get(name, 0.0)}


def _noise(subject, u) -> dict[str, float]:
    """By name, how far an output or cotangent lies from the same computed in float64, several times, and how far a
    search moves its values where it goes on: with another rounding it stops elsewhere."""
    step = subject.steps[0]
    wider = in_float64(step, *subject.inputs, *u) or ()
    if not wider and "while" in jx.primitives(subject.value):  # where it stops nobody can tell
        return dict.fromkeys(subject.names, np.inf)
    with np.errstate(all="ignore"):
        off = [np.abs(a - b) for a, b in zip(map(as_double, evaluated(step, *subject.inputs, *u)), wider, strict=False)]
    rounded = [float(x[np.isfinite(x)].max(initial=0)) for x in off]
    found = search(subject)
    of_both = itertools.zip_longest(subject.names, rounded, found.moved if found else (), fillvalue=0.0)
    return {name: SEVERAL * max(by, also) for name, by, also in of_both}


def _differ(a, b, room=None, floor=0.0) -> bool:
    """Whether arrays differ by more than a part, by default half of the digits of the first's type, of the largest
    entry; not where the second is not finite."""
    known = np.isfinite(as_double(b))
    room = _half(a.dtype) if room is None else room
    a, b, tiny = as_double(a)[known], as_double(b)[known], float(jnp.finfo(a.dtype).tiny)
    if not np.isfinite(a).all():
        return True
    return bool(np.abs(a - b).max(initial=0) > room * max(top(b), top(a) * 0.5, floor) + tiny)


def _unlike(verdict, check, subject, what, at, got, expected, room=None, floor=0.0, noise=None) -> list[Finding]:
    """A finding with the entry that is the furthest off, where two arrays differ by more than noise(what)."""
    if not _differ(got, expected, room, floor):
        return []
    a, b = (as_double(np.asarray(x)).reshape(-1) for x in (got, expected))
    with np.errstate(all="ignore"):
        apart = np.where(np.isfinite(b), np.nan_to_num(np.abs(a - b), nan=np.inf), 0)
    if noise and apart.max() <= noise(what):
        return []
    i = int(np.argmax(apart))
    told = what, f"{at} {entry(i, np.shape(got))}".strip(), number(a[i]), number(b[i])
    return [Finding(verdict, check, *told, inputs=tuple(subject.inputs))]
