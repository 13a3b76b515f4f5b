"""Properties of any derivative, whatever its values. Each check returns findings, none where the property holds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.findings import Finding, Verdict, entry, error_line, number
from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.programs import UserCodeError, evaluated, in_float64, run, user_code
from jaxdl.auditor.searches import search
from jaxdl.auditor.slopes import slopes_of_cotangents
from jaxdl.auditor.subject import Subject, magnitude, random_arrays, vjp
from jaxdl.auditor.unverifiable import is_sampled_in_a_loop, unverifiable_entries
from jaxdl.double_precision import as_double, real_parts

SCALES = 2.0**-12, 2.0**12
ROUNDED = 0.02  # of the largest entry: an error that rounding to 16 bits explains
SEVERAL = 32  # times a rounding error that was seen: rounding errors that are possible
ROUNDING_LEFT = 1e-12  # of the largest value or cotangent: the rounding error of a second derivative that is 0
PULLBACK, TANGENT = "the pullback", "the tangent"  # the subjects of findings where there is no usable pullback


def structure(subject: Subject) -> list[Finding]:
    """Each cotangent has the shape and the type of its input; outputs are those of the plain function."""
    u = list(subject.outputs)
    try:
        found = [v.aval for v in jx.opened(subject.hand_step).outvars]
    except UserCodeError as raised:
        if jx.lacks_format(raised.error):
            raise
        what = "structure", PULLBACK, "", error_line(raised.error)
        if subject.plain_step(subject.plain) is None:  # it has no derivative, by hand or not
            return [Finding(Verdict.NOT_VERIFIABLE, *what, "a derivative")]
        return _nonlinear_tangent(subject) or [Finding(Verdict.STRUCTURE, *what, "cotangents like the inputs")]
    expected = u + [subject.types[i] for i in subject.smooth]
    unlike = [
        Finding(Verdict.STRUCTURE, "structure", name, "", jx.typed(got), jx.typed(like))
        for name, got, like in zip(subject.names, found, expected, strict=True)
        if (got.shape, got.dtype) != (like.shape, like.dtype) and not _is_number_like(got, like)
    ]
    return unlike or _weak(subject)


def _is_number_like(got, like):
    """Whether a cotangent fits a Python number, which has no width."""
    kinds = jnp.floating, jnp.complexfloating
    same = any(jnp.issubdtype(got.dtype, kind) and jnp.issubdtype(like.dtype, kind) for kind in kinds)
    return jx.is_weak(like) and got.shape == like.shape and same


def _nonlinear_tangent(subject) -> list[Finding]:
    """Findings where the tangent of a sum is not the sum of the tangents, so that it has no transpose."""
    v, w = (random_arrays(seed, [subject.types[i] for i in subject.smooth]) for seed in (3, 4))
    both = [np.asarray(a + b, a.dtype) for a, b in zip(v, w, strict=True)]

    def pushed(inputs, *along):
        f, moving = subject.of_smooth(subject.hand, inputs), [inputs[i] for i in subject.smooth]
        return [user_code(jax.jvp)(f, moving, list(v))[1] for v in along]

    try:
        of_v, of_w, of_both = run(pushed, subject.inputs, v, w, both)
    except UserCodeError:  # there is no tangent either
        return []
    unlike = functools.partial(_unlike, Verdict.NOT_LINEAR, "structure", subject)
    return [
        found
        for k, (a, b, c) in enumerate(zip(of_v, of_w, of_both, strict=True))
        for found in unlike(TANGENT, f"of output {k}, for the tangent v + w", c, as_double(a) + as_double(b), ROUNDED)
    ]


def _weak(subject) -> list[Finding]:
    """Findings on cotangents of weak type, where the plain function's are not weak.

    Parameters updated with them would change their type, and cause recompilation.
    """
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
    types = [subject.types[i].dtype for i in subject.smooth]

    def pulled(u):
        return [np.asarray(x, t) for x, t in zip(subject.pulled_back(u), types, strict=True)]

    u, w = random_arrays(1, subject.outputs), random_arrays(2, subject.outputs)
    scaled = lambda s: [x * np.asarray(s, x.dtype) for x in u]
    both = [a + b for a, b in zip(u, w, strict=True)]
    of_u, of_w, of_both, of_zero, *of_scaled = map(pulled, (u, w, both, scaled(0.0), *map(scaled, SCALES)))
    floor = [max(magnitude(x), _floor(subject, u)) for x in of_u]
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
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ between forward and reverse mode, if there is a forward mode."""
    v = random_arrays(3, [subject.types[i] for i in subject.smooth])
    u = random_arrays(1, subject.outputs)

    def pushed(inputs, v):
        f, moving = subject.of_smooth(subject.hand, inputs), [inputs[i] for i in subject.smooth]
        return user_code(jax.jvp)(f, moving, v)[1]

    try:
        sides = _sides(u, v, run(pushed, subject.inputs, v), subject.pulled_back(u))
    except UserCodeError as raised:
        if "forward-mode" in str(raised) or "custom_vjp" in str(raised):
            return []
        raise
    room = _half(subject.roughest)
    if _apart(*sides, room):  # the difference may be noise
        forward = in_float64(jx.trace(pushed, subject.inputs, v)[0], *subject.inputs, *v)
        reverse = in_float64(subject.steps[0], *subject.inputs, *u)
        if forward and reverse:
            sides = _sides(u, v, forward, reverse[len(u) :])
    if not _apart(*sides, room):
        return []
    forward, reverse, _ = sides
    what = "⟨u, Jv⟩", "of forward mode", number(forward), f"⟨Jᵀu, v⟩ = {number(reverse)}"
    return [Finding(Verdict.WRONG, "adjoint", *what, inputs=subject.inputs)]


def _sides(u, v, pushed, pulled):
    """⟨u, Jv⟩, ⟨Jᵀu, v⟩, and the sum of the sizes of the first's terms, at least of their rounding."""
    terms = lambda xs, ys: [np.real(as_double(x) * y) for x, y in zip(xs, ys, strict=True)]
    forward, reverse = terms(u, pushed), terms(pulled, v)
    size = max(sum(np.abs(t).sum() for t in forward), ROUNDING_LEFT * max(map(magnitude, u)) * max(map(magnitude, v)))
    return sum(t.sum() for t in forward), sum(t.sum() for t in reverse), size


def _apart(forward, reverse, size, room):
    return bool(np.isfinite([forward, reverse]).all() and abs(forward - reverse) > room * size)


def second_order(subject: Subject) -> list[Finding]:
    """The derivative of the pullback is that of the plain function's pullback."""
    if is_sampled_in_a_loop(subject):  # JAX's derivative is not that of the distribution
        return []
    try:
        hand, plain = subject.seconds
    except UserCodeError as raised:
        return [first_order_only(subject, raised.error)]
    if not subject.has_rules:  # both are the same
        return []
    u, v = subject.seeds(), random_arrays(3, [subject.types[i] for i in subject.smooth])
    got, expected = in_float64(hand, *subject.inputs, *u, *v), in_float64(plain, *subject.inputs, *u, *v)
    if got is None or expected is None:
        return []
    half = _half(subject.dtype)
    floor = half * max(map(magnitude, expected))  # where all is 0 up to rounding, nothing is known
    subject.tally.orders.add(2)
    unlike = functools.partial(_unlike, Verdict.WRONG_SECOND, "second order", subject)
    if any(_differ(a, b, half, floor) for a, b in zip(got, expected, strict=True)):
        floor = max(
            floor, ROUNDING_LEFT * max(map(magnitude, in_float64(subject.steps[0], *subject.inputs, *u) or expected))
        )
        expected = _by_neighbours(subject, u, v, got, expected, floor)
    return [
        found
        for name, a, b in zip(subject.cotangents, got, expected, strict=True)
        if np.isfinite(b).all()
        for found in unlike(f"second {name}", "", a, b, half, floor)
    ]


def _by_neighbours(subject, u, v, got, expected, floor):
    """The expected second cotangents where rule and plain function disagree.

    They are the plain function's, or what difference quotients of its first cotangents around the point allow,
    whichever is nearer to those got.
    """
    is_verifiable = not any(mask.any() for mask in unverifiable_entries(subject, subject.inputs, u))
    if not is_verifiable or in_float64(subject.steps[1], *subject.inputs, *u) is None:
        return expected
    half = half_of_the_digits(subject.dtype)
    rooms = [half * max(magnitude(b), magnitude(a) * 0.5, floor) for a, b in zip(got, expected, strict=True)]
    apart = [np.abs(real_parts(a) - real_parts(b)) for a, b in zip(got, expected, strict=True)]
    slopes = slopes_of_cotangents(subject, u, v, rooms, apart)
    return [_nearest(a, b, s) for a, b, s in zip(got, expected, slopes, strict=True)]


def _nearest(got, expected, slopes):
    """For each entry got, the nearer of the entry expected and the interval of slopes."""
    a, b = real_parts(got), real_parts(expected)
    c = np.clip(a, slopes.low, slopes.high)
    nearest = np.where((np.abs(a - b) <= np.abs(a - c)) | ~np.isfinite(c), b, c)
    return nearest[..., 0] + 1j * nearest[..., 1] if np.iscomplexobj(expected) else nearest


def first_order_only(subject: Subject, error: BaseException) -> Finding:
    """A finding that the pullback has no derivative, which is the rule's fault if the plain pullback has one."""
    verdict = Verdict.NOT_VERIFIABLE if subject.plain_second is None else Verdict.WRONG_SECOND
    return Finding(verdict, "second order", "the pullback's derivative", "", error_line(error), "a derivative")


def mapped(subject: Subject) -> list[Finding]:
    """vmap of the derivative equals a loop, with all inputs mapped, and with each input mapped alone."""
    inputs, u = list(subject.inputs), random_arrays(1, subject.outputs)
    others = [_another(x) if i in subject.smooth else x for i, x in enumerate(inputs)]
    ways = {"all inputs": subject.smooth}
    if len(subject.smooth) > 1:
        ways |= {f"input {i}": (i,) for i in subject.smooth}
    moved = {way: [b if i in at else a for i, (a, b) in enumerate(zip(inputs, others, strict=True))]
             for way, at in ways.items()}  # fmt: skip

    def every_way(inputs, moved, u):
        results = []
        for way, at in ways.items():
            stacked = [
                jnp.stack(pair) if i in at else pair[0] for i, pair in enumerate(zip(inputs, moved[way], strict=True))
            ]
            axes = [0 if i in at else None for i in range(len(inputs))]
            results.append(jax.vmap(lambda inputs: subject.step(subject.hand, inputs, u), (axes,))(stacked))
        return results

    unlike = functools.partial(_unlike, Verdict.WRONG, "vmap", subject, **_rounding(subject, u))
    alone = lambda inputs: evaluated(subject.steps[0], *inputs, *u)
    here = alone(inputs)
    return [
        found
        for way, together in zip(ways, run(every_way, inputs, moved, u), strict=True)
        for name, a, *each in zip(subject.names, together, here, alone(moved[way]), strict=True)
        for k in (0, 1)
        for found in unlike(name, f"under vmap over {way}", a[k], each[k])
    ]


def alone(subject: Subject) -> list[Finding]:
    """The cotangent of one input, or from one output, is the same when only that one is differentiated."""
    if len(subject.smooth) + len(subject.outputs) == 2:
        return []

    def each(inputs, u):
        moving = [inputs[i] for i in subject.smooth]
        f = subject.of_smooth(subject.hand, inputs)
        one_input = [
            vjp(lambda x, k=k: f(*moving[:k], x, *moving[k + 1 :]), moving[k])[1](u)[0] for k in range(len(moving))
        ]
        one_output = [vjp(lambda *x, k=k: f(*x)[k], *moving)[1](u[k]) for k in range(len(u) if len(u) > 1 else 0)]
        return [*one_input, *itertools.chain(*one_output)]

    u = random_arrays(1, subject.outputs)
    names = [(name, "alone") for name in subject.cotangents]
    together = subject.pulled_back(u)
    for k in range(len(u) if len(u) > 1 else 0):
        names += [(name, f"from output {k} alone") for name in subject.cotangents]
        together += subject.pulled_back([x if j == k else np.zeros_like(x) for j, x in enumerate(u)])
    unlike = functools.partial(_unlike, Verdict.WRONG, "alone", subject, **_rounding(subject, u))
    alone = run(each, subject.inputs, u)
    found = [unlike(name, at, a, b) for (name, at), a, b in zip(names, alone, together, strict=True)]
    if any(found[: len(subject.smooth)]) and subject.ways:  # f may never differentiate one input alone
        ways = subject.ways()
        found = [new for k, new in enumerate(found) if k >= len(subject.smooth) or {subject.smooth[k]} in ways]
    return [f for new in found for f in new]


def eager(subject: Subject) -> list[Finding]:
    """The derivative is the same outside jit as inside.

    A difference that rounding may explain is inaccurate at most. It is no fault where the plain function differs too.
    """
    u = random_arrays(1, subject.outputs)
    found = _unlike_inside(subject, u) and _unlike_inside(subject, u, optimized=True)
    if not found:
        return []
    plainly = zip(*_inside_and_outside(subject, subject.plain, u), strict=True)
    alike = [not _differ(a, b, _half(subject.roughest), _floor(subject, u)) for a, b in plainly]
    alike += [True] * (len(found) - len(alike))
    return [f for new, is_alike in zip(found, alike, strict=True) for f in new if is_alike]


def _unlike_inside(subject, u, optimized=False):
    """Findings by output and cotangent; none at all where there are none."""
    found = []
    for name, a, b in zip(subject.names, *_inside_and_outside(subject, subject.hand, u, optimized), strict=True):
        verdict = Verdict.WRONG if _differ(a, b, ROUNDED) else Verdict.INACCURATE
        found.append(_unlike(verdict, "jit", subject, name, "inside jit", a, b, **_rounding(subject, u)))
    return found if any(found) else []


def _inside_and_outside(subject, f, u, optimized=True):
    """Outputs and cotangents inside jit and outside; only outputs of a plain function without a derivative."""
    step, inside = functools.partial(subject.step, f), subject.steps[f is not subject.hand]
    given = *subject.inputs, *u
    if inside is None:
        step = lambda inputs, u: subject.of_smooth(f, inputs)(*[inputs[i] for i in subject.smooth])
        inside, given = subject.value, subject.inputs
    outside = step(*jax.tree.map(jnp.asarray, ([*subject.inputs], u)))
    return evaluated(inside, *given, optimized=optimized), [*map(np.asarray, outside)]


CHECKS = {
    "linear": linear,
    "adjoint": adjoint,
    "vmap": mapped,
    "alone": alone,
    "jit": eager,
}


def _another(x):
    plain = np.asarray(x)
    other = plain * np.asarray(0.75, x.dtype) + np.roll(plain, 1) * np.asarray(0.25, x.dtype)
    return jx.as_array(other, jax.typeof(x)) if jx.is_weak(x) else other.astype(x.dtype)


def _half(dtype):
    return float(jnp.finfo(dtype).eps) ** 0.5


def _floor(subject, u):
    """The size of cotangents up to which they may be rounding errors after cancellation."""
    return _half(subject.roughest) * max(map(magnitude, u))


def _rounding(subject, u):
    """By how much two runs with different rounding may differ, as arguments of `_unlike`."""
    noise = functools.cache(lambda: _noise(subject, u))
    return {"room": _half(subject.roughest), "floor": _floor(subject, u), "noise": lambda name: noise().get(name, 0.0)}


def _noise(subject, u) -> dict[str, float]:
    """By name, a multiple of the distance of an output or cotangent from a float64 run.

    For a search, also of the change of its values in further steps, as it may stop elsewhere with other rounding.
    """
    step = subject.steps[0]
    wider = in_float64(step, *subject.inputs, *u) or ()
    if not wider and "while" in jx.primitives(subject.value):  # it may stop anywhere
        return dict.fromkeys(subject.names, np.inf)
    with np.errstate(all="ignore"):
        off = [np.abs(a - b) for a, b in zip(map(as_double, evaluated(step, *subject.inputs, *u)), wider, strict=False)]
    rounded = [float(x[np.isfinite(x)].max(initial=0)) for x in off]
    found = search(subject)
    count = len(subject.names)
    moved = [*(found.moved if found else ()), *[0.0] * count][:count]
    rounded = [*rounded, *[0.0] * count][:count]
    return {name: SEVERAL * max(pair) for name, *pair in zip(subject.names, rounded, moved, strict=True)}


def _differ(a, b, room=None, floor=0.0) -> bool:
    """Whether arrays differ by more than a part of the largest entry, by default half of the first's digits.

    Entries in which the second is not finite do not count.
    """
    known = np.isfinite(as_double(b))
    room = _half(a.dtype) if room is None else room
    a, b, tiny = as_double(a)[known], as_double(b)[known], float(jnp.finfo(a.dtype).tiny)
    if not np.isfinite(a).all():
        return True
    return bool(np.abs(a - b).max(initial=0) > room * max(magnitude(b), magnitude(a) * 0.5, floor) + tiny)


def _unlike(verdict, check, subject, what, at, got, expected, room=None, floor=0.0, noise=None) -> list[Finding]:
    """A finding with the entry of the largest error, where two arrays differ by more than noise(what)."""
    if not _differ(got, expected, room, floor):
        return []
    a, b = (as_double(np.asarray(x)).reshape(-1) for x in (got, expected))
    with np.errstate(all="ignore"):
        apart = np.where(np.isfinite(b), np.nan_to_num(np.abs(a - b), nan=np.inf), 0)
    if noise and apart.max() <= noise(what):
        return []
    i = int(np.argmax(apart))
    where = f"{at} {entry(i, np.shape(got))}".strip()
    return [Finding(verdict, check, what, where, number(a[i]), number(b[i]), inputs=tuple(subject.inputs))]
