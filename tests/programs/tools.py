"""The tools, and JAX's references: each a function of a `Subject` that returns arrays by quantity."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl
from jaxdl import Op, automatic, jacobian
from jaxdl.auditor import Verdict
from jaxdl.graph import Output


@dataclass
class Subject:
    """A function with its arguments, the arguments to differentiate, and the tools to run."""

    f: Callable
    args: tuple
    argnums: int | tuple
    tools: list

    @property
    def places(self):
        return (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    @property
    def chosen(self):
        return tuple(self.args[i] for i in self.places)

    def of_chosen(self, f=None):
        """f as a function of the differentiated arguments only."""

        def moved(*chosen):
            full = list(self.args)
            for i, x in zip(self.places, chosen, strict=True):
                full[i] = x
            return (f or self.f)(*full)

        return moved

    @cached_property
    def outputs(self):
        return jax.eval_shape(self.of_chosen(), *self.chosen)

    @property
    def cotangents(self):
        return jax.tree.unflatten(jax.tree.structure(self.outputs), directions(jax.tree.leaves(self.outputs), 31))

    @property
    def tangents(self):
        return jax.tree.unflatten(jax.tree.structure(self.chosen), directions(jax.tree.leaves(self.chosen), 71))

    @property
    def is_real(self):
        return all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves((self.chosen, self.outputs)))

    @property
    def is_scalar(self):
        return [y.shape for y in jax.tree.leaves(self.outputs)] == [()]


def directions(types, seed):
    """Random arrays of the given shapes and dtypes, whose entries are sixteenths."""
    found = []
    for i, t in enumerate(types):
        random = np.random.default_rng(seed + i)
        numbers = random.integers(4, 24, t.shape) / 16 * random.choice([-1, 1], t.shape)
        turned = numbers * (1 - 0.5j) if jnp.issubdtype(t.dtype, jnp.complexfloating) else numbers
        found.append(jnp.asarray(turned, t.dtype))
    return found


# --- JAX's references --------------------------------------------------------------------------------


def value(s, f=None):
    return s.of_chosen(f)(*s.chosen)


def pulled(s, f=None):
    return jax.vjp(s.of_chosen(f), *s.chosen)[1](s.cotangents)


def pushed(s, f=None):
    return jax.jvp(s.of_chosen(f), s.chosen, s.tangents)[1]


def matrix(s, f=None):
    """The Jacobian by reverse mode, or by forward mode where JAX has no reverse mode."""
    try:
        return jax.jacrev(f or s.f, s.argnums)(*s.args)
    except Exception:
        return jax.jacfwd(f or s.f, s.argnums)(*s.args)


def curved(s, f=None):
    """The product of a scalar function's Hessian with the tangents."""
    return jax.jvp(jax.grad(s.of_chosen(f), tuple(range(len(s.chosen)))), s.chosen, s.tangents)[1]


JAX = {"value": value, "vjp": pulled, "jvp": pushed, "jacobian": matrix, "hvp": curved}


def references(s) -> dict:
    """The quantities of `JAX` that the subject has."""
    matrices = {"jacobian"} if s.is_real else set()
    curves = {"hvp"} if s.is_real and s.is_scalar else set()
    return {name: of for name, of in JAX.items() if name in {"value", "vjp", "jvp"} | matrices | curves}


# --- the tools ---------------------------------------------------------------------------------------
# A tool returns {quantity: arrays}: a quantity of JAX above, or "matrix", the Jacobian as one matrix.


def method(name, **options):
    return lambda s: {"jacobian": getattr(jacobian, name)(s.f, s.argnums, **options)(*s.args)}


def multiplied_out(s):
    operator = jacobian.structured(s.f, s.argnums)(*s.args)
    return {"matrix": operator.dense()}


def without_rules(s):
    f = automatic(s.f)
    return {name: of(s, f) for name, of in references(s).items() if name != "jacobian"}


def rematerialized(s):
    f = jaxdl.rematerialized(s.f)
    return {name: of(s, f) for name, of in references(s).items() if name != "jacobian"}


def products(s):
    f, argnums = s.f, s.places
    found = {
        "jvp": jacobian.pushforward(f, argnums)(*s.args)(s.tangents),
        "vjp": jacobian.pullback(f, argnums)(*s.args)(s.cotangents),
    }
    if s.is_scalar:
        found["hvp"] = jacobian.hvp(f, argnums)(*s.args)(s.tangents)
    return found


def executed_source(s):
    """The module that `source` writes, as a tool: the value of its op and the derivative of its rule."""
    names = {}
    exec(compile(jaxdl.source(s.f, *s.args), "<source>", "exec"), names)
    written = next(x for x in names.values() if isinstance(x, Op))

    def like_f(f):
        def structured(*args):
            settings = [p for p in written.signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
            y = jax.tree.leaves(f(*[x for x in args if not (settings and isinstance(x, int))]))
            return jax.tree.unflatten(jax.tree.structure(s.outputs), y)

        return structured

    return lambda s: {"value": value(s, like_f(written.primal)), "vjp": pulled(s, like_f(written))}


TRACED = {
    "automatic": without_rules,
    "reverse": method("reverse"),
    "forward": method("forward"),
    "sparse": method("sparse"),
    "cut": method("cut"),
    "eliminate": method("eliminate", seconds=0.1),
    "structured": multiplied_out,
    "products": products,
    "rematerialized": rematerialized,
}
NOISE_OF_FLOAT64 = 1e-13
OF_REAL_FUNCTIONS = {"reverse", "forward", "sparse", "cut", "eliminate", "structured", "products", "best", "finite"}


def swept(s):
    """The graph's backward and forward sweeps, and `graph.grad` of its outputs with respect to its arguments."""
    graph = jaxdl.trace(s.f)(*s.args)
    is_output = lambda x: isinstance(x, Output)
    at = lambda tree, of: jax.tree.map(of, tree, is_leaf=is_output)
    inputs = tuple(graph.arguments[i] for i in s.places)
    graph.backward(s.cotangents, retain=True)
    found = {"vjp": at(inputs, lambda x: _or_zeros(x, x.node.adjoints))}
    found["vjp, by grad"] = graph.grad(graph.outputs, inputs, s.cotangents)
    graph.costs().table()
    moved = [None] * len(s.args)
    for i, tangent in zip(s.places, s.tangents, strict=True):
        moved[i] = tangent
    graph.forward(*moved)
    found["jvp"] = at(graph.outputs, lambda y: _or_zeros(y, y.node.tangents))
    return found | {"value": at(graph.outputs, lambda y: y.value)}


def _or_zeros(x, all_of_node):
    found = all_of_node and all_of_node[x.place]
    return jnp.zeros(x.type.shape, x.type.dtype) if found is None else found


def by_differences(s):
    return {"jacobian": jacobian.finite(s.f, s.argnums)(*s.args)}


def judged(s):
    """The faults that the audit reports, and the sites it could not reach."""
    report = jaxdl.audit(s.f, *s.args)
    unreached = [found for found in report.findings if found.verdict == Verdict.NOT_REACHED]
    return [str(found) for found in (*report.faults, *unreached)]


def contrasted(s):
    """Differences of hand-written and automatic derivatives, relative to the largest entry, where not noise.

    For float64 a constant bounds the noise, as no wider run measures it.
    """
    found = jaxdl.contrast(s.f, *s.args, time=False).whole.telling
    return {d.name: d.relative for d in found if not d.absolute < NOISE_OF_FLOAT64}


BY_ITSELF = {
    "graph": swept,
    "best": method("best"),
    "finite": by_differences,
    "contrast": contrasted,
    "audit": judged,
}
ALL = [*TRACED, "source", *BY_ITSELF]
