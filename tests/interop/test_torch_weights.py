"""PyTorch's weights without PyTorch: round trips, weights that do not fit, damaged files."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxdl import nn
from jaxdl.interop import layouts
from jaxdl.interop.conversions import FOLDED, KERNEL
from jaxdl.interop.torch_weights import load_torch_state_dict, save_torch_state_dict, torch_state_dict
from tests.draws import draw
from tests.tolerance import assert_close

TOWERS = {"width": 8, "depth": 2, "heads": 2}
VIT = nn.vit(3, patch=4, **TOWERS)
CLIP = nn.clip(nn.image_tower(6, patch=4, **TOWERS), nn.text_tower(6, vocabulary=20, **TOWERS))
IMAGE, SMALL = (224, 224, 3), (8, 8, 3)
# Model, shape of its inputs, and the number of tensors in a published file of that depth.
MODELS = {
    "alexnet_torchvision": (nn.alexnet(), IMAGE, 16),
    "googlenet_torchvision": (nn.googlenet(largest=3, response_norm=False), IMAGE, 57 * 5 + 2),
    "googlenet_torchvision, auxiliary": (nn.googlenet(auxiliary=True, largest=3), IMAGE, 59 * 5 + 2 + 8),
    "vit_torchvision": (VIT, SMALL, 8 + 2 * 12),
    "vit_huggingface": (VIT, SMALL, 8 + 2 * 16),
    "clip_huggingface": (CLIP, (SMALL, jax.ShapeDtypeStruct((5,), jnp.int32)), 7 + 2 + 5 + 4 * 16),
}


def drawn(name, dtype=jnp.float32):
    """Random parameters of the model's structure, no axis longer than 144 (a layout sees names and ranks only)."""
    model, shape, _ = MODELS[name]
    like = jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))
    return jax.tree.map(lambda p: draw(p.size % 97, *(min(n, 144) for n in p.shape), dtype=dtype), like)


def layout_of(name):
    return getattr(layouts, name.split(",")[0])


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        assert (x == y).all()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name, path):
    """Exactly, also with a batch normalisation that is split off and folded back."""
    params, layout = drawn(name), layout_of(name)
    save_torch_state_dict(path, params, layout)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert len(load_file(path)) == MODELS[name][2]
    assert_equal(load_torch_state_dict(path, layout, jax.eval_shape(lambda: params)), params)
    assert_equal(load_torch_state_dict(torch_state_dict(params, layout), layout, params), params)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_formats_of_16_bits(dtype, path):
    params = drawn("vit_torchvision", dtype)
    save_torch_state_dict(path, params, layouts.vit_torchvision)
    assert load_file(path)["class_token"].dtype == dtype
    assert_equal(load_torch_state_dict(path, layouts.vit_torchvision, params), params)
    wide = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    assert_equal(load_torch_state_dict(path, layouts.vit_torchvision, wide), wide)


def test_what_comes_in_is_a_copy():
    weights = torch_state_dict(drawn("vit_torchvision"), layouts.vit_torchvision)
    params = load_torch_state_dict(weights, layouts.vit_torchvision, drawn("vit_torchvision"))
    for x in weights.values():
        x[:] = np.nan
    assert all(jnp.isfinite(p).all() for p in jax.tree.leaves(params))


def test_linear_layers_after_a_flattened_image():
    """PyTorch flattens channels first."""
    params = drawn("alexnet_torchvision")
    image, w = draw(0, 2, 6, 6, 4), params[15]["w"]
    theirs = torch_state_dict(params, layouts.alexnet_torchvision)["classifier.1.weight"]
    assert_close(image.reshape(2, -1) @ w, image.transpose(0, 3, 1, 2).reshape(2, -1) @ theirs.T, "float32")


def test_batch_normalisation_is_folded():
    w, (scale, bias, mean) = draw(0, 4, 3, 1, 1), draw(1, 3, 4)
    variance, x = jnp.abs(draw(2, 4)), draw(3, 7, 3)
    folded, b = FOLDED.into(*map(np.asarray, (w, scale, bias, mean, variance)))
    y = (x @ KERNEL.into(w)[0][0, 0] - mean[None]) / jnp.sqrt(variance + 0.001)[None] * scale[None] + bias[None]
    assert_close(x @ folded[0, 0].astype(np.float32) + b.astype(np.float32)[None], y, "float32")


OLDER = {
    "vit_torchvision": {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."},
    "vit_huggingface": {"vit.encoder.layer.": "vit.layers.", ".attention.attention.query.": ".attention.q_proj."},
}
EXTRAS = {
    "googlenet_torchvision": ("conv1.bn.num_batches_tracked", "aux1.fc1.weight", "aux2.conv.bn.running_mean"),
    "vit_huggingface": ("vit.pooler.dense.weight",),
    "clip_huggingface": ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"),
}


@pytest.mark.parametrize("name", OLDER)
def test_other_names_of_the_same(name):
    params, layout = drawn(name), layout_of(name)
    weights = torch_state_dict(params, layout)
    for new, old in OLDER[name].items():
        assert any(new in tensor for tensor in weights)
        weights = {tensor.replace(new, old): x for tensor, x in weights.items()}
    assert_equal(load_torch_state_dict(weights, layout, params), params)
    both = weights | torch_state_dict(params, layout)
    with pytest.raises(ValueError, match=r"load_torch_state_dict: .*weight appears twice, once as"):
        load_torch_state_dict(both, layout, params)


@pytest.mark.parametrize("name", EXTRAS)
def test_known_extras_say_nothing(name):
    params, layout = drawn(name), layout_of(name)
    weights = torch_state_dict(params, layout) | {extra: np.zeros(3, np.int64) for extra in EXTRAS[name]}
    assert_equal(load_torch_state_dict(weights, layout, params), params)


# --- what does not fit --------------------------------------------------------------------------------


def refused(weights, message, name="vit_torchvision", params=None):
    params = drawn(name) if params is None else params
    with pytest.raises(ValueError, match=message):
        load_torch_state_dict(weights, layout_of(name), params)


def test_weights_that_do_not_fit():
    weights = torch_state_dict(drawn("vit_torchvision"), layouts.vit_torchvision)
    head = weights["heads.head.weight"]
    without = lambda part: {name: x for name, x in weights.items() if part not in name}
    refused(weights | {"fc.bias": head}, "do not fit vit_torchvision:\nunused names \\(1\\): fc.bias; remove")
    refused(without("encoder.ln.bias"), r"missing names \(1\): encoder.ln.bias; does the checkpoint have this")
    refused(
        without("encoder_layer_1"), r"missing names \(12\): encoder.layers.encoder_layer_1.ln_1.bias, .* 8 more; does"
    )
    refused({}, r"missing names \(32\): class_token, .* and 28 more")
    refused(
        weights | {"heads.head.weight": head[:2]},
        r"tensors of another shape \(1\): heads.head.weight \(2, 8\) for \(3, 8\); build the model with",
    )
    refused(
        weights | {"heads.head.weight": head.astype(np.int8)},
        r"tensors that are not floating point \(1\): heads.head.weight int8; use the weights before quantisation",
    )


def test_parameters_of_another_model():
    weights = torch_state_dict(drawn("vit_torchvision"), layouts.vit_torchvision)
    other = "the parameters are of another model than"
    message = rf"vit_torchvision: {other} .*nn.vit_b16.*: missing are 0/class_token, .* unexpected are log_scale"
    refused(weights, message, params={"log_scale": jnp.zeros(())})
    with pytest.raises(
        ValueError, match=rf"alexnet_torchvision: {other}.*: missing are 0/b, 0/w, .* unexpected are 0/class"
    ):
        torch_state_dict(drawn("vit_torchvision"), layouts.alexnet_torchvision)
    small = jax.eval_shape(lambda key: nn.alexnet(3).init(key, (63, 63, 3)), jax.random.key(0))
    with pytest.raises(ValueError, match=r"follows images of 6 × 6 pixels, but 256 inputs .* of the published size"):
        load_torch_state_dict({}, layouts.alexnet_torchvision, small)


def test_pickles_are_refused(tmp_path):
    params = drawn("vit_torchvision")
    for suffix in ("bin", "pt", "pth"):
        path = tmp_path / f"weights.{suffix}"
        message = re.escape(f".{suffix} files are pickles") + r".*safetensors.torch.save_file\(torch.load\('weights."
        refused(path, message)
        with pytest.raises(ValueError, match=message):
            save_torch_state_dict(path, params, layouts.vit_torchvision)
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_whole(path):
    save_torch_state_dict(path, drawn("vit_torchvision"), layouts.vit_torchvision)
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:100], whole[:4], b"", b"PK\x03\x04" + whole):
        path.write_bytes(broken)
        refused(path, "model.safetensors is not an intact safetensors file .*: copy or download it again")
    with pytest.raises(FileNotFoundError):
        load_torch_state_dict(path.with_name("none.safetensors"), layouts.vit_torchvision, drawn("vit_torchvision"))


def test_nothing_is_half_written(path, monkeypatch):
    params = drawn("vit_torchvision")
    save_torch_state_dict(path, params, layouts.vit_torchvision)
    whole = path.read_bytes()

    def breaks_off(tensors, draft, metadata):
        save_file({"class_token": tensors["class_token"]}, draft, metadata)
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.numpy.save_file", breaks_off)
    with pytest.raises(OSError, match="no space left"):
        save_torch_state_dict(path, jax.tree.map(lambda p: 2 * p, params), layouts.vit_torchvision)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


# --- weights that may be damaged ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "warning"),
    [
        (np.nan, "heads.head.weight: 1 numbers are NaN or infinite"),
        (-np.inf, "heads.head.weight: 1 numbers are NaN or infinite"),
        (2.0**127, r"heads.head.weight: its largest number is 1\.7e\+38, the median is"),
    ],
)
def test_odd_numbers_are_loaded_with_a_warning(number, warning):
    params, layout = drawn("vit_torchvision"), layouts.vit_torchvision
    weights = torch_state_dict(params, layout)
    weights["heads.head.weight"].reshape(-1)[5] = number
    with pytest.warns(UserWarning, match=warning):
        loaded = load_torch_state_dict(weights, layout, params)
    assert np.isclose(
        np.asarray(torch_state_dict(loaded, layout)["heads.head.weight"]).reshape(-1)[5], number, equal_nan=True
    )


def test_what_overflows_in_a_narrower_type():
    params, layout = drawn("vit_torchvision"), layouts.vit_torchvision
    weights = torch_state_dict(params, layout)
    weights["heads.head.weight"].reshape(-1)[5] = 1e5
    narrow = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float16), params)
    with pytest.warns(UserWarning, match=r"heads.head.weight: its largest number, 1e\+05, overflows in the dtype"):
        load_torch_state_dict(weights, layout, narrow)


@pytest.mark.parametrize(
    ("dtype", "name"), [(jnp.bfloat16, "BF16"), (jnp.float8_e4m3fn, "F8_E4M3"), (jnp.float8_e5m2, "F8_E5M2")]
)
def test_types_that_numpy_does_not_have(dtype, name, path):
    """A file as the format is published: the header's length, the header in JSON, the numbers."""
    params, layout = drawn("vit_torchvision"), layouts.vit_torchvision
    header, content = {}, b""
    for key, x in torch_state_dict(params, layout).items():
        numbers = x.astype(dtype).tobytes()
        header[key] = {"dtype": name, "shape": x.shape, "data_offsets": [len(content), len(content) + len(numbers)]}
        content += numbers
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    if name == "BF16":
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0.01)
        jax.tree.map(close, load_torch_state_dict(path, layout, params), params)
    else:
        refused(path, rf"has dtype {name}, which cannot be read: save it in float32 or bfloat16")


class Tensor:
    """What PyTorch's tensors have of use here: those of bfloat16 or with a gradient cannot be NumPy's."""

    def __init__(self, x, is_plain=False):
        self.x, self.is_plain = x, is_plain

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.x, True)

    def __array__(self, dtype=None, copy=None):
        if not self.is_plain:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.x)


def test_tensors_need_no_conversion():
    params = drawn("vit_torchvision")
    weights = torch_state_dict(params, layouts.vit_torchvision)
    tensors = {name: Tensor(x) for name, x in weights.items()}
    assert_equal(load_torch_state_dict(tensors, layouts.vit_torchvision, params), params)


def test_a_module_is_no_source():
    class Module:
        state_dict = dict

    with pytest.raises(TypeError, match=r"source must be a safetensors file or a mapping .* take its state_dict\(\)"):
        load_torch_state_dict(Module(), layouts.vit_torchvision, drawn("vit_torchvision"))
