"""The subject of an audit: a function of arrays with a hand-written derivative, and the same function without it."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.programs import UserCodeError, evaluated, in_float64, user_code
from jaxdl.auditor.tally import Tally
from jaxdl.double_precision import as_double
from jaxdl.measure.differentiated import normal

WHOLE = "whole"
SMALL = 4096  # numbers, up to which all checks are quick


def vjp(f: Callable[..., Any], *x: Any) -> tuple[Any, Callable[..., Any]]:
    """`jax.vjp` of audited code."""
    y, pullback = user_code(jax.vjp)(f, *x)
    return y, user_code(pullback)


@dataclass(frozen=True, eq=False)
class Subject:
    """A function of arrays, that returns a list of arrays, with and without hand-written rules.

    Attributes:
        name: The user's name.
        kind: "whole" for the user's function, else the kind of rule.
        where: The line of source that calls it.
        count: How often it is called.
        hand: The function with its rules.
        plain: The function without hand-written rules.
        inputs: The arrays.
        domains: A domain, or None, for each input; or empty.
        ways: The sets of inputs in which it is differentiated where f is differentiated in one of its arguments; None
            where it may be any set.
        total: The subject in which inputs that are the same value in f are one input, and inputs that do not depend on
            the arguments of f are constant; None if that changes nothing.
        edges: Whether generated numbers are points of it.
        is_mixed: Whether a rule gets floating-point inputs, constants among them, of several types.
        tally: What was compared; it grows with the checks.
    """

    name: str
    kind: str
    where: str
    count: int
    hand: Callable[..., Any]
    plain: Callable[..., Any]
    inputs: tuple[Any, ...]
    domains: tuple[Any, ...] = ()
    ways: Callable[..., Any] | None = None
    total: Callable[..., Any] = lambda: None
    edges: bool = True
    is_mixed: bool = False
    tally: Tally = field(default_factory=Tally)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} at {self.where}>"

    @property
    def is_whole(self) -> bool:
        """Whether it is the user's function as a whole, not a rule in it."""
        return self.kind == WHOLE

    @functools.cached_property
    def smooth(self) -> tuple[int, ...]:
        """The positions of the inputs in which it is differentiated."""
        return tuple(i for i, x in enumerate(self.inputs) if jnp.issubdtype(x.dtype, jnp.inexact))

    @functools.cached_property
    def types(self) -> tuple[Any, ...]:
        """The types of the inputs."""
        return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=jx.is_weak(x)) for x in self.inputs)

    @functools.cached_property
    def outputs(self) -> tuple[Any, ...]:
        """The types of the outputs that can be differentiated."""
        found = user_code(jax.eval_shape)(lambda *x: list(self.plain(*x)), *self.types)
        return tuple(t for t in found if _is_inexact(t))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of outputs and cotangents, in the order of `step`."""
        return (*(f"output {k}" for k in range(len(self.outputs))), *self.cotangents)

    @functools.cached_property
    def cotangents(self) -> tuple[str, ...]:
        """The names of the cotangents."""
        return tuple(f"cotangent of input {i}" for i in self.smooth)

    @property
    def dtype(self) -> Any:
        """The least precise type among the differentiated inputs and outputs."""
        types = [self.inputs[i].dtype for i in self.smooth] + [t.dtype for t in self.outputs]
        return max(types, key=lambda t: float(jnp.finfo(t).eps))

    @functools.cached_property
    def roughest(self) -> Any:
        """The least precise type among all intermediate values, too."""
        held = [v.aval for eqn in jx.equations(self.steps[0]) for v in eqn.outvars]
        inside = [t.dtype for t in held if hasattr(t, "dtype") and jnp.issubdtype(t.dtype, jnp.inexact)]
        return max([self.dtype, *inside], key=lambda t: float(jnp.finfo(t).eps))

    @property
    def size(self) -> int:
        """The number of entries of differentiated inputs and outputs."""
        return sum(self.inputs[i].size for i in self.smooth) + sum(int(np.prod(t.shape)) for t in self.outputs)

    def of_smooth(self, f: Callable[..., Any], inputs: Sequence[Any]) -> Callable[..., Any]:
        """f as a function from its differentiated inputs to the outputs that can be differentiated."""
        return user_code(jx.in_some(f, inputs, self.smooth))

    def seeds(self) -> list[np.ndarray]:
        """Cotangents of the outputs: 1 for a single number, as in `jax.grad`, else random ones."""
        if [t.shape for t in self.outputs] == [()]:
            return [np.ones((), self.outputs[0].dtype)]
        return random_arrays(1, self.outputs)

    def pulled(self, f: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Any, Callable[..., list[Any]]]:
        """The outputs, and the pullback from cotangents of the outputs to those of the inputs."""
        y, pullback = vjp(self.of_smooth(f, inputs), *[inputs[i] for i in self.smooth])
        return y, lambda u: list(pullback(list(u)))

    def step(self, f: Callable[..., Any], inputs: Sequence[Any], u: Sequence[Any]) -> list[Any]:
        """The outputs, and the cotangents of the inputs for the cotangents u of the outputs."""
        y, pullback = self.pulled(f, inputs)
        return [*y, *pullback(u)]

    def pulled_back(self, u: Sequence[Any]) -> list[np.ndarray]:
        """The cotangents of the inputs by the rule, for the cotangents u of the outputs."""
        return evaluated(self.steps[0], *self.inputs, *u)[len(self.outputs) :]

    def reverse_twice(
        self, f: Callable[..., Any], inputs: Sequence[Any], u: Sequence[Any], v: Sequence[Any]
    ) -> list[Any]:
        """The pullback of `step`'s cotangents applied to v: the second derivative along v and u."""
        first = lambda *moved: self._cotangents(f, inputs, moved, u)
        return list(vjp(first, *[inputs[i] for i in self.smooth])[1](list(v)))

    def forward_over_reverse(
        self, f: Callable[..., Any], inputs: Sequence[Any], u: Sequence[Any], v: Sequence[Any]
    ) -> list[Any]:
        """The tangents of `step`'s cotangents along v: the same, as second derivatives are symmetric."""
        first = lambda *moved: self._cotangents(f, inputs, moved, u)
        return list(user_code(jax.jvp)(first, [inputs[i] for i in self.smooth], list(v))[1])

    def _cotangents(self, f, inputs, moved, u):
        return list(vjp(self.of_smooth(f, inputs), *moved)[1](list(u)))

    def traced(self, method: Callable[..., Any], *more: Any) -> Any:
        """The jaxpr of a method of the inputs and more arrays: `step` of u, `reverse_twice` of u and v."""
        flat, tree = jax.tree.flatten((self.types, *more))
        return jx.trace(lambda *leaves: method(*tree.unflatten(leaves)), *flat)[0]

    @property
    def has_rules(self) -> bool:
        """Whether hand-written rules are part of it; if not, hand and plain are the same function."""
        return self.hand is not self.plain

    @functools.cached_property
    def steps(self) -> tuple[Any, Any]:
        """The jaxprs of outputs and cotangents, by hand and plain; None for the latter where JAX cannot derive it."""
        return self.hand_step, self.plain_step(self.plain) if self.has_rules else self.hand_step

    @functools.cached_property
    def hand_step(self) -> Any:
        """The jaxpr of outputs and cotangents by hand. Raises UserCodeError where it cannot be traced."""
        return self._step(self.hand)

    def plain_step(self, plain: Callable[..., Any]) -> Any:
        """The jaxpr of outputs and cotangents of a function without rules; None where JAX cannot derive it."""
        return _or_none(self._step, plain)

    def _step(self, f):
        return user_code(self.traced)(functools.partial(self.step, f), self.outputs)

    @functools.cached_property
    def seconds(self) -> tuple[Any, Any]:
        """The jaxprs of the second derivative, by hand and plain; None for the latter where JAX cannot derive it.

        By reverse over reverse mode, or by forward over reverse mode where JAX refuses that for the rule. Raises
        UserCodeError where neither works.
        """
        try:
            hand = self._second(self.reverse_twice, self.hand)
            return hand, self.plain_second if self.has_rules else hand
        except UserCodeError as refused:
            try:
                hand = self._second(self.forward_over_reverse, self.hand)
            except UserCodeError:
                raise refused from None
            return hand, _or_none(functools.partial(self._second, self.forward_over_reverse), self.plain)

    @functools.cached_property
    def plain_second(self) -> Any:
        """The jaxpr of the plain second derivative; None where JAX cannot derive it."""
        return _or_none(functools.partial(self._second, self.reverse_twice), self.plain)

    def _second(self, method, f):
        v = [self.types[i] for i in self.smooth]
        return self.traced(functools.partial(method, f), self.outputs, v)

    @functools.cached_property
    def value(self) -> Any:
        """The jaxpr of the plain function's outputs that can be differentiated."""
        return self.traced(lambda inputs: [y for y in user_code(self.plain)(*inputs) if _is_inexact(y)])


def values_in_float64(subject: Subject, *inputs: Any) -> list[np.ndarray] | None:
    """The outputs in float64; of small subjects by the program of the derivative, which is compiled anyway."""
    if subject.size <= SMALL and subject.steps[1] is not None:
        found = in_float64(subject.steps[1], *inputs, *subject.seeds())
        if found is not None:
            return found[: len(subject.outputs)]
    return in_float64(subject.value, *inputs)


def works_on_bits(jaxpr: Any) -> bool:
    """Whether a jaxpr reads the bits of a floating-point number, so that it is not a smooth function of it.

    Reading the sign only, as `jnp.signbit` does, is like a comparison.
    """
    eqns = jx.opened(jaxpr).eqns
    return any(
        eqn.primitive.name == "nextafter"
        or (
            eqn.primitive.name == "bitcast_convert_type" and _is_inexact(eqn.invars[0].aval) and not _is_sign(eqn, eqns)
        )
        or any(map(works_on_bits, jx.inner_jaxprs(eqn)))
        for eqn in eqns
    )


def _is_sign(bits, eqns):
    """Whether every use of the bits shifts out all but the highest."""
    (y,) = bits.outvars
    users = [eqn for eqn in eqns if any(v is y for v in eqn.invars)]
    width = 8 * y.aval.dtype.itemsize
    shifts = [e for e in users if e.primitive.name.startswith("shift_right") and not jx.is_variable(e.invars[1])]
    return len(users) == len(shifts) > 0 and all(np.all(e.invars[1].val == width - 1) for e in shifts)


def _or_none(of, f):
    try:
        return of(f)
    except UserCodeError:  # JAX has no derivative: a loop of unknown length, a callback, a custom batching rule
        return None


def random_arrays(seed: int, types: Sequence[Any]) -> list[np.ndarray]:
    """Arrays of these types with normal numbers, the same in every run."""
    random = np.random.default_rng([*b"audit", seed])
    return [np.asarray(normal(random, t)) for t in types]


def magnitude(x: Any) -> float:
    """The size of the largest finite entry."""
    x = np.abs(np.asarray(as_double(np.asarray(x))))
    return float(x[np.isfinite(x)].max(initial=0))


def _is_inexact(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)  # also of a Python number
