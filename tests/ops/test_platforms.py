"""Programs for platforms that are not at hand: every op is lowered for them, loops are short, means are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from benchmarks.accelerators import counted, figures, problems
from jaxdl import automatic, ops
from jaxdl import jaxpr as jx
from jaxdl.ops import attention_blocks, fused_losses
from jaxdl.ops.op_cases import Case, cases, normal
from tests.platforms import as_on, program
from tests.tolerance import assert_close

ACCELERATORS = ("cuda", "tpu")
FORMATS = ("float32", "bfloat16")


def smooth(case, dtype, derivative=lambda f: f):
    """A case as a function of its differentiable arguments, and those."""
    args = case.make(1, jnp.dtype(dtype))
    at = [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def f(*x):
        given = dict(zip(at, x, strict=True))
        return case.op(*[given.get(i, a) for i, a in enumerate(args)], **case.settings)

    return derivative(f), [args[i] for i in at]


def step(case, dtype, derivative=lambda f: f):
    """Value and pullback of a case as a function of its differentiable arguments, and those."""
    f, args = smooth(case, dtype, derivative)

    def both(*x):
        y, pullback = jax.vjp(f, *x)
        return y, pullback(jax.tree.map(_cotangent, y))

    return both, args


def _cotangent(y):
    inexact = jnp.issubdtype(y.dtype, jnp.inexact)
    return jnp.ones_like(y) if inexact else np.zeros(y.shape, jax.dtypes.float0)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_op_is_lowered_for_accelerators(dtype):
    """Forward pass and pullback of all cases as one module for both platforms."""
    steps, arguments = zip(*[step(case, dtype) for case in cases()], strict=True)
    every = lambda arguments: [f(*x) for f, x in zip(steps, arguments, strict=True)]
    lowered = export.export(jax.jit(every), platforms=ACCELERATORS)(arguments)
    assert lowered.platforms == ACCELERATORS


DEPENDENT = [case for case in cases() if "platform_index" in jx.primitives(jax.make_jaxpr(step(case, "float32")[0])(
    *step(case, "float32")[1]
))]  # fmt: skip


def test_some_ops_choose():
    names = {case.op.__name__ for case in DEPENDENT}
    assert names >= {"attention", "conv2d", "layer_norm", "linear_cross_entropy", "rms_norm"}


@pytest.fixture
def small_blocks(monkeypatch):
    """Loops and several stretches even for small arrays."""
    for module, name, value in (
        (attention_blocks, "BLOCK", 1), (attention_blocks, "FEWEST", 8), (attention_blocks, "MOST_STRETCHES", 3),
        (fused_losses, "LARGE_BLOCK", 1), (fused_losses, "LEAST_ROWS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("case", DEPENDENT, ids=str)
def test_values_on_accelerators(case, dtype):
    """Against the automatic derivative in float32 at the same, already rounded points."""
    hand, x = step(case, dtype)
    plain, _ = step(case, dtype, automatic)
    got, want = as_on("tpu", hand)(*x), jax.jit(plain)(*[a.astype(jnp.float32) for a in x])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == x[0].dtype
        assert_close(a, b, dtype)


def transformed(f, x):
    """Forward mode, reverse over reverse, and two examples at once."""
    along = jax.jvp(f, x, x)
    first = lambda *x: jax.grad(lambda *x: sum(map(jnp.sum, jax.tree.leaves(f(*x)))))(*x)
    second = jax.grad(lambda *x: jnp.sum(first(*x) ** 2))(*x)
    pairs = [jnp.stack([a, 0.5 * a]) for a in x]
    return along, second, jax.vmap(first)(*pairs), jax.vmap(first, (0, *[None] * (len(x) - 1)))(pairs[0], *x[1:])


LONG = (1, 65, 1, 2), (1, 64, 1, 2), (1, 64, 1, 2)
ONE_OF_EACH = [*{case.op: case for case in reversed(DEPENDENT)}.values()]
ONE_OF_EACH += [Case(ops.attention, "causal", normal(*LONG), {"causal": True})]
ONE_OF_EACH += [Case(ops.attention, "mask", normal(*LONG, (65, 64)), {"causal": True})]


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_transformations_on_accelerators(case, small_blocks):
    (hand, x), (plain, _) = smooth(case, "float32"), smooth(case, "float32", automatic)
    got = as_on("cuda", lambda *x: transformed(hand, x))(*x)
    want = jax.jit(lambda *x: transformed(plain, x))(*x)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(a, b, "float32")


def floats(*shapes):
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


HEADS = floats(*[(8, 1024, 8, 64)] * 3)
LABELS = jax.ShapeDtypeStruct((8192,), jnp.int32)
LARGE = {
    "attention": (ops.attention, HEADS, 128, 8),
    "causal attention": (lambda *qkv: ops.attention(*qkv, causal=True), HEADS, 128, 8),
    "linear_cross_entropy": (
        lambda x, w: ops.linear_cross_entropy(x, w, jnp.zeros(8192, int)), floats((8192, 512), (512, 200_000)),
        32768, 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_loops_are_short_except_on_a_cpu(name):
    """At most 1,024/128 blocks of queries, at most 8,192/1,024 blocks of rows; and still small parts on a CPU."""
    f, types, on_cpu, most = LARGE[name]
    assert counted(f, types, "cpu")["steps"] == on_cpu
    for platform in ACCELERATORS:
        assert counted(f, types, platform)["steps"] <= most


@pytest.mark.parametrize("op", [ops.layer_norm, ops.rms_norm])
def test_means_on_accelerators_are_no_products(op):
    """A product of float32 is rounded there to TF32 or bfloat16."""
    types = floats((16, 8), *[(8,)] * (2 if op is ops.layer_norm else 1))
    both = lambda *x: (lambda y, back: (y, back(y)))(*jax.vjp(op, *x))
    assert "dot_general" in jx.primitives(program("cpu", both, *types))
    assert "dot_general" not in jx.primitives(program("cuda", both, *types))


def test_the_benchmark_has_every_op_and_runs():
    """All problems small, and a few of them with times, on this machine."""
    small = [problem.shrunk() for problem in problems()]
    assert {op.__name__ for op in ops.all_ops().values()} - {
        "cross_entropies",
        "conv2d_kernel_gradient",
        "conv2d_by_loops",
    } <= {problem.name.split()[0].strip(",") for problem in small}
    for problem in small:
        assert figures(problem)["bfloat16"]["hand"]["largest_bytes"] > 0
    for problem in small[::20]:
        assert figures(problem, rounds=2)["float32"]["time"]["ratio"] > 0
