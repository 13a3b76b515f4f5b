"""What is audited: a function of flat arrays with a derivative by hand, and the same function without it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double, double_struct, in_double_precision
from jaxdl.measure.differentiated import normal

WHOLE = "whole"
LARGE = 10**6  # numbers, above which running counts more than compiling


class Raised(Exception):
    """Raised by the audited function or its rule, or by JAX on them: `error`. Any other exception is the auditor's."""

    def __init__(self, error):
        super().__init__(str(error))
        self.error = error


def theirs(f):
    """f, which does nothing but run what is audited: all that it raises is Raised."""

    @functools.wraps(f)
    def run(*args, **kwargs):
        try:
            return f(*args, **kwargs)
        except Raised:
            raise
        except Exception as error:
            raise Raised(error) from error

    return run


def vjp(f, *x):
    """As `jax.vjp`, of what is theirs."""
    y, pullback = theirs(jax.vjp)(f, *x)
    return y, theirs(pullback)


@dataclass(frozen=True, eq=False)
class Subject:
    """hand and plain take the arrays `inputs` and give a list of arrays; plain has no hand-written rules in it.

    It is differentiated in the inputs at places `smooth`, and in those of its outputs that are inexact.

    domains: one for each input, or none. ways: the sets of inputs in which it is differentiated where f is in one of
    its arguments; None where any may be. total: the same where inputs that enter as one value are one, and those whose
    values stay where the arguments of f move are constant; None if there are none. edges: whether numbers that are made
    up are points of it.
    """

    name: str
    kind: str
    where: str
    count: int
    hand: Callable
    plain: Callable
    inputs: tuple
    domains: tuple = ()
    ways: Callable | None = None
    total: Callable = lambda: None
    edges: bool = True

    def __repr__(self):
        return f"<{self.kind} {self.name} at {self.where}>"

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the user's function, not one rule in it."""
        return self.kind == WHOLE

    @functools.cached_property
    def smooth(self) -> tuple[int, ...]:
        return tuple(i for i, x in enumerate(self.inputs) if jnp.issubdtype(x.dtype, jnp.inexact))

    @functools.cached_property
    def types(self) -> tuple:
        """Of the inputs."""
        return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in self.inputs)

    @functools.cached_property
    def outputs(self) -> tuple:
        """The types of the outputs that can be differentiated."""
        found = theirs(jax.eval_shape)(lambda *x: list(self.plain(*x)), *self.types)
        return tuple(t for t in found if _is_inexact(t))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of what `step` gives: the outputs, then the cotangents."""
        return (*(f"output {k}" for k in range(len(self.outputs))), *self.cotangents)

    @functools.cached_property
    def cotangents(self) -> tuple[str, ...]:
        return tuple(f"cotangent of input {i}" for i in self.smooth)

    @property
    def dtype(self):
        """The least precise type among the differentiated inputs and outputs."""
        types = [self.inputs[i].dtype for i in self.smooth] + [t.dtype for t in self.outputs]
        return max(types, key=lambda t: float(jnp.finfo(t).eps))

    @functools.cached_property
    def roughest(self):
        """The least precise type that a number goes through on the way to an output or a cotangent."""
        held = [v.aval for eqn in jx.equations(self.steps[0]) for v in eqn.outvars]
        inside = [t.dtype for t in held if jnp.issubdtype(getattr(t, "dtype", None), jnp.inexact)]
        return max([self.dtype, *inside], key=lambda t: float(jnp.finfo(t).eps))

    @property
    def size(self) -> int:
        """Numbers in and out."""
        return sum(self.inputs[i].size for i in self.smooth) + sum(int(np.prod(t.shape)) for t in self.outputs)

    def of_smooth(self, f, inputs):
        """f as a function of its differentiated inputs, that gives the outputs that can be differentiated."""
        return theirs(jx.in_some(f, inputs, self.smooth))

    def seeds(self) -> list[np.ndarray]:
        """Cotangents of the outputs: 1 where there is but a number, as `jax.grad` has it, else drawn ones."""
        if [t.shape for t in self.outputs] == [()]:
            return [np.ones((), self.outputs[0].dtype)]
        return drawn(1, self.outputs)

    def pulled(self, f, inputs):
        """Outputs, and the pullback, from cotangents of the outputs to those of the inputs."""
        y, pullback = vjp(self.of_smooth(f, inputs), *[inputs[i] for i in self.smooth])
        return y, lambda u: list(pullback(list(u)))

    def step(self, f, inputs, u):
        """Outputs, and the cotangents of the inputs for the cotangents u of the outputs."""
        y, pullback = self.pulled(f, inputs)
        return [*y, *pullback(u)]

    def reverse_twice(self, f, inputs, u, v):
        """Cotangents of the inputs for v, as one of `step`'s cotangents: the second derivative along v and u."""
        first = lambda *moved: self._cotangents(f, inputs, moved, u)
        return list(vjp(first, *[inputs[i] for i in self.smooth])[1](list(v)))

    def forward_over_reverse(self, f, inputs, u, v):
        """The same, as tangents of the cotangents: equal, as second derivatives are symmetric."""
        first = lambda *moved: self._cotangents(f, inputs, moved, u)
        return list(theirs(jax.jvp)(first, [inputs[i] for i in self.smooth], list(v))[1])

    def _cotangents(self, f, inputs, moved, u):
        return list(vjp(self.of_smooth(f, inputs), *moved)[1](list(u)))

    def traced(self, method, *more):
        """A method's jaxpr, from the inputs and more arrays: `step` from u, `reverse_twice` from u and v."""
        flat, tree = jax.tree.flatten((self.types, *more))
        return jx.trace(lambda *leaves: method(*tree.unflatten(leaves)), *flat)[0]

    @functools.cached_property
    def steps(self):
        """The jaxprs of outputs and cotangents, by hand and plain; None for the latter if JAX cannot derive it."""
        return self._step(self.hand), self.plain_step(self.plain)

    def plain_step(self, plain):
        """The jaxpr of outputs and cotangents of a function without rules; None if JAX cannot derive it."""
        return _or_none(self._step, plain)

    def _step(self, f):
        return self.traced(functools.partial(self.step, f), self.outputs)

    @functools.cached_property
    def seconds(self):
        """The jaxprs of the second derivative, by hand and plain; None for the latter if JAX cannot derive it.

        By reverse over reverse; where JAX refuses that of the rule, by forward over reverse. Raised where neither is.
        """
        try:
            return self._second(self.reverse_twice, self.hand), self.plain_second
        except Raised as refused:
            try:
                hand = self._second(self.forward_over_reverse, self.hand)
            except Raised:
                raise refused from None
            return hand, _or_none(functools.partial(self._second, self.forward_over_reverse), self.plain)

    @functools.cached_property
    def plain_second(self):
        return _or_none(functools.partial(self._second, self.reverse_twice), self.plain)

    def _second(self, method, f):
        v = [self.types[i] for i in self.smooth]
        return self.traced(functools.partial(method, f), self.outputs, v)

    @functools.cached_property
    def value(self):
        """The jaxpr of the plain outputs that can be differentiated."""
        return self.traced(lambda inputs: [y for y in theirs(self.plain)(*inputs) if _is_inexact(y)])


def works_on_bits(jaxpr) -> bool:
    """Whether a jaxpr takes the bits of a floating-point number: its values are then no smooth function of it.

    The sign alone, as in `jnp.signbit`, is as good as a comparison.
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
    """Whether all but the highest of the bits are shifted out wherever they are used."""
    (y,) = bits.outvars
    users = [eqn for eqn in eqns if any(v is y for v in eqn.invars)]
    width = 8 * y.aval.dtype.itemsize
    shifts = [e for e in users if e.primitive.name.startswith("shift_right") and not jx.is_variable(e.invars[1])]
    return len(users) == len(shifts) > 0 and all(np.all(e.invars[1].val == width - 1) for e in shifts)


def in_float64(jaxpr, *arrays):
    """The outputs of a jaxpr evaluated in float64; None where it cannot be, or there is none."""
    if jaxpr is None:
        return None
    try:
        with jax.enable_x64(True):
            arrays = [*map(as_double, arrays)]
            return [np.asarray(y) for y in theirs(_program(jaxpr, True))(*arrays)]
    except Raised:  # of what the function holds something does not work in float64
        return None


@theirs
def evaluated(jaxpr, *arrays):
    """The outputs of a jaxpr, as it is."""
    return [np.asarray(y) for y in _program(jaxpr, False)(*arrays)]


@functools.lru_cache(maxsize=64)
def _program(jaxpr, in_wide):
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in jx.opened(jaxpr).invars]
    if in_wide:
        return compiled(in_double_precision(jaxpr), *map(double_struct, types))
    return compiled(lambda *x: jx.evaluate(jaxpr, x, lambda eqn: None), *types)


def _or_none(of, f):
    try:
        return of(f)
    except Raised:  # no derivative by JAX: a loop of unknown length, a callback, batching rules of its own
        return None


def compiled(f, *arrays):
    """f for arrays like these, compiled when it is called; quickly where it is small, as it is run a few times only."""
    is_small = sum(np.prod(np.shape(x)) for x in jax.tree.leaves(arrays)) < LARGE
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0} if is_small else None)


def ready(f, *arrays):
    """f, of the auditor's own making, compiled for arrays like these: traced as it is, compiled and run as theirs."""
    traced = compiled(f, *arrays).trace(*arrays)
    return theirs(theirs(lambda: traced.lower().compile())())


def run(f, *args):
    """What f gives, once."""
    return jax.tree.map(np.asarray, ready(f, *args)(*args))


def drawn(seed, types) -> list[np.ndarray]:
    """Normal numbers of these types, the same in every run."""
    random = np.random.default_rng([*b"audit", seed])
    return [np.asarray(normal(random, t)) for t in types]


def top(x) -> float:
    """The size of the largest finite entry."""
    x = np.abs(np.asarray(as_double(np.asarray(x))))
    return float(x[np.isfinite(x)].max(initial=0))


def _is_inexact(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)  # of a Python number too
