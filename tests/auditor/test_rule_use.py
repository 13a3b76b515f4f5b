"""A rule is judged as the function asks it: in what moves, in totals, where it is reached, in the domains stated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdl
from jaxdl import jaxpr as jx
from jaxdl.auditor import Verdict, auditing
from jaxdl.auditor.domains import Domain, domains_of
from jaxdl.auditor.rule_use import rule_uses
from jaxdl.strip import rules
from tests.auditor.subjects import by_rule

X = np.array([0.3, -1.2, 2.5, 0.7], np.float32)


@pytest.fixture(autouse=True)
def one_format(monkeypatch):
    """Only the format of the arguments."""
    monkeypatch.setattr(auditing, "FORMATS", ())


def of_rules(f, *args, **settings):
    """The verdicts of the rules in f, by name."""
    report = jaxdl.audit(f, *args, **settings)
    return {a.name: a.verdict for a in report.audited if not a.subject.is_whole}


def is_faulted(f, *args, **settings):
    return bool(jaxdl.audit(f, *args, **settings).faults)


# --- one value at several places ------------------------------------------------------------------------------------


def newton(h, y):
    return lax.fori_loop(0, 25, lambda _, y: y - h(y) / (2 * y), y)


def root(a, factor=1.0):
    """√a; a factor of 1 makes the tangent right."""
    return lax.custom_root(lambda y: y * y - a, jnp.ones_like(a), newton, lambda h, y: factor * y / h(jnp.ones_like(y)))


def weighted_root(a, b):
    """y³ + b y = a, where both enter the function and its solver."""
    f = lambda y: y**3 + b * y - a
    steps = lambda h, y: lax.fori_loop(0, 40, lambda _, y: y - h(y) / (3 * y * y + b), y)
    return lax.custom_root(f, jnp.float32(1), steps, lambda h, y: y / h(jnp.float32(1)))


TWO = np.float32(2)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (root, (TWO,)),
        (jax.jit(root), (TWO,)),
        (lambda a: jax.jit(lambda a, b: root(a) * b)(2 * a, a), (TWO,)),
        (jax.vmap(root), (np.array([2.0, 3.0], np.float32),)),
        (weighted_root, (TWO, np.float32(0.5))),
        (lambda a: lax.scan(lambda c, _: (root(c + a), c), a, length=2)[0], (TWO,)),
    ],
    ids=["alone", "in jit", "in jit, of another value", "under vmap", "of two values", "in scan"],
)
def test_an_implicit_rule_is_judged_by_its_total(f, args):
    assert not is_faulted(f, *args)


def test_the_total_of_an_implicit_rule_may_be_wrong():
    assert is_faulted(functools.partial(root, factor=1.5), TWO)


def test_a_rule_that_is_right_in_each_place_is_judged_in_each():
    product = by_rule(lambda x, y: x * y, lambda x, y, dy: (dy * y, dy * x))
    report = jaxdl.audit(lambda x: product(x, x) * 1, X)
    assert report.faults == ()
    assert [len(a.subject.inputs) for a in report.audited] == [1, 2]


def test_one_value_is_told_from_equal_ones():
    product = jax.custom_jvp(lambda x, y: x * y)
    product.defjvp(lambda p, t: (product(*p), t[0] * p[1] + p[0] * t[1]))

    def numbers(f):
        jaxpr, _ = jx.trace(f, np.float32(1), np.float32(1))
        (site,) = rules(f, np.float32(1), np.float32(1))
        return rule_uses(jaxpr, [np.float32(1)] * 2)(site).numbers

    is_one = lambda f: len(set(numbers(f))) == 1
    assert is_one(lambda x, y: product(x, x))
    assert not is_one(lambda x, y: product(x, y))
    assert not is_one(lambda x, y: product(x + 1, x + 1.0))
    assert is_one(lambda x, y: jax.jit(product)(y, y))
    assert is_one(jax.jit(lambda x, y: jax.jit(lambda a, b: product(a, b))(x, x)))
    assert numbers(lambda x, y: product(y, x)) == (1, 0)


# --- what moves -------------------------------------------------------------------------------------------------------


def solve(a, b):
    """Its rule has no derivative in the operator, as it is meant for one behind a stop."""
    plain = jnp.linalg.solve
    rule = jax.custom_vjp(plain)
    rule.defvjp(lambda a, b: (plain(a, b), a), lambda a, dy: (jnp.zeros_like(a), plain(a.T, dy)))
    return rule(a, b)


A, B = np.array([[2.0, 1.0], [0.5, 3.0]], np.float32), np.array([1.0, -2.0], np.float32)


def test_what_is_constant_in_f_is_constant_for_its_rules():
    assert of_rules(lambda a, b: solve(lax.stop_gradient(a), b), A, B) == {"solve": Verdict.RIGHT}
    assert of_rules(lambda b: solve(A, b), B) == {"solve": Verdict.RIGHT}
    assert of_rules(lambda a, b: solve(a, b), A, B) == {"solve": Verdict.WRONG}


def test_rules_that_refuse_what_does_not_move():
    @functools.partial(jax.custom_vjp)
    def scaled(x, factor):
        return x * factor

    def forward(x, factor):
        if factor.perturbed:
            raise RuntimeError("factor cannot be differentiated")
        return x.value * factor.value, factor.value

    scaled.defvjp(forward, lambda factor, dy: (dy * factor, None), symbolic_zeros=True)
    assert not is_faulted(lambda x: scaled(x, jnp.float32(2)) * 1, X)
    assert not is_faulted(lambda x, n: scaled(x, n.astype(x.dtype)).sum(), X, jnp.int32(2))
    assert not is_faulted(lambda x: lax.scan(lambda c, _: (scaled(c, jnp.float32(0.5)), None), x, length=3)[0], X)


def test_inputs_that_f_never_moves_alone():
    """A rule that drops what flows to x where only one of x and y moves; in f both do."""

    @jax.custom_vjp
    def product(x, y):
        return x * y

    def forward(x, y):
        both = float(x.perturbed and y.perturbed)
        return x.value * y.value, (x.value * both, y.value * both)

    product.defvjp(forward, lambda r, dy: (dy * r[1], dy * r[0]), symbolic_zeros=True)
    assert not is_faulted(lambda x: product(x, jnp.sin(x)) * 1, X)
    assert is_faulted(lambda x, y: product(x, y) * 1, X, X[::-1].copy())


def test_inputs_that_are_moved_through_every_kind_of_body():
    square = by_rule(lambda x, c: x * x * c, lambda x, c, dy: (2 * x * c * dy, None))

    def f(x):
        y = jax.checkpoint(lambda x: square(x, jnp.float32(1)))(x)
        y = lax.cond(y.sum() > 0, lambda y: square(y, jnp.float32(0.5)), lambda y: y, y)
        return lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, square(c[1], jnp.float32(0.1))), (0, y))[1]

    jaxpr, _ = jx.trace(f, X)
    asks = rule_uses(jaxpr, [X])
    assert [asks(site).moving for site in rules(f, X) if not site.within] == [{0}] * 3


def test_what_has_tangents_but_does_not_move():
    """JAX gives tangents to all that comes out of a `custom_vjp`; a rule after it stops those of what is constant."""
    both = by_rule(lambda x, t: (jnp.sin(x), 2 * t), lambda x, t, dy: (dy[0] * jnp.cos(x), 2 * dy[1]))

    @jax.custom_jvp
    def loop(y, t):
        return y * t

    loop.defjvp(lambda p, d: (loop(*p), d[0] * p[1]))
    assert not is_faulted(lambda x: loop(*both(x, jnp.float32(3))).sum() * 1, X)
    assert is_faulted(lambda x: loop(*both(x, x.sum())).sum() * 1, X)


# --- where rules are reached ----------------------------------------------------------------------------------------


def cube(factor):
    f = jax.custom_jvp(lambda x: x**3)
    f.defjvps(lambda dx, y, x: factor * x * x * dx)
    f.__name__ = "cube"
    return f


def test_a_rule_in_a_branch_not_taken():
    at_edges = lambda factor: lambda x: lax.cond(x > 0, jnp.cos, lambda x: cube(factor)(x), x)
    assert list(of_rules(at_edges(2.0), jnp.float32(1)).values()) == [Verdict.WRONG]
    assert list(of_rules(at_edges(3.0), jnp.float32(1)).values()) == [Verdict.RIGHT]
    never = lambda x, i: lax.switch(i, [jnp.cos, lambda x: cube(2.0)(x)], x)
    report = jaxdl.audit(never, jnp.float32(1), jnp.int32(0))
    assert [a.verdict for a in report.audited] == [Verdict.RIGHT, Verdict.NOT_REACHED]
    assert "branch" in str(report.to_json())
    assert report.faults == ()


@pytest.mark.parametrize("kind", ["custom_vjp", "custom_jvp"])
@pytest.mark.parametrize("factor", [3.0, 2.0])
def test_a_rule_on_each_device_is_judged_in_the_whole(kind, factor):
    mesh = jax.make_mesh((2,), ("i",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    rule = cube(factor) if kind == "custom_jvp" else by_rule(lambda x: x**3, lambda x, dy: (factor * x * x * dy,))
    f = jax.shard_map(lambda x: rule(x), mesh=mesh, in_specs=P("i"), out_specs=P("i"))
    report = jaxdl.audit(lambda x: f(x).sum(), X)
    whole, on_devices = report.audited
    assert on_devices.verdict == Verdict.NOT_REACHED
    assert whole.verdict == (Verdict.RIGHT if factor == 3 else Verdict.WRONG)


# --- a search that stops at a tolerance of its own ------------------------------------------------------------------


def settled(factor, tolerance=1e-6):
    """The x that cos(x) / 2 + p is, to the tolerance alone; a factor of 1 makes the rule right."""

    @jax.custom_vjp
    def solved(p):
        moves = lambda s: jnp.max(jnp.abs(s[0] - s[1])) > tolerance
        return lax.while_loop(moves, lambda s: (jnp.cos(s[0]) / 2 + p, s[0]), (p, p + 1))[0]

    solved.defvjp(lambda p: (x := solved(p), x), lambda x, dy: (factor * dy / (1 + jnp.sin(x) / 2),))
    return solved


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.RIGHT), (0.995, Verdict.WRONG)])
def test_a_search_is_judged_by_the_digits_that_it_has_found(factor, verdict):
    with jax.enable_x64(True):
        assert jaxdl.audit(settled(factor), np.array([0.3, 0.8])).verdict == verdict


# --- domains --------------------------------------------------------------------------------------------------------


def test_numbers_are_made_up_in_the_domains_stated():
    """A rule that is wrong for negative ε, where nobody calls it."""
    norm = lambda x, eps: jnp.sqrt(x * x + jnp.abs(eps))
    pulled = lambda x, eps, dy: (dy * x / norm(x, eps), dy / (2 * norm(x, eps)))
    rule, eps = by_rule(norm, pulled), np.full(4, 0.1, np.float32)
    args = X, eps
    assert is_faulted(rule, *args)
    for domains in ({"eps": (1e-3, 1.0)}, {1: (1e-3, 1.0)}, (None, (1e-3, 1.0)), {"eps": lambda e: e > 0}):
        assert not is_faulted(rule, *args, domains=domains)
    inside = lambda x, eps: 2 * rule(x, eps).sum()
    assert not is_faulted(inside, *args, domains={"eps": lambda e: e > 0})
    vectors = by_rule(lambda x, eps: norm(x, eps).sum(), lambda x, eps, dy: pulled(x, eps, dy))
    assert is_faulted(vectors, *args)
    assert not is_faulted(vectors, *args, domains={"eps": (1e-3, 1.0)})


def test_the_ends_of_a_range_are_looked_at():
    wrong_at_end = lambda x, dy: (dy * jnp.where(x == 0.625, 2.0, jnp.cos(x)),)
    found = jaxdl.audit(by_rule(jnp.sin, wrong_at_end), X * 0.1, domains=[(-1.0, 0.625)]).faults
    assert any(f.at == "at 0.625" for f in found)


def test_domains_that_do_not_fit():
    f = lambda x, eps: x * eps
    with pytest.raises(ValueError, match="domains has 'epsilon', which is not an argument"):
        jaxdl.audit(f, X, X, domains={"epsilon": (0, 1)})
    with pytest.raises(ValueError, match=r"the domain of argument 'eps' is a pair \(low, high\)"):
        jaxdl.audit(f, X, X, domains={"eps": (1, 0)})
    of = domains_of({"tree": (0, 1), "eps": (2, 3)}, lambda x, tree, eps: 0, (X, {"a": X, "b": 2, "c": X}), {"eps": X})
    assert of == [None, Domain(0, 1), Domain(0, 1), Domain(2, 3)]
    assert list(Domain(0, 2).admitted(X, X)) == [np.float32(0.3), 0, 2, np.float32(0.7)]


def test_the_stairs_of_a_bisection_tell_no_slope():
    """Values that are halves of intervals say nothing against a rule; nobody can judge it there."""

    @jax.custom_vjp
    def root(a):
        halved = lambda s: (jnp.where((m := (s[0] + s[1]) / 2) ** 2 < a, m, s[0]), jnp.where(m**2 < a, s[1], m))
        return lax.while_loop(lambda s: s[1] - s[0] > 1e-3, halved, (0.0 * a, 0.0 * a + 2))[0]

    root.defvjp(lambda a: (x := root(a), x), lambda x, dy: (dy / (2 * x),))
    assert jaxdl.audit(root, np.float32(1.7)).verdict == Verdict.NOT_VERIFIABLE


def steffensen(factor, tolerance=1e-6):
    """The x that cos(p x) is, by steps whose derivative settles later than their value, and how many it took."""

    @jax.custom_vjp
    def solved(p):
        def step(s):
            x, _, count = s
            a, b = (y := jnp.cos(p * x)), jnp.cos(p * y)
            return x - (a - x) ** 2 / (b - 2 * a + x + 1e-30), x, count + 1

        x, before, count = lax.while_loop(lambda s: jnp.abs(s[0] - s[1]) > tolerance, step, (p, p + 1, 0))
        return x, jnp.abs(x - before), count

    def forward(p):
        x, *others = solved(p)
        return (x, *others), (p, x)

    def backward(saved, dy):
        p, x = saved
        slope = -x * jnp.sin(p * x) / (1 + p * jnp.sin(p * x))
        return (factor * slope * dy[0],)

    solved.defvjp(forward, backward)
    return solved


def test_the_error_that_a_search_has_left_says_nothing_of_its_rule():
    """How far the last step went and how many there were are no results, and a rule need not differentiate them."""
    f = lambda factor: lambda p: steffensen(factor)(p)
    with jax.enable_x64(True):
        assert not jaxdl.audit(f(1.0), np.float64(0.7)).faults
    assert not jaxdl.audit(f(1.0), np.float32(0.7)).faults


def test_a_search_that_checks_itself_is_run_longer_without_its_checks():
    """Where a run twice as long would fail an assertion that the steps are few."""

    def few(x, count):
        fail = lambda x: jax.pure_callback(
            lambda x: 1 / 0, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential"
        )
        return lax.cond(count > 30, fail, lambda x: x, x)

    @jax.custom_vjp
    def solved(p):
        moves = lambda s: jnp.abs(s[0] - s[1]) > 1e-6
        x, _, count = lax.while_loop(moves, lambda s: (jnp.cos(s[0]) / 2 + p, s[0], s[2] + 1), (p, p + 1, 0))
        return few(x, count)

    def by(factor):
        solved.defvjp(lambda p: (x := solved(p), x), lambda x, dy: (factor * dy / (1 + jnp.sin(x) / 2),))
        return lambda p: solved(p)

    with jax.enable_x64(True):
        assert not jaxdl.audit(by(1.0), np.float64(0.3)).faults
        assert jaxdl.audit(by(0.99), np.float64(0.3)).verdict == Verdict.WRONG


def test_draws_that_a_loop_rejects_are_nobodys_to_judge():
    """By von Neumann, of the density proportional to exp(−p x) on [0, 1]; JAX derives the draw that was accepted."""

    @jax.custom_vjp
    def sampled(p, key):
        def again(s):
            key, _, _ = s
            key, of_x, of_u = jax.random.split(key, 3)
            x = jax.random.uniform(of_x)
            return key, x, jax.random.uniform(of_u) < jnp.exp(-p * x)

        return p * lax.while_loop(lambda s: ~s[2], again, (key, jnp.float32(0), jnp.bool_(False)))[1]

    sampled.defvjp(lambda p, key: (sampled(p, key), p), lambda p, dy: (dy * 0.123, None))
    assert not jaxdl.audit(lambda p: sampled(p, jax.random.key(0)), np.float32(1.5)).faults


def test_outputs_that_are_python_numbers():
    @jax.custom_vjp
    def flagged(x):
        return jnp.sin(x), True

    flagged.defvjp(lambda x: ((jnp.sin(x), True), x), lambda x, dy: (dy[0] * jnp.cos(x),))
    assert jaxdl.audit(lambda x: flagged(x)[0], np.float32(0.3)).verdict == Verdict.RIGHT


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.RIGHT), (0.99, Verdict.WRONG)])
def test_a_search_under_vmap(factor, verdict):
    each = lambda p: jax.vmap(settled(factor))(p)
    with jax.enable_x64(True):
        assert jaxdl.audit(each, np.array([[0.3], [0.8]])).verdict == verdict


def test_a_state_that_starts_constant_is_differentiated():
    """A recurrent network whose state starts at zero: the first call of its rule depends on no argument."""
    cell = jax.custom_vjp(lambda h, x: jnp.tanh(h) + x)
    cell.defvjp(lambda h, x: (cell(h, x), h), lambda h, dy: (2 * dy * (1 - jnp.tanh(h) ** 2), dy))  # the 2 is wrong
    x = jnp.array([0.3, -1.2, 2.5])
    for f in (
        lambda x: jax.lax.scan(lambda h, x: (cell(h, x), None), 0.0, x)[0],
        lambda x: jax.lax.fori_loop(0, 3, lambda i, h: cell(h, x[i]), 0.0),
        lambda x: jax.lax.scan(lambda h, x: (cell(cell(h, 0.0), x), None), 0.0, x)[0],
    ):
        assert jaxdl.audit(f, x, quick=True).faults


def test_a_rule_that_is_wrong_in_a_later_step():
    """A function that is a single loop is more than the first call of its rule."""
    scaled = jax.custom_vjp(lambda x, c: c * jnp.sin(x))
    factor = lambda c: jnp.where(c > 2.5, 2, 1)  # the 2 is wrong
    scaled.defvjp(
        lambda x, c: (scaled(x, c), (x, c)), lambda k, dy: (factor(k[1]) * dy * k[1] * jnp.cos(k[0]), 0 * k[1])
    )
    f = lambda x: jax.lax.scan(lambda x, c: (scaled(x, c), None), x, jnp.array([1.0, 2.0, 3.0]))[0]
    assert jaxdl.audit(f, 0.3, quick=True).faults
