"""What a training step needs, before anything is allocated: memory, operations, communication, a bound on time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from jaxdl.graph import trace
from jaxdl.nn import Layer, parameter_count
from jaxdl.report import Report, Table, bytes_text, count_text, figure, seconds_text
from jaxdl.train.chips import CHIPS, Chip
from jaxdl.train.compiled_loops import default_platform, fast_in_loops
from jaxdl.train.devices import replicated
from jaxdl.train.steps import averaged, scaled, shape_of_example, stopping_step, training_step

if TYPE_CHECKING:
    import optax
    from matplotlib.figure import Figure

MOST_OPERATIONS = 8  # in the table of residuals
PARTS = {
    "parameters": "parameters",
    "state": "optimiser's state",
    "batch": "its part of the batch",
    "temporary": "temporary, within the step",
}


@dataclass(frozen=True)
class MemoryPlan(Report):
    """What a training step needs on each device.

    Attributes:
        title: The model's name in the tables.
        devices: How many devices share the batch.
        chip: What each device is.
        count: How many parameters the model has.
        parameters: Bytes of the parameters.
        state: Bytes of the optimiser's state.
        batch: Bytes of the device's part of the batch.
        temporary: Bytes of all arrays that live within the step, gathered parameters included.
        residuals: Bytes stored from the forward to the backward pass, by operation; a part of `temporary`.
        forward: Floating-point operations of the forward pass.
        backward: Floating-point operations of the backward pass.
        flops: Floating-point operations by format, "bfloat16" or "float32".
        accessed: Bytes read and written; NaN if the compiler does not report them.
        sent: Bytes sent to other devices.
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
        """Bytes on each device in all."""
        return self.parameters + self.state + self.batch + self.temporary

    @property
    def fits(self) -> bool:
        """Whether the chip has that much memory."""
        return self.memory <= self.chip.memory

    @property
    def seconds(self) -> dict[str, float]:
        """The least time of "operations", "memory" and "sending" on this chip.

        A step takes at least the longest of them, and about their sum if none overlap.
        """
        rate = {"bfloat16": self.chip.bfloat16, "float32": self.chip.float32}
        return {
            "operations": sum(count / rate[dtype] for dtype, count in self.flops.items()),
            "memory": self.accessed / self.chip.bandwidth,
            "sending": self.sent / self.chip.link,
        }

    def table(self) -> Table:
        """The memory of each device, by what it is for."""
        rows = [(name, bytes_text(getattr(self, part))) for part, name in PARTS.items()]
        where = "memory on one device" if self.devices == 1 else f"memory on each of {self.devices} devices"
        return Table(f"{self.title}: {where}", ("what", "bytes"), rows, self._verdict())

    def tables(self) -> tuple[Table, ...]:
        """Memory, residuals by operation, and time."""
        return self.table(), self._residuals_table(), self._time_table()

    def to_json(self) -> dict[str, Any]:
        """All attributes, with the total memory, whether it fits, and the seconds."""
        found = asdict(self) | {"chip": self.chip._asdict()}
        return found | {"memory": self.memory, "fits": self.fits, "seconds": self.seconds}

    def _figure(self) -> Figure:
        """A bar for each part of the memory."""
        with figure(height=2.2) as (drawn, ax):
            ax.barh([*PARTS.values()], [getattr(self, part) for part in PARTS])
            ax.invert_yaxis()
            ax.xaxis.set_major_formatter(lambda size, _: bytes_text(size))
            ax.set_xlabel("on each device")
            ax.set_title(f"{self.title}: {self._verdict()}")
        return drawn

    def _verdict(self) -> str:
        verdict = "fits" if self.fits else "DOES NOT FIT"
        return f"{bytes_text(self.memory)} {verdict} in the {bytes_text(self.chip.memory)} of {self.chip.name}"

    def _residuals_table(self) -> Table:
        largest = sorted(self.residuals.items(), key=lambda item: -item[1])
        rows = [(name, bytes_text(size)) for name, size in largest[:MOST_OPERATIONS]]
        rest = sum(size for _, size in largest[MOST_OPERATIONS:])
        rows += [("others", bytes_text(rest))] if rest else []
        note = f"{bytes_text(sum(self.residuals.values()))} in all"
        return Table("residuals: stored from forward to backward, a part of the temporary memory",
                     ("operation", "bytes"), rows, note)  # fmt: skip

    def _time_table(self) -> Table:
        seconds = self.seconds
        amounts = {
            "operations": f"{count_text(self.forward)} forward, {count_text(self.backward)} backward",
            "memory": f"{bytes_text(self.accessed)} read and written",
            "sending": bytes_text(self.sent),
        }
        rows = [(name, amount, seconds_text(seconds[name])) for name, amount in amounts.items()]
        least, most = max(seconds.values()), sum(seconds.values())
        bound = f"a step takes {seconds_text(least)} or more ({seconds_text(most)} if nothing overlaps)"
        return Table("time of a step, on each device", ("what", "how much", "at least"), rows, bound, words=2)


def plan(
    model: Layer,
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    x: Any,
    y: Any,
    *,
    devices: int = 1,
    shard: Callable[..., Any] = replicated,
    accumulate: int = 1,
    chip: Chip = CHIPS["h100"],
    title: str = "model",
) -> MemoryPlan:
    """Computes what a step of `fit` needs on each device, without allocating or running anything.

    Parameters, state and residuals follow from types. The temporary memory is that of a program compiled for one
    device's part of the batch by the default backend; other backends allocate differently. Memory is within 10% of that
    of the program that runs. The bytes sent are counted for rings: an all-reduce of the gradients or, with sharded
    parameters, an all-gather of the parameters and a reduce-scatter of their gradients, which is as much.

    Args:
        model: The model.
        loss: The loss, as for `fit`.
        optimizer: An optimiser of optax.
        x: The inputs of a whole batch; abstract arrays (`jax.ShapeDtypeStruct`) suffice.
        y: The targets of a whole batch.
        devices: How many devices share the batch.
        shard: `replicated` or `fully_sharded`, as for `fit`.
        accumulate: In how many parts the batch is computed.
        chip: What each device is; see `CHIPS`.
        title: The model's name in the tables.

    Returns:
        The plan, a report: `print()` shows it.

    Raises:
        ValueError: If the batch cannot be split over the devices and parts.

    Examples:
        >>> import optax
        >>> from jaxdl import nn, ops
        >>> x, y = jax.ShapeDtypeStruct((256, 28, 28, 1), jnp.float32), jax.ShapeDtypeStruct((256,), jnp.int32)
        >>> loss = ops.softmax_cross_entropy_with_integer_labels
        >>> plan(nn.lenet5(10), loss, optax.sgd(0.1), x, y, devices=8).fits
        True
    """
    count = jax.tree.leaves(x)[0].shape[0]
    if count % (devices * accumulate):
        raise ValueError(f"a batch of {count} cannot be cut for {devices} devices and {accumulate} parts")
    part = lambda tree, n: jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0] // n, *a.shape[1:]), a.dtype), tree)
    x, y = part((x, y), devices)
    mesh = AbstractMesh((devices,), ("devices",))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jax.tree.map(shape_of_example, x)))
    state = jax.eval_shape(optimizer.init, params)
    own_params, own_state = _shares((params, state), shard(mesh, (params, state)))
    step = training_step(model, loss, optimizer, accumulate=accumulate, over_devices=_as_one_of_many(params))
    compiled = _compiled(step, own_params, own_state, x, y)
    memory = compiled.memory_analysis()
    costs = _costs(model, loss, params, part(x, accumulate), part(y, accumulate))
    summed = [a for a, share in zip(*map(jax.tree.leaves, (params, own_params)), strict=True) if a.shape == share.shape]
    return MemoryPlan(
        title, devices, chip, parameter_count(params),
        parameters=_bytes(own_params), state=_bytes(own_state), batch=_bytes((x, y)),
        # An all-reduce writes to new arrays, which the program of one device does not have.
        temporary=max(memory.temp_size_in_bytes if memory else 0, 2 * _bytes(summed) * (devices > 1)),
        residuals=_residuals(costs),
        forward=accumulate * costs.forward, backward=accumulate * costs.backward,
        flops={dtype: accumulate * n for dtype, n in _flops(costs).items()},
        accessed=(compiled.cost_analysis() or {}).get("bytes accessed", math.nan),
        sent=(devices - 1) / devices * 2 * _bytes(params),
    )  # fmt: skip


def _compiled(step, params, state, x, y):
    """The program of a training step in a run."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    in_run = jax.jit(fast_in_loops(stopping_step(step, with_state=False), default_platform()), donate_argnums=(0, 1))
    return in_run.lower(params, state, True, x, y, key, False).compile()


def _costs(model, loss, params, x, y):
    """The operations and residuals of the loss and its gradient on one part of a batch."""
    of_batch = lambda params, x, y: averaged(loss)(model.apply(params, scaled(x)), y)
    return trace(of_batch)(params, jax.tree.map(_as_bytes, x), y).costs()


def _as_bytes(x):
    """The type of images as integers, of which no gradient is computed."""
    return jax.ShapeDtypeStruct(x.shape, jnp.uint8) if x.dtype == jnp.float32 else x


def _as_one_of_many(whole):
    """For `training_step`: a program of one device that allocates what one of many devices does.

    Sharded parameters are repeated instead of gathered, and gradients sliced instead of scattered.
    """

    def over_devices(value_and_grad):
        def each(params, x, y, key):
            repeated = lambda own, like: jnp.tile(own, [n // m for n, m in zip(like.shape, own.shape, strict=True)])
            made = lambda f: lambda *xs: jax.lax.optimization_barrier(f(*xs))  # not fused: an array in memory
            value, gradients = value_and_grad(jax.tree.map(made(repeated), params, whole), x, y, key)
            own_part = made(lambda g, own: jax.lax.optimization_barrier(g)[tuple(map(slice, own.shape))])
            return value, jax.tree.map(own_part, gradients, params)

        return each

    return over_devices


def _shares(tree, shardings):
    """The types of one device's shards."""
    share = lambda a, sharding: jax.ShapeDtypeStruct(sharding.shard_shape(a.shape), a.dtype)
    return jax.tree.map(share, tree, shardings)


def _bytes(tree) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))


def _residuals(costs) -> dict[str, int]:
    """Bytes stored, by operation; an array that two operations store counts with the first."""
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
    """Operations by the format of their result."""
    found = Counter()
    for node, cost in costs.nodes.items():
        low = any(t.dtype in (jnp.bfloat16, jnp.float16) for t in node.types)
        found["bfloat16" if low else "float32"] += cost.forward + (cost.backward or 0)
    return dict(found)
