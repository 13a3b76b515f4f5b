"""What must hold of any derivative, whatever its values: each check gives findings, none where it holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.auditor.findings import Finding, Verdict, number, said
from jaxdl.auditor.subject import Subject, compiled, drawn, in_float64

SCALES = 2.0**-12, 2.0**12
ROUNDED = 0.02  # of the largest entry: what rounding to 16 bits on the way explains
PULLBACK = "the pullback"  # what is wrong where it cannot even be called


def structure(subject: Subject) -> list[Finding]:
    """Each cotangent has the shape and the type of its input; outputs are those of the plain function."""
    u = list(subject.outputs)
    try:
        found = jax.eval_shape(functools.partial(subject.step, subject.hand), subject.types, u)
    except Exception as error:  # what a rule raises is its own
        if _raises(subject.plain, subject):
            told = "has no derivative, by hand or not"
            return [Finding(Verdict.NOT_VERIFIABLE, "structure", PULLBACK, said(error), told)]
        return [Finding(Verdict.STRUCTURE, "structure", PULLBACK, said(error), "cotangents like the inputs")]
    names = [f"output {k}" for k in range(len(u))] + [f"cotangent of input {i}" for i in subject.smooth]
    expected = u + [subject.types[i] for i in subject.smooth]
    return [
        Finding(Verdict.STRUCTURE, "structure", name, _typed(got), _typed(like))
        for name, got, like in zip(names, found, expected, strict=True)
        if (got.shape, got.dtype) != (like.shape, like.dtype)
    ]


def _raises(f, subject):
    try:
        jax.eval_shape(functools.partial(subject.step, f), subject.types, list(subject.outputs))
    except Exception:
        return True
    return False


def linear(subject: Subject) -> list[Finding]:
    """The pullback of 0 is 0, of a sum the sum, of a multiple the multiple."""

    def pulled(inputs, u, w):
        pullback = jax.vjp(subject.of_smooth(subject.hand, inputs), *[inputs[i] for i in subject.smooth])[1]
        scaled = lambda u, s: [x * jnp.asarray(s, x.dtype) for x in u]
        both = [a + b for a, b in zip(u, w, strict=True)]
        each = [pullback(x) for x in (u, w, both, scaled(u, 0.0), *(scaled(u, s) for s in SCALES))]
        return [[x.astype(y.dtype) for x, y in zip(cotangents, each[0], strict=True)] for cotangents in each]

    u, w = drawn(1, subject.outputs), drawn(2, subject.outputs)
    of_u, of_w, of_both, of_zero, *of_scaled = _run(pulled, subject.inputs, u, w)
    add = lambda a, b: a.astype(_wider(a)) + b
    cases = [("u + w", of_both, [add(a, b) for a, b in zip(of_u, of_w, strict=True)])]
    cases += [("0", of_zero, [np.where(np.isfinite(x), 0, x) for x in of_u])]
    cases += [
        (f"{number(s)} u", got, [x.astype(_wider(x)) * s for x in of_u])
        for s, got in zip(SCALES, of_scaled, strict=True)
        if float(jnp.finfo(subject.dtype).max) > 1e10  # float16 has no room for it
    ]
    floor, sizes = _floor(subject, u), {"u + w": 1.0} | {f"{number(s)} u": s for s in SCALES}
    return [
        _unlike(Verdict.NOT_LINEAR, "linear", f"{name} for the cotangent {case}", a, b, subject.inputs)
        for case, got, expected in cases
        for name, a, b, top in zip(_cotangents(subject), got, expected, map(_top, of_u), strict=True)
        if _differ(a, b, ROUNDED if case == "u + w" else None, 0.0 if case == "0" else max(top, floor) * sizes[case])
    ]


def adjoint(subject: Subject) -> list[Finding]:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ between forward and reverse mode, where there is forward mode."""
    v = drawn(3, [subject.types[i] for i in subject.smooth])
    u = drawn(1, subject.outputs)

    def both(inputs, u, v):
        f, moving = subject.of_smooth(subject.hand, inputs), [inputs[i] for i in subject.smooth]
        return jax.jvp(f, moving, v)[1], jax.vjp(f, *moving)[1](u)

    try:
        pushed, pulled = _run(both, subject.inputs, u, v)
    except TypeError as error:
        if "forward-mode" in str(error) or "custom_vjp" in str(error):
            return []
        raise
    pair = lambda xs, ys: sum(np.real(x.astype(_wider(x)) * y).sum() for x, y in zip(xs, ys, strict=True))
    size = sum(np.abs(x.astype(_wider(x)) * y).sum() for x, y in zip(u, pushed, strict=True))
    a, b = pair(u, pushed), pair(pulled, v)
    if np.isfinite([a, b]).all() and abs(a - b) > float(jnp.finfo(subject.dtype).eps) ** 0.5 * size:
        return [
            Finding(Verdict.WRONG, "adjoint", "⟨u, Jv⟩ of forward mode", number(a), f"⟨Jᵀu, v⟩ = {number(b)}",
                    inputs=subject.inputs)
        ]  # fmt: skip
    return []


def second_order(subject: Subject) -> list[Finding]:
    """The derivative of the pullback is that of the plain function's."""
    try:
        hand, plain = subject.seconds
    except Exception as error:  # what a rule that is first-order only raises is its own
        return [first_order_only(subject, error)]
    u, v = drawn(1, subject.outputs), drawn(3, [subject.types[i] for i in subject.smooth])
    got, expected = in_float64(hand, *subject.inputs, *u, *v), in_float64(plain, *subject.inputs, *u, *v)
    if got is None or expected is None:
        return []
    eps = float(jnp.finfo(subject.dtype).eps) ** 0.5
    floor = max(map(_top, expected))  # where all is 0 but for rounding, nothing can be said
    return [
        _unlike(Verdict.WRONG_SECOND, "second order", f"second {name}", a, b, subject.inputs)
        for name, a, b in zip(_cotangents(subject), got, expected, strict=True)
        if np.isfinite(b).all() and _differ(a, b, eps, floor=floor * eps)
    ]


def first_order_only(subject, error) -> Finding:
    """The pullback has no derivative: the rule's fault if the plain function's has one."""
    verdict = Verdict.NOT_VERIFIABLE if subject.plain_second is None else Verdict.WRONG_SECOND
    return Finding(verdict, "second order", "the pullback's derivative", said(error), "a derivative")


def mapped(subject: Subject) -> list[Finding]:
    """vmap of the derivative is a loop of it, with all inputs mapped, and with each of several alone."""
    inputs, u = list(subject.inputs), drawn(1, subject.outputs)
    others = [_another(x) if i in subject.smooth else x for i, x in enumerate(inputs)]
    step = functools.partial(subject.step, subject.hand)
    ways = [tuple(subject.smooth)] + [(i,) for i in subject.smooth if len(subject.smooth) > 1]

    def every_way(inputs, others, u):
        results = []
        for way in ways:
            second = [b if i in way else a for i, (a, b) in enumerate(zip(inputs, others, strict=True))]
            stacked = [
                jnp.stack([a, b]) if i in way else a for i, (a, b) in enumerate(zip(inputs, second, strict=True))
            ]
            axes = [0 if i in way else None for i in range(len(inputs))]
            together = jax.vmap(lambda inputs: step(inputs, u), (axes,))(stacked)
            results.append((together, step(inputs, u), step(second, u)))
        return results

    names, floor = [f"output {k}" for k in range(len(u))] + list(_cotangents(subject)), _floor(subject, u)
    findings = []
    for way, (together, first, second) in zip(ways, _run(every_way, inputs, others, u), strict=True):
        which = "all inputs" if way == tuple(subject.smooth) else f"input {way[0]}"
        for name, a, b, c in zip(names, together, first, second, strict=True):
            off = [_differ(a[0], b, floor=floor), _differ(a[1], c, floor=floor)]
            if any(off):
                k = off.index(True)
                what = f"{name} under vmap over {which}"
                findings.append(_unlike(Verdict.WRONG, "vmap", what, a[k], (b, c)[k], subject.inputs))
    return findings


def alone(subject: Subject) -> list[Finding]:
    """One input's cotangent, or that of one output, is the same where the others are not asked for."""
    if len(subject.smooth) + len(subject.outputs) == 2:
        return []

    def each(inputs, u):
        moving = [inputs[i] for i in subject.smooth]
        f = subject.of_smooth(subject.hand, inputs)
        whole = jax.vjp(f, *moving)[1]
        pairs = []
        for k in range(len(moving)):
            only = lambda x, k=k: f(*moving[:k], x, *moving[k + 1 :])
            pairs.append((jax.vjp(only, moving[k])[1](u)[0], whole(u)[k]))
        for k in range(len(u)):
            zeros = [x if j == k else jnp.zeros_like(x) for j, x in enumerate(u)]
            single = jax.vjp(lambda *x, k=k: f(*x)[k], *moving)[1](u[k])
            pairs += zip(single, whole(zeros), strict=True) if len(u) > 1 else []
        return pairs

    u = drawn(1, subject.outputs)
    pairs, floor = _run(each, subject.inputs, u), _floor(subject, u)
    names = [f"{name} alone" for name in _cotangents(subject)]
    names += [f"{name} from output {k} alone" for k in range(len(subject.outputs)) for name in _cotangents(subject)]
    return [
        _unlike(Verdict.WRONG, "asked alone", name, a, b, subject.inputs)
        for name, (a, b) in zip(names, pairs, strict=False)
        if _differ(a, b, floor=floor)
    ]


def eager(subject: Subject) -> list[Finding]:
    """Outside jit the derivative is the same as inside."""
    u = drawn(1, subject.outputs)
    inside = _run(functools.partial(subject.step, subject.hand), subject.inputs, u)
    outside = [
        np.asarray(x) for x in subject.step(subject.hand, [*map(_on_device, subject.inputs)], [*map(jnp.asarray, u)])
    ]
    names = [f"output {k}" for k in range(len(u))] + list(_cotangents(subject))
    return [
        _unlike(
            Verdict.WRONG if _differ(a, b, ROUNDED) else Verdict.INACCURATE,
            "jit",
            f"{name} inside jit",
            a,
            b,
            subject.inputs,
        )
        for name, a, b in zip(names, inside, outside, strict=True)
        if _differ(a, b, floor=_floor(subject, u))
    ]


CHECKS = {
    "linear": linear,
    "adjoint": adjoint,
    "vmap": mapped,
    "asked alone": alone,
    "jit": eager,
}


def _run(f, *args):
    return jax.tree.map(np.asarray, compiled(f, *args)(*args))


def _on_device(x):
    return jnp.asarray(x)


def _another(x):
    x = np.asarray(x)
    return (x * np.asarray(0.75, x.dtype) + np.roll(x, 1) * np.asarray(0.25, x.dtype)).astype(x.dtype)


def _wider(x):
    return np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64


def _floor(subject, u):
    """A size below which cotangents are but the rounding of what cancels."""
    return float(jnp.finfo(subject.dtype).eps) ** 0.5 * max(map(_top, u))


def _top(x):
    x = np.abs(np.asarray(x).astype(_wider(x)))
    return float(x[np.isfinite(x)].max(initial=0))


def _differ(a, b, room=None, floor=0.0) -> bool:
    """Whether arrays differ by more than half of the digits of the first's type, of the largest entry."""
    room = float(jnp.finfo(a.dtype).eps) ** 0.5 if room is None else room
    wide = lambda x: np.asarray(x).astype(_wider(x))
    with np.errstate(all="ignore"):
        apart = np.abs(wide(a) - wide(b))
    known = np.isfinite(wide(b))
    if not known.any():
        return False
    if not np.isfinite(wide(a)[known]).all():
        return True
    return bool(
        apart[known].max(initial=0) > room * max(_top(b), _top(a) * 0.5, floor) + float(jnp.finfo(a.dtype).tiny)
    )


def _unlike(verdict, check, what, got, expected, inputs):
    a, b = (np.asarray(x).astype(_wider(x)) for x in (got, expected))
    with np.errstate(all="ignore"):
        i = int(np.argmax(np.nan_to_num(np.abs(a - b).reshape(-1), nan=np.inf)))
    entry = f"[{', '.join(map(str, np.unravel_index(i, a.shape)))}]" if a.shape else ""
    return Finding(
        verdict, check, what + entry, number(a.reshape(-1)[i]), number(b.reshape(-1)[i]), inputs=tuple(inputs)
    )


def _cotangents(subject):
    return [f"cotangent of input {i}" for i in subject.smooth]


def _typed(t):
    return f"{t.dtype}[{','.join(map(str, t.shape))}]"
