"""Every operation under every transformation in every dtype, against the automatic derivative.

16-bit dtypes are compared with the automatic derivative in float32 at the same, already rounded points.
"""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.tree_util import Partial

from jaxdl import automatic, ops
from jaxdl.ops.op_cases import cases, in_forms
from tests.draws import draw
from tests.tolerance import assert_close

CASES = cases()
FIRST_OF_EACH = list({case.op: case for case in reversed(CASES)}.values())
ANALYTIC = list({case.op: case for case in reversed(CASES) if case.analytic}.values())


def formats(case):
    """Dtypes of one case are adjacent, so that one process runs them and compiles the automatic derivative once."""
    narrow = ["float64", "bfloat16", "float16"] if case in FIRST_OF_EACH else []
    return ["float32", *narrow, *["complex64"] * (case in ANALYTIC)]


FORMATS = [(case, dtype) for case in CASES for dtype in formats(case)]
FORMATS += [(case, dtype) for case in in_forms(CASES) for dtype in ("float32", "bfloat16")]
QUICKLY = {"xla_backend_optimization_level": 0}  # compiling takes most of the time, not running


@functools.cache
def of_smooth(case, derivative):
    """The case's op with one of its derivatives, as a function of the arguments `others`, then the smooth ones."""

    def f(others, *x):
        numbers = iter(x)
        return _one_array(case.op(*[next(numbers) if a is None else a for a in others], **case.settings))

    return lambda others, *x: derivative(functools.partial(f, others))(*x)


def by_hand(f):
    return f


class Problem:
    """A case as a function of its differentiable arguments only, with tangents and a cotangent."""

    def __init__(self, case, dtype):
        args = case.make(1, dtype)
        is_smooth = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)
        others = tuple(None if is_smooth(a) else a for a in args)
        # Functions as pytrees: equal cases with equal dtypes are compiled once.
        self.hand, self.automatic = (Partial(of_smooth(case, d), others) for d in (by_hand, automatic))
        self.x = tuple(filter(is_smooth, args))
        self.x_dot = tuple(draw(10 + i, *a.shape, dtype=dtype) for i, a in enumerate(self.x))
        self.dy = draw(9, *jax.eval_shape(self.hand, *self.x).shape, dtype=dtype)

    def widened(self, tree):
        wide = lambda a: a.astype(jnp.float32) if a.dtype in (jnp.bfloat16, jnp.float16) else a
        return jax.tree.map(wide, tree)


def _one_array(y):
    """All outputs that are not integers as one array, so that there is one cotangent."""
    smooth = [leaf for leaf in jax.tree.leaves(y) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return smooth[0] if len(smooth) == 1 else jnp.concatenate([leaf.ravel() for leaf in smooth])


def _every(x):
    """Keyword arguments of `jax.grad` to differentiate with respect to all of x."""
    return {"argnums": tuple(range(len(x))), **_holomorphic(x)}


def _holomorphic(x):
    return {"holomorphic": jnp.iscomplexobj(x[0])}


def _scalar(f, dy):
    return lambda *x: (f(*x) * dy.astype(f(*x).dtype)).sum()


def _vjp(f, x, dy):
    return jax.vjp(f, *x)[1](dy)


def _products(x, x_dot):
    """Tangents that depend on the point."""
    return tuple(a * b for a, b in zip(x, x_dot, strict=True))


def _stack(tree):
    return jax.tree.map(lambda a: jnp.stack([a, a * 0.5, a * 2]), tree)


def _first_mapped(f, x, dy):
    """vmap over the last axis (−1) of the first argument, the others unmapped."""
    axes = (-1, *[None] * (len(x) - 1))
    first = jnp.stack([x[0], x[0] * 0.5], -1)
    total = lambda *args: (jax.vmap(f, axes)(*args) * dy[None]).sum()
    return jax.vmap(f, axes)(first, *x[1:]), jax.grad(total, **_every(x))(first, *x[1:])


def _nested_vmap(f, x, dy):
    outer = [jnp.stack([a, a * 0.5]) for a in x]
    return jax.vmap(jax.vmap(lambda *a: _vjp(f, a, dy), (0,) * len(x)), (0,) * len(x))(
        *[jnp.stack([a, a]) for a in outer]
    )


def _scan(f, x, dy):
    total = lambda *x: jax.lax.scan(lambda c, _: (c + _scalar(f, dy)(*x), None), jnp.zeros((), dy.dtype), None, 2)[0]
    return jax.grad(total, **_every(x))(*x)


def _cond(f, x, dy):
    total = lambda *x: jax.lax.cond(x[0].real.sum() > -1e9, _scalar(f, dy), lambda *x: jnp.zeros((), dy.dtype), *x)
    return jax.grad(total, **_every(x))(*x)


def _while(f, x, x_dot, dy):
    body = lambda c: (c[0] + f(*c[2]), c[1] + 1, c[2])
    twice = lambda *x: jax.lax.while_loop(lambda c: c[1] < 2, body, (jnp.zeros_like(dy), 0, x))[0]
    return jax.jvp(twice, x, x_dot)[1]


@functools.partial(jax.jit, compiler_options=QUICKLY)
def transformed(f, x, x_dot, dy):
    """The results of all transformations of f: a dictionary of arrays."""
    every, kind = _every(x), _holomorphic(x)
    scalar = _scalar(f, dy)
    linear = jax.linearize(f, *x)
    return {
        "value": f(*x),
        "vjp": _vjp(f, x, dy),
        "grad": jax.grad(scalar, **every)(*x),
        "jvp": jax.jvp(f, x, x_dot)[1],
        "jacrev": jax.jacrev(f, **every)(*x),
        "jacfwd": jax.jacfwd(f, **every)(*x),
        "linearize": (linear[0], linear[1](*x_dot)),
        "hessian": jax.jacfwd(jax.jacrev(scalar, 0, **kind), **every)(*x),
        "reverse over reverse": jax.vjp(lambda *x: jax.grad(scalar, 0, **kind)(*x), *x)[1](x_dot[0]),
        "forward over forward": jax.jvp(lambda *x: jax.jvp(f, x, _products(x, x_dot))[1], x, x_dot)[1],
        "vmap": jax.vmap(lambda *x: _vjp(f, x, dy), (0,) * len(x))(*_stack(x)),
        "vmap of the first argument": _first_mapped(f, x, dy),
        "nested vmap": _nested_vmap(f, x, dy),
        "scan": _scan(f, x, dy),
        "cond": _cond(f, x, dy),
        "while": _while(f, x, x_dot, dy),
        "checkpoint": jax.grad(jax.checkpoint(scalar), **every)(*x),
        "checkpoint, second order": jax.jvp(jax.grad(jax.checkpoint(scalar), 0, **kind), x, x_dot)[1],
    }


@pytest.mark.parametrize(("case", "dtype"), FORMATS, ids=str)
def test_transformations_agree_with_the_automatic_derivative(case, dtype):
    with jax.enable_x64(dtype == "float64"):
        p = Problem(case, dtype)
        hand = transformed(p.hand, p.x, p.x_dot, p.dy)
        plain = transformed(p.automatic, *p.widened((p.x, p.x_dot, p.dy)))
    for name, expected in plain.items():
        got = jax.tree.leaves(hand[name])
        for a, b in zip(got, jax.tree.leaves(expected), strict=True):
            assert a.dtype == jnp.dtype(dtype), f"{name}: {a.dtype}"
            assert_close(a, b, dtype, name)


@pytest.mark.parametrize("case", FIRST_OF_EACH, ids=str)
def test_eager_equals_jit(case):
    p = Problem(case, "float32")
    assert_close(p.hand(*p.x), jax.jit(p.hand)(*p.x), "float32", "value")
    for a, b in zip(_vjp(p.hand, p.x, p.dy), _vjp(p.automatic, p.x, p.dy), strict=True):
        assert_close(a, b, "float32", "vjp")


# Sharding is tested in float32, in one narrow and in one complex dtype.
SHARDED = [(case, "float32") for case in FIRST_OF_EACH]
SHARDED += [(case, "bfloat16") for case in FIRST_OF_EACH if not case.analytic]
SHARDED += [(case, "complex64") for case in ANALYTIC]


@pytest.mark.parametrize(("case", "dtype"), SHARDED, ids=str)
def test_sharded_over_devices(case, dtype):
    """Four examples, one per device: by NamedSharding, and in shard_map with the other arguments replicated."""
    with jax.enable_x64(dtype == "float64"):
        p = Problem(case, dtype)
        mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
        first = jnp.stack([p.x[0], p.x[0] * 0.5, p.x[0] * 2, p.x[0]])
        rest = p.x[1:]
        axes = (0, *[None] * len(rest))
        gradient = lambda f: jax.jit(jax.grad(f, **_every(p.x)), compiler_options=QUICKLY)

        def total(f, dy=p.dy):
            return lambda *x: (jax.vmap(f, axes)(*x) * dy[None]).sum()

        def mapped(f):
            local = lambda *x: jax.lax.psum(total(f)(*x), "d")
            return jax.shard_map(local, mesh=mesh, in_specs=(P("d"), *[P()] * len(rest)), out_specs=P())

        expected = gradient(total(p.automatic, p.widened(p.dy)))(*p.widened((first, *rest)))
        placed = jax.device_put(first, NamedSharding(mesh, P("d")))
        results = {
            "NamedSharding": gradient(total(p.hand))(placed, *rest),
            "shard_map": gradient(mapped(p.hand))(placed, *rest),
        }
        # JAX 0.12 cannot differentiate erfc inside shard_map, so the primals with gelu cannot be either.
        has_erfc = case.op in (ops.gelu, ops.gelu_feed_forward)
        if dtype == "float32" and (not has_erfc or jax.__version_info__ < (0, 11)):
            results["automatic inside shard_map"] = gradient(automatic(mapped(p.hand)))(placed, *rest)
    for name, got in results.items():
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, dtype, name)


MATRIX, SIDE = jnp.array([[3.0, 1.0, 0.0], [0.0, 2.0, 0.5], [0.3, 0.0, 4.0]]), jnp.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_linear_ops_are_transposed(transform):
    """As iterative solvers and lineax transpose a function of products: Aᵀ v."""
    times = lambda v: ops.matmul(MATRIX, v[:, None])[:, 0]
    assert jnp.allclose(transform(lambda v: jax.linear_transpose(times, SIDE)(v)[0])(SIDE), MATRIX.T @ SIDE)
    rows = jax.linear_transpose(jax.vmap(times), MATRIX)(MATRIX)[0]
    assert jnp.allclose(rows, MATRIX @ MATRIX)
    (mean,) = jax.linear_transpose(ops.mean, SIDE)(jnp.float32(3))
    assert jnp.allclose(mean, 1)
    with pytest.raises(NotImplementedError, match=r"Transpose rule .* for 'tanh' not implemented"):
        jax.linear_transpose(ops.tanh, SIDE)(SIDE)


def test_a_solver_that_transposes_products():
    """d(Σ A⁻¹b)/dA = −A⁻ᵀ1 (A⁻¹b)ᵀ."""

    def solution(a):
        return jax.scipy.sparse.linalg.bicgstab(lambda v: ops.matmul(a, v[:, None])[:, 0], SIDE)[0].sum()

    inverse = jnp.linalg.inv(MATRIX)
    want = -jnp.outer(inverse.T @ jnp.ones(3), inverse @ SIDE)
    assert jnp.allclose(jax.grad(solution)(MATRIX), want, atol=1e-5)
