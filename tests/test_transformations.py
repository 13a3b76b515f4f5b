"""Every operation under every transformation in every number format, against the automatic derivative.

16-bit formats are held against the automatic derivative in float32 at the same, already rounded points.
"""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl import automatic, ops
from jaxdl.ops.cases import cases
from tests.tolerance import assert_close

CASES = cases()
FIRST_OF_EACH = list({case.op: case for case in reversed(CASES)}.values())
ANALYTIC = list({case.op: case for case in reversed(CASES) if case.analytic}.values())
FORMATS = [(case, "float32") for case in CASES]
FORMATS += [(case, dtype) for dtype in ("float64", "bfloat16", "float16") for case in FIRST_OF_EACH]
FORMATS += [(case, "complex64") for case in ANALYTIC]


class Problem:
    """A case as a function of its differentiable arguments alone, with tangents and a cotangent."""

    def __init__(self, case, dtype):
        self.case = case
        args = case.make(jax.random.key(1), jnp.dtype(dtype))
        self.smooth = [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.inexact)]
        self.args = args
        self.x = tuple(args[i] for i in self.smooth)
        self.holomorphic = dtype == "complex64"
        self.x_dot = tuple(self._draw(a, i) for i, a in enumerate(self.x))
        self.y = jax.eval_shape(self.hand, *self.x)
        self.dy = self._draw(self.y, 9)

    def _draw(self, a, seed):
        return jax.random.normal(jax.random.key(seed), a.shape, a.dtype)

    def hand(self, *x):
        full = list(self.args)
        for i, value in zip(self.smooth, x, strict=True):
            full[i] = value
        return _one_array(self.case.op(*full, **self.case.settings))

    def all_arguments(self):
        return tuple(range(len(self.smooth)))

    def widened(self, tree):
        wide = lambda a: a.astype(jnp.float32) if a.dtype in (jnp.bfloat16, jnp.float16) else a
        return jax.tree.map(wide, tree)


def _one_array(y):
    """Several outputs one after the other, so that one cotangent serves all; what is no number is left out."""
    smooth = [leaf for leaf in jax.tree.leaves(y) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return smooth[0] if len(smooth) == 1 else jnp.concatenate([leaf.ravel() for leaf in smooth])


def _scalar(f, dy):
    return lambda *x: (f(*x) * dy.astype(f(*x).dtype)).sum()


def _vjp(f, x, dy):
    return jax.vjp(f, *x)[1](dy)


def _products(x, x_dot):
    """Tangents that depend on the point themselves."""
    return tuple(a * b for a, b in zip(x, x_dot, strict=True))


def _stack(tree):
    return jax.tree.map(lambda a: jnp.stack([a, a * 0.5, a * 2]), tree)


def _unmapped_last(f, p, x, dy):
    """The first argument mapped over its last axis (−1), the others not at all."""
    axes = (-1, *[None] * (len(x) - 1))
    first = jnp.stack([x[0], x[0] * 0.5], -1)
    total = lambda *args: (jax.vmap(f, axes)(*args) * dy[None]).sum()
    return jax.vmap(f, axes)(first, *x[1:]), jax.grad(total, p.all_arguments(), holomorphic=p.holomorphic)(
        first, *x[1:]
    )


def _nested_vmap(f, p, x, dy):
    outer = [jnp.stack([a, a * 0.5]) for a in x]
    return jax.vmap(jax.vmap(lambda *a: _vjp(f, a, dy), (0,) * len(x)), (0,) * len(x))(
        *[jnp.stack([a, a]) for a in outer]
    )


def _scan(f, p, x, dy):
    total = lambda *x: jax.lax.scan(lambda c, _: (c + _scalar(f, dy)(*x), None), jnp.zeros((), dy.dtype), None, 2)[0]
    return jax.grad(total, p.all_arguments(), holomorphic=p.holomorphic)(*x)


def _cond(f, p, x, dy):
    total = lambda *x: jax.lax.cond(x[0].real.sum() > -1e9, _scalar(f, dy), lambda *x: jnp.zeros((), dy.dtype), *x)
    return jax.grad(total, p.all_arguments(), holomorphic=p.holomorphic)(*x)


def _while(f, x, x_dot, dy):
    body = lambda c: (c[0] + f(*c[2]), c[1] + 1, c[2])
    twice = lambda *x: jax.lax.while_loop(lambda c: c[1] < 2, body, (jnp.zeros_like(dy), 0, x))[0]
    return jax.jvp(twice, x, x_dot)[1]


def transformed(f, p, x, x_dot, dy):
    """What every transformation makes of f: a dictionary of arrays."""
    every, kind = p.all_arguments(), {"holomorphic": p.holomorphic}
    scalar = _scalar(f, dy)
    linear = jax.linearize(f, *x)
    return {
        "value": f(*x),
        "vjp": _vjp(f, x, dy),
        "grad": jax.grad(scalar, every, **kind)(*x),
        "jvp": jax.jvp(f, x, x_dot)[1],
        "jacrev": jax.jacrev(f, every, **kind)(*x),
        "jacfwd": jax.jacfwd(f, every, **kind)(*x),
        "linearize": (linear[0], linear[1](*x_dot)),
        "hessian": jax.jacfwd(jax.jacrev(scalar, 0, **kind), every, **kind)(*x),
        "reverse over reverse": jax.vjp(lambda *x: jax.grad(scalar, 0, **kind)(*x), *x)[1](x_dot[0]),
        "forward over forward": jax.jvp(lambda *x: jax.jvp(f, x, _products(x, x_dot))[1], x, x_dot)[1],
        "vmap": jax.vmap(lambda *x: _vjp(f, x, dy), (0,) * len(x))(*_stack(x)),
        "vmap, unmapped": _unmapped_last(f, p, x, dy),
        "nested vmap": _nested_vmap(f, p, x, dy),
        "scan": _scan(f, p, x, dy),
        "cond": _cond(f, p, x, dy),
        "while": _while(f, x, x_dot, dy),
        "checkpoint": jax.grad(jax.checkpoint(scalar), every, **kind)(*x),
        "checkpoint, second order": jax.jvp(jax.grad(jax.checkpoint(scalar), 0, **kind), x, x_dot)[1],
    }


@pytest.mark.parametrize(("case", "dtype"), FORMATS, ids=str)
def test_transformations_agree_with_the_automatic_derivative(case, dtype):
    with jax.enable_x64(dtype == "float64"):
        p = Problem(case, dtype)
        run = jax.jit(lambda f, x, x_dot, dy: transformed(f, p, x, x_dot, dy), static_argnums=0)
        hand = run(p.hand, p.x, p.x_dot, p.dy)
        plain = run(automatic(p.hand), *p.widened((p.x, p.x_dot, p.dy)))
    for name, expected in plain.items():
        got = jax.tree.leaves(hand[name])
        for a, b in zip(got, jax.tree.leaves(expected), strict=True):
            assert a.dtype == jnp.dtype(dtype), f"{name}: {a.dtype}"
            assert_close(a, b, dtype, name)


@pytest.mark.parametrize("case", FIRST_OF_EACH, ids=str)
def test_eager_equals_jit(case):
    p = Problem(case, "float32")
    assert_close(p.hand(*p.x), jax.jit(p.hand)(*p.x), "float32", "value")
    for a, b in zip(_vjp(p.hand, p.x, p.dy), _vjp(automatic(p.hand), p.x, p.dy), strict=True):
        assert_close(a, b, "float32", "vjp")


# Sharding and number formats do not meet but in what narrow and complex formats do otherwise than float32.
SHARDED = [(case, "float32") for case in FIRST_OF_EACH]
SHARDED += [(case, "bfloat16") for case in FIRST_OF_EACH if not case.analytic]
SHARDED += [(case, "complex64") for case in ANALYTIC]


@pytest.mark.parametrize(("case", "dtype"), SHARDED, ids=str)
def test_sharded_over_devices(case, dtype):
    """Four examples, one on each of four devices: by NamedSharding, and in shard_map with the rest replicated."""
    with jax.enable_x64(dtype == "float64"):
        p = Problem(case, dtype)
        mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
        first = jnp.stack([p.x[0], p.x[0] * 0.5, p.x[0] * 2, p.x[0]])
        rest = p.x[1:]
        axes = (0, *[None] * len(rest))
        gradient = lambda f: jax.grad(f, p.all_arguments(), holomorphic=p.holomorphic)

        def total(f, dy=p.dy):
            return lambda *x: (jax.vmap(f, axes)(*x) * dy[None]).sum()

        def mapped(f):
            local = lambda *x: jax.lax.psum(total(f)(*x), "d")
            return jax.shard_map(local, mesh=mesh, in_specs=(P("d"), *[P()] * len(rest)), out_specs=P())

        expected = gradient(total(automatic(p.hand), p.widened(p.dy)))(*p.widened((first, *rest)))
        placed = jax.device_put(first, NamedSharding(mesh, P("d")))
        results = {
            "NamedSharding": jax.jit(gradient(total(p.hand)))(placed, *rest),
            "shard_map": jax.jit(gradient(mapped(p.hand)))(placed, *rest),
        }
        # JAX 0.12 cannot differentiate erfc inside shard_map, so the primal of gelu cannot be either.
        if dtype == "float32" and (case.op is not ops.gelu or jax.__version_info__ < (0, 11)):
            results["automatic inside shard_map"] = jax.jit(gradient(automatic(mapped(p.hand))))(placed, *rest)
    for name, got in results.items():
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, dtype, name)
