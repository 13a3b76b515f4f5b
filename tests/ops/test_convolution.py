"""Convolutions: the lectures' numbers, the forms against plain ones, one trilinear form."""

import functools
import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import automatic, nn, ops
from jaxdl.ops import convolution_choice as choice
from jaxdl.ops import convolution_forms as forms
from jaxdl.ops.convolution_choice import Geometry
from tests.draws import draw
from tests.tolerance import assert_close

IMAGE = jnp.array([[12.0, 3, 19], [25, 10, 1], [9, 7, 17]])[None, :, :, None]
KERNEL = jnp.array([[1.0, 2], [3, 4]])[:, :, None, None]


def test_the_lectures_example_is_a_correlation():
    assert ops.conv2d(IMAGE, KERNEL)[0, :, :, 0].tolist() == [[133, 75], [100, 101]]
    assert ops.conv2d_by_loops(IMAGE, KERNEL)[0, :, :, 0].tolist() == [[133, 75], [100, 101]]


def test_convolve_flips_the_kernel():
    expected = np.array(
        [[np.sum(np.array(IMAGE[0, i : i + 2, j : j + 2, 0]) * [[4, 3], [2, 1]]) for j in (0, 1)] for i in (0, 1)]
    )
    assert_close(ops.convolve(IMAGE, KERNEL)[0, :, :, 0], expected, "float32")
    full = ops.convolve(IMAGE, KERNEL, padding=((1, 1), (1, 1)))[0, :, :, 0]
    by_numpy = np.zeros((4, 4))
    for i, j in itertools.product(range(2), range(2)):
        by_numpy[i : i + 3, j : j + 3] += np.array(KERNEL[i, j, 0, 0]) * np.array(IMAGE[0, :, :, 0])
    assert_close(full, by_numpy, "float32")


def test_many_filters():
    x, w = draw(0, 2, 28, 28, 3), draw(1, 15, 15, 3, 4)
    assert ops.conv2d(x, w).shape == (2, 14, 14, 4)
    assert_close(ops.conv2d(x, w), ops.conv2d_by_loops(x, w), "float32")


def test_the_backward_loops_are_the_convolutions_gradient():
    x, w, b = draw(0, 2, 6, 5, 3), draw(1, 3, 2, 3, 4), draw(2, 4)
    y, pullback = jax.vjp(ops.conv2d_by_loops, x, w, b)
    expected, by_hand = jax.vjp(lambda x, w, b: ops.conv2d(x, w) + b[None, None, None], x, w, b)
    dy = draw(3, *y.shape)
    for got, want in zip((y, *pullback(dy)), (expected, *by_hand(dy)), strict=True):
        assert_close(got, want, "float32")
    by_one = jnp.array([[1.0, 10], [100, 1000]])[None, :, :, None]  # the lecture's image: d += dout[i, j] · patch
    assert jax.vjp(ops.conv2d_by_loops, IMAGE, KERNEL)[1](by_one)[1][:, :, 0, 0].tolist() == [
        [12542, 2193], [8025, 17720]
    ]  # fmt: skip


def test_the_edge_filter_finds_horizontal_edges():
    edge = jnp.array([[0, -0.5, 0], [0, 0, 0], [0, 0.5, 0]])[:, :, None, None]
    image = jnp.zeros((1, 6, 5, 1)).at[:, 3:].set(1)
    rows = ops.conv2d(image, edge)[0, :, :, 0]
    assert (rows == jnp.array([0, 0.5, 0.5, 0])[:, None]).all()


# Images, kernel, stride, padding, dilation, groups: each takes another of the forms.
SETTINGS = {
    "few channels": ((3, 7, 8, 2), (3, 3, 2, 5), 1, 0, 1, 1),
    "one channel, few outputs": ((3, 7, 8, 1), (3, 3, 1, 5), 1, 1, 1, 1),
    "taller, no padding": ((3, 20, 18, 3), (3, 4, 3, 17), 1, 0, 1, 1),
    "taller, padding": ((2, 16, 9, 17), (3, 4, 17, 9), 1, 1, 1, 1),
    "taller, dilation": ((1, 18, 8, 3), (3, 2, 3, 17), 1, 1, 2, 1),
    "more padding than kernel": ((2, 8, 8, 17), (2, 3, 17, 9), 1, 3, 1, 1),
    "pointwise": ((3, 8, 8, 17), (1, 1, 17, 9), 1, 0, 1, 1),
    "pointwise, stride": ((3, 8, 9, 17), (1, 1, 17, 9), 3, 0, 1, 1),
    "pointwise, padding": ((3, 8, 9, 4), (1, 1, 4, 9), 1, 2, 1, 1),
    "cells": ((3, 21, 20, 17), (4, 5, 17, 9), 2, 0, 1, 1),
    "cells, padding": ((3, 21, 20, 9), (5, 3, 9, 18), 2, 3, 1, 1),
    "cells, window smaller than stride": ((3, 21, 20, 9), (2, 2, 9, 9), 3, 1, 1, 1),
    "stride and dilation": ((3, 21, 20, 9), (3, 2, 9, 9), 2, 1, 2, 1),
    "few groups": ((3, 9, 8, 6), (3, 3, 3, 8), 1, 1, 1, 2),
    "many groups": ((3, 9, 8, 18), (3, 3, 2, 9), 1, 1, 1, 9),
    "depthwise": ((3, 9, 8, 12), (3, 3, 1, 12), 1, 1, 1, 12),
    "depthwise, two outputs a channel": ((3, 9, 10, 5), (3, 2, 1, 10), 2, 2, 1, 5),
    "depthwise, stride and dilation": ((3, 12, 14, 5), (2, 3, 1, 5), 3, 1, 2, 5),
}


def faces(name):
    """The arguments of each face of a convolution, and its geometry."""
    images, kernel, stride, padding, dilation, groups = SETTINGS[name]
    g = Geometry((stride, stride), ((padding, padding),) * 2, (dilation, dilation), groups)
    x, w = draw(0, *images), draw(1, *kernel)
    z = draw(2, *jax.eval_shape(lambda x, w: forms.plain_correlate(x, w, g), x, w).shape)
    back = g.to_size(z.shape[1:3], kernel[:2], images[1:3])
    assert back.transposed_size(z.shape[1:3], kernel[:2]) == images[1:3]
    return {"correlate": (x, w, g), "spread": (z, w, back), "kernel gradient": (x, z, g, kernel[:2])}


@pytest.mark.parametrize("name", SETTINGS)
def test_all_forms_have_one_value(name, monkeypatch):
    monkeypatch.setattr(forms, "CACHE", 1)  # blocks of one image
    for face, (x, y, *settings) in faces(name).items():
        sizes = choice.sizes_of(face, x, y, *settings)
        fitting = ["products"] if sizes.g.groups > 1 else choice.names(face, sizes)
        plain, *others = (in_form(face, form, x, y, settings) for form in ("compiler", *fitting))
        for form, other in zip(fitting, others, strict=True):
            assert_close(other, plain, "float32", f"{face}, {form}")


def in_form(face, form, x, y, settings):
    f = getattr(choice, face.replace(" ", "_"))
    quickly = {"xla_backend_optimization_level": 0}  # compiling takes the time here
    return jax.jit(lambda x, y: f(x, y, *settings, form=form), compiler_options=quickly)(x, y)


@pytest.mark.parametrize("name", SETTINGS)
def test_all_forms_have_the_order_of_axes_that_is_fast_in_loops(name):
    """XLA for CPUs brings convolutions into the order that its libraries take, but not inside loops."""
    for face, (x, y, *settings) in faces(name).items():
        sizes = choice.sizes_of(face, x, y, *settings)
        for form in ["products"] if sizes.g.groups > 1 else choice.names(face, sizes):
            f = functools.partial(getattr(choice, face.replace(" ", "_")), form=form)
            lowered = jax.jit(f, static_argnums=(*range(2, 2 + len(settings)),)).lower(x, y, *settings).as_text()
            orders = re.findall(r"dim_numbers = (\S+ ?.*?->\[.*?\])", lowered)
            assert {*orders} <= {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}, f"{face}, {form}"


def test_kernel_gradients_in_one_block():
    x, z, *settings = faces("taller, padding")["kernel gradient"]
    gradient = choice.kernel_gradient(x, z, *settings, form="products")
    assert_close(gradient, forms.plain_kernel_gradient(x, z, *settings), "float32")


def sizes(images, image, window, channels, padding=0):
    g = Geometry((1, 1), ((padding, padding),) * 2, (1, 1), 1)
    return forms.Sizes(images, (image, image), g.size((image, image), window), window, *channels, g)


@pytest.mark.parametrize("version", ["0.10.2", "0.11.2", "0.12.0", "99.1"])
def test_the_table_of_forms_has_forms_that_fit(version):
    tables = choice.measured(version)
    assert len(tables) == (1 if version != "99.1" else len(json.loads(choice.TABLE.read_text())))
    for entry in itertools.chain(*tables):
        assert all(form in choice.names(face, entry.sizes) for face, form in entry.forms.items()), entry


def test_near_sizes_get_the_measured_form_and_far_ones_the_compilers():
    assert choice.chosen("correlate", sizes(64, 28, (5, 5), (1, 6), 2)) == "neighbours"
    assert choice.chosen("correlate", sizes(50, 32, (5, 5), (1, 8), 2)) == "neighbours"
    assert choice.chosen("correlate", sizes(64, 28, (5, 5), (100, 6), 2)) == "compiler"


def test_a_version_that_was_not_measured_gets_what_all_measured_ones_agree_on(monkeypatch):
    first, second = sizes(64, 28, (5, 5), (1, 6), 2), sizes(64, 40, (3, 3), (64, 64), 1)
    entry = lambda s, form: choice.Entry(s, {"correlate": form})
    tables = [[entry(first, "neighbours"), entry(second, form)] for form in ("compiler", "eigen")]
    monkeypatch.setattr(choice, "measured", lambda: tables)
    choice._near.cache_clear()
    assert choice.chosen("correlate", first) == "neighbours"
    assert choice.chosen("correlate", second) == "compiler"
    choice._near.cache_clear()


def test_the_form_is_chosen_by_a_function():
    x, w = draw(0, 2, 8, 8, 1), draw(1, 3, 3, 1, 5)
    asked = []
    with choice.choosing(lambda face, s: asked.append((face, s.window)) or "compiler"):
        jax.eval_shape(lambda x, w: choice.correlate(x, w, Geometry((1, 1), ((0, 0),) * 2, (1, 1), 1)), x, w)
    assert asked == [("correlate", (3, 3))]


def test_blocks_that_do_not_divide_the_batch(monkeypatch):
    monkeypatch.setattr(forms, "_block", lambda *_: 3)
    g = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, z = draw(0, 7, 6, 6, 2), draw(1, 7, 6, 6, 5)
    of = forms.KERNEL_GRADIENT
    gradient, plain = (of[form].run(x, z, g, (3, 3)) for form in ("products", "compiler"))
    assert_close(gradient, plain, "float32")


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "padding": ((1, 1), (2, 2))}, {"stride": 3, "padding": "SAME"}], ids=str
)
def test_three_faces_of_one_trilinear_form(settings):
    x, w = draw(0, 2, 9, 9, 3), draw(1, 3, 3, 3, 4)
    y = ops.conv2d(x, w, **settings)
    z = draw(2, *y.shape)
    form = (z * y).sum()
    dx, dw = jax.vjp(lambda x, w: ops.conv2d(x, w, **settings), x, w)[1](z)
    assert_close((dx * x).sum(), form, "float32")
    assert_close((dw * w).sum(), form, "float32")
    if settings != {"stride": 3, "padding": "SAME"}:
        assert_close(ops.conv_transpose2d(z, w, **settings), dx, "float32")
    assert_close(ops.conv2d_kernel_gradient(x, z, window=3, **settings), dw, "float32")


def test_there_and_back_is_the_size_again():
    """The decoder of the lectures' deep autoencoder undoes its encoder: 28 → 24 → 20 → 9 → 4 → 1."""
    sizes = [28]
    for kernel, stride in ((5, 1), (5, 1), (4, 2), (3, 2), (4, 1)):
        x = jnp.zeros((1, sizes[-1], sizes[-1], 1))
        sizes.append(
            jax.eval_shape(lambda x, k=kernel, s=stride: ops.conv2d(x, jnp.zeros((k, k, 1, 1)), stride=s), x).shape[1]
        )
    assert sizes == [28, 24, 20, 9, 4, 1]
    decoder = nn.serial(
        nn.conv_transpose(32, 4), nn.conv_transpose(32, 3, stride=2), nn.conv_transpose(32, 4, stride=2),
        nn.conv_transpose(32, 5), nn.conv_transpose(1, 5),
    )  # fmt: skip
    params = jax.eval_shape(lambda key: decoder.init(key, (1, 1, 8)), jax.random.key(0))
    shapes = [p["w"].shape for p in params]
    assert shapes == [(4, 4, 32, 8), (3, 3, 32, 32), (4, 4, 32, 32), (5, 5, 32, 32), (5, 5, 1, 32)]
    out = jax.eval_shape(decoder.apply, params, jax.ShapeDtypeStruct((2, 1, 1, 8), jnp.float32))
    assert out.shape == (2, 28, 28, 1)


def test_same_transposed_makes_stride_times_the_size():
    z = jnp.ones((1, 4, 5, 2))
    for k, s in itertools.product((1, 2, 3, 4), (1, 2, 3)):
        assert ops.conv_transpose2d(z, jnp.ones((k, k, 3, 2)), stride=s, padding="SAME").shape == (1, 4 * s, 5 * s, 3)


def test_second_derivatives_run_in_the_same_forms():
    """Differentiated twice, no convolution is left that the forms would not have asked for."""
    x, w = draw(0, 2, 9, 9, 3), draw(1, 3, 3, 3, 4)
    f = lambda x, w: (ops.conv2d(x, w) ** 3).sum()
    second = lambda f: jax.jacfwd(jax.grad(f, 1), 1)(x, w)
    assert_close(second(f), second(automatic(f)), "float32")


def test_narrow_formats_accumulate_in_32_bits():
    x, w = jnp.ones((1, 40, 40, 4), jnp.bfloat16), jnp.ones((3, 3, 4, 2), jnp.bfloat16)
    dw = jax.grad(lambda w: ops.conv2d(x, w).astype(jnp.float32).sum())(w)
    assert (dw == 1444).all() or (dw == jnp.bfloat16(1444)).all()


@pytest.mark.parametrize("form", [None, *ops.conv2d.forms])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_no_images(form, groups):
    x, w = jnp.ones((0, 6, 6, 4)), jnp.ones((3, 3, 4 // groups, 4))
    op = ops.conv2d.in_form(form) if form else ops.conv2d
    f = lambda x, w: op(x, w, stride=2, groups=groups)
    y, pullback = jax.vjp(f, x, w)
    dx, dw = pullback(y)
    assert (y.shape, dx.shape) == ((0, 2, 2, 4), x.shape)
    assert not dw.any()
    per_kernel = jax.vmap(jax.grad(lambda w: f(x, w).sum()))
    assert not per_kernel(jnp.stack([w, w])).any()
