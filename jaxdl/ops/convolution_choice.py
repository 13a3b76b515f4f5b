"""Which form of a convolution runs on a CPU: the one that was best for the nearest sizes that were measured.

`convolution_table.json` has the measured convolutions of each minor version of JAX, with the best form of each face.
`python -m benchmarks.convolution --tune` writes it. Sizes far from all of them get the compiler's form, which is as
fast as the automatic derivative. A version that is not in the table gets a form only where all versions that are in it
have the same.
"""

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops import depthwise_forms
from jaxdl.ops.convolution_forms import FACES, Sizes
from jaxdl.ops.precision import like, upcast
from jaxdl.ops.windows import Pads

TABLE = Path(__file__).with_name("convolution_table.json")
NEAR = 2.0  # doublings of the number of inputs, of outputs or of the kernel's pixels, up to which sizes are near
MOST_GROUPS = 8  # more are left to the compiler, except groups of one channel
COMPILER = "compiler"

Forms = Mapping[str, str]  # from a face to the name of its form


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The positions of windows. Stride, padding and dilation are pairs (down, across)."""

    stride: tuple[int, int]
    padding: Pads
    dilation: tuple[int, int]
    groups: int

    @property
    def settings(self) -> dict[str, Any]:
        return vars(self)

    def size(self, size: tuple[int, ...], window: tuple[int, ...]) -> tuple[int, ...]:
        """The size of the output for the sizes of an image and a window."""
        return tuple(
            (n + low + high - (d * (k - 1) + 1)) // s + 1
            for n, (low, high), d, k, s in zip(size, self.padding, self.dilation, window, self.stride, strict=True)
        )

    def transposed_size(self, size: tuple[int, ...], window: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            (a - 1) * s + d * (k - 1) + 1 - low - high
            for a, (low, high), d, k, s in zip(size, self.padding, self.dilation, window, self.stride, strict=True)
        )

    def to_size(self, out: tuple[int, ...], window: tuple[int, ...], size: tuple[int, ...]) -> "Geometry":
        """The same with that padding at the bottom and right for which `out` is transposed to exactly `size`."""
        excess = [n - m for n, m in zip(self.transposed_size(out, window), size, strict=True)]
        ((top, bottom), (left, right)), (rows, columns) = self.padding, excess
        padding = ((top, bottom + rows), (left, right + columns))
        return Geometry(self.stride, padding, self.dilation, self.groups)


class Entry(NamedTuple):
    """A convolution that was measured, and the best form of each face."""

    sizes: Sizes
    forms: Forms


def correlate(x: Array, w: Array, g: Geometry, form: str | None = None) -> Array:
    """Σ x[s p + d i, s q + d j] w[i, j], in the chosen form or in a given one."""
    return _in_a_form("correlate", x, w, (g,), form)


def spread(z: Array, w: Array, g: Geometry, form: str | None = None) -> Array:
    """x[s p + d i, s q + d j] += z[p, q] w[i, j]ᵀ, likewise."""
    return _in_a_form("spread", z, w, (g,), form)


def kernel_gradient(x: Array, z: Array, g: Geometry, window: tuple[int, ...], form: str | None = None) -> Array:
    """w[i, j] = Σ x[s p + d i, s q + d j]ᵀ z[p, q], likewise."""
    return _in_a_form("kernel gradient", x, z, (g, window), form)


def sizes_of(face: str, x: Any, y: Any, g: Geometry, window: tuple[int, ...] = ()) -> Sizes:
    """The sizes of a convolution from the arguments of one of its faces."""
    n, size = x.shape[0], x.shape[1:3]
    if face == "kernel gradient":
        return Sizes(n, size, y.shape[1:3], window, x.shape[3] // g.groups, y.shape[3], g)
    kh, kw, inputs, outputs = y.shape
    if face == "spread":
        return Sizes(n, g.transposed_size(size, (kh, kw)), size, (kh, kw), inputs, outputs, g)
    return Sizes(n, size, g.size(size, (kh, kw)), (kh, kw), inputs, outputs, g)


def names(face: str, sizes: Sizes) -> tuple[str, ...]:
    """The forms of a face that fit."""
    return tuple(name for name, form in FACES[face].items() if form.fits(sizes))


def chosen(face: str, sizes: Sizes) -> str:
    """The name of the form of a face that runs for these sizes in single precision."""
    found = _chosen_by(face, sizes) if _chosen_by else None
    return found or _near(face, sizes)


@contextlib.contextmanager
def choosing(by: Callable[[str, Sizes], str | None]) -> Iterator[None]:
    """Chooses forms by a function of face and sizes, where it does not return None, in programs traced meanwhile."""
    global _chosen_by
    _chosen_by = by
    try:
        yield
    finally:
        _chosen_by = None


_chosen_by: Callable[[str, Sizes], str | None] | None = None


@functools.cache
def _near(face, sizes):
    fitting = names(face, sizes)
    found = {_nearest(face, sizes, fitting, entries) for entries in measured()} if len(fitting) > 1 else {COMPILER}
    return found.pop() if len(found) == 1 else COMPILER


def _nearest(face, sizes, fitting, entries):
    """The form of the nearest entry among those for which the same forms fit."""
    alike = [
        e
        for e in entries
        if face in e.forms and _is_padded(e.sizes) == _is_padded(sizes) and names(face, e.sizes) == fitting
    ]
    distance = lambda e: max(abs(a - b) for a, b in zip(_place(e.sizes), _place(sizes), strict=True))
    nearest = min(alike, key=distance, default=None)
    return nearest.forms[face] if nearest and distance(nearest) <= NEAR else COMPILER


def _place(sizes):
    """Coordinates in which a distance of 1 matters little; the number of pixels matters the least."""
    pixels = sizes.images * math.prod(sizes.out)
    return (
        math.log2(sizes.inputs), math.log2(sizes.outputs), math.log2(math.prod(sizes.window)),
        0.5 * math.log2(sizes.images), 0.5 * math.log2(pixels),
    )  # fmt: skip


def _is_padded(sizes):
    return any(low > 0 or high > 0 for low, high in sizes.g.padding)


def measured(version: str = jax.__version__) -> list[list[Entry]]:
    """The entries of a version of JAX; of each measured version, if it is not one of them."""
    table = _table()
    own = ".".join(version.split(".")[:2])
    return [table[own]] if own in table else list(table.values())


@functools.cache
def _table():
    read = json.loads(TABLE.read_text())
    return {version: [_entry(**row) for row in rows] for version, rows in read.items()}


def _entry(images, image, window, channels, stride, padding, forms, **_):
    (top, bottom), (left, right) = padding
    g = Geometry(tuple(stride), ((top, bottom), (left, right)), (1, 1), 1)
    (inputs, outputs), image, window = channels, tuple(image), tuple(window)
    return Entry(Sizes(images, image, g.size(image, window), window, inputs, outputs, g), forms)


def _in_a_form(face: str, x: Array, y: Array, settings: tuple[Any, ...], form: str | None) -> Array:
    """Extends the forms for real numbers and one group to all dtypes and groups."""
    if jnp.iscomplexobj(x):
        of = lambda a, b: _in_a_form(face, a, b, settings, form)
        return lax.complex(of(x.real, y.real) - of(x.imag, y.imag), of(x.real, y.imag) + of(x.imag, y.real))
    g, *window = settings
    if not (x.size and y.size):
        return like(x, FACES[face][COMPILER].run(upcast(x), upcast(y), *settings))
    sizes, to_compiler = sizes_of(face, x, y, *settings), form == COMPILER
    if sizes.is_depthwise and not to_compiler:
        return like(x, depthwise_forms.FACES[face](upcast(x), upcast(y), *settings))
    if g.groups == 1 or g.groups > MOST_GROUPS or to_compiler:
        return like(x, _alone(face, upcast(x), upcast(y), settings, form))
    alone = dataclasses.replace(g, groups=1), *window
    groups = zip(*(jnp.split(upcast(a), g.groups, 3) for a in (x, y)), strict=True)
    return like(x, jnp.concatenate([_alone(face, a, b, alone, form) for a, b in groups], 3))


def _alone(face: str, x: Array, y: Array, settings: tuple[Any, ...], form: str | None) -> Array:
    form = _form(face, sizes_of(face, x, y, *settings), x.dtype, form)
    run = lambda name: lambda x, y: FACES[face][name].run(x, y, *settings)
    if face == "kernel gradient" and settings[0].groups == 1 and form != "products":
        return _unless_mapped(run(form), run("products"))(x, y)
    return run(form)(x, y)


def _unless_mapped(f, mapped):
    """f, but `mapped` under vmap, and for tangents of both arguments, in each of which they are linear.

    A vmapped gradient of a kernel is a convolution in groups, for which XLA gives wrong numbers where the mapped axis
    is sharded over devices.
    """
    either = jax.custom_batching.custom_vmap(f)

    @either.def_vmap
    def _(size, are_mapped, *args):
        return jax.vmap(mapped, [0 if is_mapped else None for is_mapped in are_mapped])(*args), True

    differentiable = jax.custom_jvp(either)

    @differentiable.defjvp
    def _(primals, tangents):
        (x, y), (x_dot, y_dot) = primals, tangents
        return differentiable(x, y), mapped(x_dot, y) + mapped(x, y_dot)

    return differentiable


def _form(face, sizes, dtype, form):
    fitting = names(face, sizes)
    if sizes.g.groups > 1:
        return COMPILER
    if dtype.itemsize > 4:  # Eigen's convolutions do not have double precision
        slow = sizes.is_pointwise or "eigen" not in fitting
        return "products" if "products" in fitting and slow else COMPILER
    name = form or chosen(face, sizes)
    return name if name in fitting else COMPILER
