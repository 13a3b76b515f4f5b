"""Random weights of PyTorch models, loaded here, give the same outputs, in small and full size."""

import gc
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import jax
import numpy as np
import pytest

from jaxdl import nn
from jaxdl.interop import layouts
from jaxdl.interop.torch_weights import load_torch_state_dict, save_torch_state_dict, torch_state_dict
from tests.draws import draw

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[peers]'")

from safetensors.torch import save_file  # noqa: E402

from tests.peers import torch_twins  # noqa: E402

IMAGE = (224, 224, 3)
GOOGLENET = {"largest": 3, "last_pool": 2, "response_norm": False}


@pytest.fixture(autouse=True)
def _collect_garbage():
    yield
    gc.collect()


def randomised(module):
    """The module in inference mode, with random biases, norms and statistics."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.ndim == 1 and tensor.is_floating_point():
                tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    return module.eval()


def assert_agree(ours, theirs):
    """Within 1e-5 of the largest output; a pooling window of 3 instead of 2 in GoogLeNet makes a difference of 2e-4."""
    ours, theirs = np.asarray(ours), theirs.numpy()
    assert ours.shape == theirs.shape
    apart, largest = np.abs(ours - theirs).max(), np.abs(theirs).max()
    print(f"differs by {apart / largest:.1e} of the largest output, {largest:.2g}")
    assert largest > 0.05
    assert apart <= 1e-5 * largest


def abstract(model, shape):
    return jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))


def nchw(images):
    return torch.from_numpy(np.array(images).transpose(0, 3, 1, 2))


def loaded(path, twin, layout, like):
    """The twin's weights, saved by safetensors and loaded as parameters."""
    save_file(twin.state_dict(), path)
    params = load_torch_state_dict(path, layout, like)
    path.unlink()
    return params


def compare(model, twin, layout, shape, path):
    """Loads the twin's weights into the model and compares both on two images; returns the parameters."""
    params = loaded(path, twin, layout, abstract(model, shape))
    images = draw(0, 2, *shape)
    with torch.no_grad():
        want = twin(nchw(images))
    jax.tree.map(assert_agree, model.apply(params, images), want)
    return params


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_alexnet(path):
    params = compare(nn.alexnet(), randomised(torch_twins.alexnet(1000)), layouts.alexnet_torchvision, IMAGE, path)
    assert nn.parameter_count(params) == 61_100_840


def test_googlenet_with_its_heads(path):
    """Both with the paper's pooling before the heads."""
    twin = randomised(torch_twins.GoogLeNet(7, torch.nn.AvgPool2d(5, 3)))
    model = nn.googlenet(7, auxiliary=True, **GOOGLENET)
    params = compare(model, twin, layouts.googlenet_torchvision, IMAGE, path)
    save_torch_state_dict(path, params, layouts.googlenet_torchvision)
    back = {name: torch.from_numpy(x) for name, x in torch_state_dict(params, layouts.googlenet_torchvision).items()}
    images = draw(1, 1, *IMAGE)
    with torch.no_grad():
        want = twin(nchw(images))
        twin.load_state_dict(back)
        jax.tree.map(assert_agree, tuple(y.numpy() for y in twin(nchw(images))), want)


def test_googlenet(path):
    """torchvision's heads, with adaptive pooling, are in the file but not loaded."""
    twin = randomised(torch_twins.GoogLeNet(1000, torch.nn.AdaptiveAvgPool2d(4)))
    model = nn.googlenet(**GOOGLENET)
    params = loaded(path, twin, layouts.googlenet_torchvision, abstract(model, IMAGE))
    images = draw(0, 1, *IMAGE)
    with torch.no_grad():
        want, *_ = twin(nchw(images))
    assert_agree(model.apply(params, images), want)


SMALL_VIT = {"patch": 4, "width": 16, "depth": 2, "heads": 2}


def test_small_torchvision_vit(path):
    twin = randomised(torch_twins.VisionTransformer(5, 12, **SMALL_VIT))
    params = compare(nn.vit(5, **SMALL_VIT), twin, layouts.vit_torchvision, (12, 12, 3), path)
    back = torch_state_dict(params, layouts.vit_torchvision)
    assert set(back) == set(twin.state_dict())
    assert all((back[name] == x.numpy()).all() for name, x in twin.state_dict().items())


def test_torchvision_vit_b16(path):
    twin = randomised(torch_twins.VisionTransformer(1000, 224, patch=16, width=768, depth=12, heads=12))
    params = compare(nn.vit_b16(), twin, layouts.vit_torchvision, IMAGE, path)
    assert nn.parameter_count(params) == 86_567_656


# --- transformers, through its saved files ------------------------------------------------------------


def compare_vit(model, config, folder):
    shape = (config.image_size, config.image_size, 3)
    twin = randomised(transformers.ViTForImageClassification(config))
    twin.save_pretrained(folder)
    file = folder / "model.safetensors"
    params = load_torch_state_dict(file, layouts.vit_huggingface, abstract(model, shape))
    file.unlink()
    images = draw(0, 2, *shape)
    with torch.no_grad():
        assert_agree(model.apply(params, images), twin(nchw(images)).logits)
    return params, twin


def test_small_huggingface_vit(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**sizes, image_size=12, patch_size=4, num_labels=5)
    model = nn.vit(5, **SMALL_VIT, epsilon=1e-12)
    params, twin = compare_vit(model, config, tmp_path)
    # The same from a state dict, and back into transformers.
    state = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    again = load_torch_state_dict(state, layouts.vit_huggingface, params)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), again, params))
    save_torch_state_dict(tmp_path / "model.safetensors", params, layouts.vit_huggingface)
    read = transformers.ViTForImageClassification.from_pretrained(tmp_path).state_dict()
    assert all((read[name].numpy() == x).all() for name, x in state.items())


def test_huggingface_vit_b16(tmp_path):
    params, _ = compare_vit(nn.vit_b16(epsilon=1e-12), transformers.ViTConfig(num_labels=1000), tmp_path)
    assert nn.parameter_count(params) == 86_567_656


def compare_clip(model, config, tokens, folder):
    size, (_, length) = config.vision_config.image_size, tokens.shape
    twin = randomised(transformers.CLIPModel(config))
    twin.save_pretrained(folder)
    file = folder / "model.safetensors"
    like = abstract(model, ((size, size, 3), jax.ShapeDtypeStruct((length,), np.int32)))
    params = load_torch_state_dict(file, layouts.clip_huggingface, like)
    file.unlink()
    images = draw(0, 2, size, size, 3)
    with torch.no_grad():
        want = twin(input_ids=torch.from_numpy(tokens).long(), pixel_values=nchw(images))
    image, text, scale = model.apply(params, (images, tokens))
    assert_agree(image, want.image_embeds)
    assert_agree(text, want.text_embeds)
    assert_agree(scale * image @ text.T, want.logits_per_image)
    return params


def ended(vocabulary, length):
    """Two texts of different lengths, each ended by the vocabulary's last token."""
    tokens = np.array(draw(1, 2, length) * 1000).astype(np.int32) % (vocabulary - 2)
    tokens[0, length // 2], tokens[0, length // 2 + 1 :], tokens[1, -1] = vocabulary - 1, 0, vocabulary - 1
    return tokens


def test_small_clip(tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": 20, "max_position_embeddings": 7, "bos_token_id": 18, "eos_token_id": 19}
    config = transformers.CLIPConfig(
        text_config=sizes | text, vision_config=sizes | {"image_size": 12, "patch_size": 4}, projection_dim=6
    )
    towers = {"width": 16, "depth": 2, "heads": 2}
    model = nn.clip(nn.image_tower(6, patch=4, **towers), nn.text_tower(6, vocabulary=20, **towers))
    params = compare_clip(model, config, ended(20, 7), tmp_path)
    save_torch_state_dict(tmp_path / "model.safetensors", params, layouts.clip_huggingface)
    read = transformers.CLIPModel.from_pretrained(tmp_path).state_dict()
    back = torch_state_dict(params, layouts.clip_huggingface)
    assert set(read) == set(back)
    assert all((read[name].numpy() == x).all() for name, x in back.items())


def test_clip_vit_b32(tmp_path):
    params = compare_clip(nn.clip_vit_b32(), transformers.CLIPConfig(), ended(49_408, 77), tmp_path)
    assert nn.parameter_count(params) == 151_277_313
