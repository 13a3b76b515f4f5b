"""What a step of training takes before anything is allocated: memory, operations, what is sent, a bound on time."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh

from jaxdl.graph import trace
from jaxdl.nn import Layer, parameter_count
from jaxdl.report import Table, bytes_text, count_text, seconds_text
from jaxdl.train.chips import CHIPS, Chip
from jaxdl.train.devices import replicated
from jaxdl.train.steps import averaged, scaled, shape_of_example, stopping_step, training_step

MOST_RULES = 8  # in the table


@dataclass(frozen=True)
class MemoryPlan:
    """A step, for each of `devices`. Bytes: parameters, state (the optimiser's), batch, temporary (all that lives
    within the step, gathered parameters too), sent. residuals: bytes by operation, kept from forward to backward, a
    part of the temporary ones. flops: by format. accessed: bytes read and written.
    """

    title: str
    devices: int
    chip: Chip
    count: int
    parameters: int
    state: int
    batch: int
    temporary: int
    residuals: Mapping[str, int]
    forward: float
    backward: float
    flops: Mapping[str, float]
    accessed: float
    sent: float

    @property
    def memory(self) -> int:
        """Bytes on each device."""
        return self.parameters + self.state + self.batch + self.temporary

    @property
    def fits(self) -> bool:
        return self.memory <= self.chip.memory

    @property
    def seconds(self) -> dict[str, float]:
        """The least that each part takes on this chip: a step takes at least the longest, at most all one by one."""
        rate = {"bfloat16": self.chip.bfloat16, "float32": self.chip.float32}
        return {
            "operations": sum(count / rate[dtype] for dtype, count in self.flops.items()),
            "memory": self.accessed / self.chip.bandwidth,
            "sending": self.sent / self.chip.link,
        }

    def tables(self) -> list[Table]:
        """Memory, residuals by rule, and time."""
        verdict = "fits" if self.fits else "DOES NOT FIT"
        note = f"{bytes_text(self.memory)} {verdict} in the {bytes_text(self.chip.memory)} of {self.chip.name}"
        parts = ("parameters", "state", "batch", "temporary")
        names = (
            "parameters",
            "optimiser's state",
            "its part of the batch",
            "within the step",
        )
        memory = [(name, bytes_text(getattr(self, part))) for name, part in zip(names, parts, strict=True)]
        kept = sorted(self.residuals.items(), key=lambda item: -item[1])
        shown = [(name, bytes_text(size)) for name, size in kept[:MOST_RULES]]
        rest = sum(size for _, size in kept[MOST_RULES:])
        shown += [("others", bytes_text(rest))] if rest else []
        seconds = self.seconds
        taken = f"{count_text(self.forward)} forward, {count_text(self.backward)} backward"
        time = [
            ("operations", taken, seconds_text(seconds["operations"])),
            ("memory", f"{bytes_text(self.accessed)} read and written", seconds_text(seconds["memory"])),
            ("sending", bytes_text(self.sent), seconds_text(seconds["sending"])),
        ]
        least, most = max(seconds.values()), sum(seconds.values())
        bound = f"a step takes {seconds_text(least)} or more ({seconds_text(most)} where nothing overlaps)"
        return [
            Table(f"{self.title}: memory of each of {self.devices}", ("what", "bytes"), memory, note),
            Table("kept from forward to backward, a part of what is within the step", ("operation", "bytes"), shown,
                  f"{bytes_text(sum(self.residuals.values()))} in all"),
            Table("time of a step, on each device", ("what", "how much", "at least"), time, bound, words=2),
        ]  # fmt: skip


def plan(
    model: Layer,
    loss: Callable,
    optimizer: optax.GradientTransformation,
    x: Any,
    y: Any,
    *,
    devices: int = 1,
    shard: Callable = replicated,
    accumulate: int = 1,
    chip: Chip = CHIPS["h100"],
    title: str = "model",
) -> MemoryPlan:
    """What a step of `fit` takes on each of so many devices. x, y: a whole batch, abstract (`jax.ShapeDtypeStruct`).

    Nothing is allocated or run: types give parameters, state and residuals, a program compiled for one device's part of
    the batch gives what lives within the step. That is of the compiler of the default backend; another one places
    buffers otherwise. What is sent is counted for rings: an all-reduce of the gradients, or where parameters are shared
    out an all-gather of these and a reduce-scatter of their gradients, which is as much. Memory is within 10% of that
    of the program that runs.

    Raises ValueError for a batch that cannot be shared out.
    """
    count = jax.tree.leaves(x)[0].shape[0]
    if count % (devices * accumulate):
        raise ValueError(f"a batch of {count} cannot be cut for {devices} devices and {accumulate} parts")
    part = lambda tree, n: jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0] // n, *a.shape[1:]), a.dtype), tree)
    x, y = part((x, y), devices)
    mesh = AbstractMesh((devices,), ("devices",))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jax.tree.map(shape_of_example, x)))
    state = jax.eval_shape(optimizer.init, params)
    own = _shares((params, state), shard(mesh, (params, state)))
    step = training_step(model, loss, optimizer, accumulate=accumulate, over_devices=_as_one_of_many(params))
    key = jax.eval_shape(lambda: jax.random.key(0))
    step = jax.jit(stopping_step(step, with_state=False), donate_argnums=(0, 1))
    compiled = step.lower(*own, True, x, y, key, False).compile()
    x_part, y_part = part((x, y), accumulate)
    as_bytes = jax.tree.map(_as_bytes, x_part)  # nothing goes back to the data
    of_batch = lambda params, x, y: averaged(loss)(model.apply(params, scaled(x)), y)
    costs = trace(of_batch)(params, as_bytes, y_part).costs()
    summed = [a for a, share in zip(*map(jax.tree.leaves, (params, own[0])), strict=True) if a.shape == share.shape]
    return MemoryPlan(
        title, devices, chip, parameter_count(params),
        parameters=_bytes(own[0]), state=_bytes(own[1]), batch=_bytes((x, y)),
        # An all-reduce writes into new arrays, which one device's program has not.
        temporary=max(compiled.memory_analysis().temp_size_in_bytes, 2 * _bytes(summed) * (devices > 1)),
        residuals=_residuals(costs),
        forward=accumulate * costs.forward, backward=accumulate * costs.backward,
        flops={dtype: accumulate * n for dtype, n in _flops(costs).items()},
        accessed=(compiled.cost_analysis() or {}).get("bytes accessed", math.nan),
        sent=(devices - 1) / devices * 2 * _bytes(params),
    )  # fmt: skip


def _as_bytes(x):
    return jax.ShapeDtypeStruct(x.shape, jnp.uint8) if x.dtype == jnp.float32 else x


def _as_one_of_many(whole):
    """For `training_step`: one device's program with other means. Parameters of which it has a share are made whole by
    repeating that, and of the gradients it takes its share, so that buffers are as they are among many.
    """

    def over_devices(value_and_grad):
        def each(params, x, y, key):
            repeated = lambda own, like: jnp.tile(own, [n // m for n, m in zip(like.shape, own.shape, strict=True)])
            made = lambda f: lambda *xs: jax.lax.optimization_barrier(f(*xs))  # an array of its own
            value, gradients = value_and_grad(jax.tree.map(made(repeated), params, whole), x, y, key)
            own_part = made(lambda g, own: jax.lax.optimization_barrier(g)[tuple(map(slice, own.shape))])
            return value, jax.tree.map(own_part, gradients, params)

        return each

    return over_devices


def _shares(tree, shardings):
    """The types of what one device has."""
    share = lambda a, sharding: jax.ShapeDtypeStruct(sharding.shard_shape(a.shape), a.dtype)
    return jax.tree.map(share, tree, shardings)


def _bytes(tree) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))


def _residuals(costs) -> dict[str, int]:
    """Bytes kept, by the name of the operation that keeps them; an array kept by two counts with the first."""
    kept, seen = Counter(), set()
    for node, cost in costs.nodes.items():
        kept[node.name] += cost.own
        arrays = [(e.source, n) for e, n in zip(node.edges, cost.kept, strict=True)]
        for source, size in [*arrays, *((node[k], n) for k, n in enumerate(cost.results))]:
            if size and source.node.equation is not None and source not in seen:
                seen.add(source)
                kept[node.name] += size
    return {name: size for name, size in kept.items() if size}


def _flops(costs) -> dict[str, float]:
    """By the format of what comes out."""
    found = Counter()
    for node, cost in costs.nodes.items():
        low = any(t.dtype in (jnp.bfloat16, jnp.float16) for t in node.types)
        found["bfloat16" if low else "float32"] += cost.forward + (cost.backward or 0)
    return dict(found)
