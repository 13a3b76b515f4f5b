"""The names in public checkpoints: for each family a function from the paths of our leaves to a layout, a table.

| layout | published by | for |
|---|---|---|
| `alexnet_torchvision` | torchvision, alexnet | `nn.alexnet()` |
| `googlenet_torchvision` | torchvision, googlenet | `nn.googlenet(largest=3, last_pool=2, response_norm=False)` |
| `vit_torchvision` | torchvision, vit_b_16, … | `nn.vit_b16()`, `nn.vit(…)` |
| `vit_huggingface` | Hugging Face, google/vit-base-patch16-224, … | `nn.vit_b16(epsilon=1e-12)`, `nn.vit(…)` |
| `clip_huggingface` | Hugging Face, openai/clip-vit-base-patch32, … | `nn.clip_vit_b32()`, `nn.clip(…)` |
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from jaxdl.interop.conversions import (
    KERNEL,
    MATRIX,
    SAME,
    Entry,
    convolution,
    feed_forward,
    flattened,
    folded,
    leaf,
    linear,
    norm,
    stacked,
    under,
    with_ones,
)


class Layout(NamedTuple):
    """How the tensors of a checkpoint correspond to a model's parameters.

    Attributes:
        entries: Leaves of the parameters and tensors of the checkpoint that correspond.
        extras: A regular expression of names that a checkpoint may have and that are ignored.
        renamed: Pairs of a regular expression in names of other versions, and its replacement in the published names.
    """

    entries: list[Entry]
    extras: str = ""
    renamed: tuple[tuple[str, str], ...] = ()


def alexnet_torchvision(paths: Collection[str]) -> Layout:
    """torchvision's AlexNet, for `nn.alexnet()` on images of 224 × 224, which are flattened at 6 × 6 pixels.

    Args:
        paths: The paths of the model's parameters, such as "2/norm/scale".

    Returns:
        The layout, for `load_torch_state_dict` and `torch_state_dict`.

    Examples:
        >>> from jaxdl import interop
        >>> layout = interop.alexnet_torchvision
        >>> params = interop.load_torch_state_dict("alexnet.safetensors", layout, like)  # doctest: +SKIP
    """
    del paths
    return Layout(
        [
            *(entry for i in (0, 3, 6, 8, 10) for entry in convolution(f"{i}", f"features.{i}")),
            *linear("15", "classifier.1", flattened(6)),
            *linear("18", "classifier.4"),
            *linear("20", "classifier.6"),
        ]
    )


INCEPTION = [
    *folded("0/0", "branch1"),
    *folded("1/0/0", "branch2.0"), *folded("1/1/0", "branch2.1"),
    *folded("2/0/0", "branch3.0"), *folded("2/1/0", "branch3.1"),
    *folded("3/1/0", "branch4.1"),
]  # fmt: skip
AUXILIARY_HEAD = [*folded("1/0", "conv"), *linear("3", "fc1", flattened(4)), *linear("6", "fc2")]


def googlenet_torchvision(paths: Collection[str]) -> Layout:
    """torchvision's GoogLeNet, for `nn.googlenet(largest=3, last_pool=2, response_norm=False)`.

    The batch normalisation, with its running statistics, becomes part of w and b. The auxiliary heads are loaded if the
    model has them, and ignored otherwise. Theirs average by adaptive pooling, whose windows differ from the paper's
    5 × 5 windows of stride 3: the logits agree, the heads' outputs do not. The published weights were trained on images
    in [−1, 1]; their auxiliary heads were never trained.

    Args:
        paths: The paths of the model's parameters, such as "2/norm/scale".

    Returns:
        The layout, for `load_torch_state_dict` and `torch_state_dict`.

    Examples:
        >>> from jaxdl import interop
        >>> layout = interop.googlenet_torchvision
        >>> params = interop.load_torch_state_dict("googlenet.safetensors", layout, like)  # doctest: +SKIP
    """
    auxiliary = "1/0/3/w" in paths
    to_4d, to_logits = ("1/1/0", "1/1/1/1") if auxiliary else ("1", "2")
    blocks = {"0/7": "3a", "0/8": "3b", "0/10": "4a"}
    blocks |= {f"{to_4d}/0": "4b", f"{to_4d}/1": "4c", f"{to_4d}/2": "4d"}
    blocks |= {f"{to_logits}/0": "4e", f"{to_logits}/2": "5a", f"{to_logits}/3": "5b"}
    heads = {"1/0": "aux1", "1/1/1/0": "aux2"} if auxiliary else {}
    return Layout(
        [
            *folded("0/0/0", "conv1"),
            *folded("0/3/0", "conv2"),
            *folded("0/4/0", "conv3"),
            *(entry for ours, name in blocks.items() for entry in under(ours, f"inception{name}", INCEPTION)),
            *(entry for ours, name in heads.items() for entry in under(ours, name, AUXILIARY_HEAD)),
            *linear(f"{to_logits}/6", "fc"),
        ],
        extras=r".*\.num_batches_tracked|aux[12]\..*",
    )


TORCHVISION_BLOCK = [
    *norm("attention_norm", "ln_1"),
    Entry(("attention/q/w", "attention/k/w", "attention/v/w"), ("self_attention.in_proj_weight",), stacked(MATRIX, 3)),
    Entry(("attention/q/b", "attention/k/b", "attention/v/b"), ("self_attention.in_proj_bias",), stacked(SAME, 3)),
    *linear("attention/out", "self_attention.out_proj"),
    *norm("feed_forward_norm", "ln_2"),
    *feed_forward("feed_forward", "mlp.0", "mlp.3"),
]


def vit_torchvision(paths: Collection[str]) -> Layout:
    """torchvision's vision transformers, for `nn.vit_b16()` and `nn.vit(…)`.

    The layers of the feed-forward block are linear_1 and linear_2 in the published files, and 0 and 3 in newer versions
    of torchvision. Both are read, and the newer names are written.

    Args:
        paths: The paths of the model's parameters, such as "2/norm/scale".

    Returns:
        The layout, for `load_torch_state_dict` and `torch_state_dict`.

    Examples:
        >>> from jaxdl import interop
        >>> layout = interop.vit_torchvision
        >>> params = interop.load_torch_state_dict("vit.safetensors", layout, like)  # doctest: +SKIP
    """
    return Layout(
        [
            leaf("0/class_token", "class_token", with_ones(2)),
            *convolution("0/patches", "conv_proj"),
            leaf("0/positions", "encoder.pos_embedding", with_ones(1)),
            *_blocks(paths, "2/blocks", "encoder.layers.encoder_layer_", TORCHVISION_BLOCK),
            *norm("2/norm", "encoder.ln"),
            *linear("4", "heads.head"),
        ],
        renamed=((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3.")),
    )


HUGGINGFACE_VIT_BLOCK = [
    *norm("attention_norm", "layernorm_before"),
    *linear("attention/q", "attention.attention.query"),
    *linear("attention/k", "attention.attention.key"),
    *linear("attention/v", "attention.attention.value"),
    *linear("attention/out", "attention.output.dense"),
    *norm("feed_forward_norm", "layernorm_after"),
    *feed_forward("feed_forward", "intermediate.dense", "output.dense"),
]


def vit_huggingface(paths: Collection[str]) -> Layout:
    """Hugging Face's ViTForImageClassification, for `nn.vit_b16(epsilon=1e-12)` and `nn.vit(…)`.

    The published names are written. Those of the module in transformers 5 are read too.

    Args:
        paths: The paths of the model's parameters, such as "2/norm/scale".

    Returns:
        The layout, for `load_torch_state_dict` and `torch_state_dict`.

    Examples:
        >>> from jaxdl import interop
        >>> layout = interop.vit_huggingface
        >>> params = interop.load_torch_state_dict("vit.safetensors", layout, like)  # doctest: +SKIP
    """
    return Layout(
        [
            leaf("0/class_token", "vit.embeddings.cls_token", with_ones(2)),
            *convolution("0/patches", "vit.embeddings.patch_embeddings.projection"),
            leaf("0/positions", "vit.embeddings.position_embeddings", with_ones(1)),
            *_blocks(paths, "2/blocks", "vit.encoder.layer.", HUGGINGFACE_VIT_BLOCK),
            *norm("2/norm", "vit.layernorm"),
            *linear("4", "classifier"),
        ],
        extras=r"vit\.pooler\..*",
        renamed=(
            (r"^vit\.layers\.", "vit.encoder.layer."),
            (r"\.attention\.q_proj\.", ".attention.attention.query."),
            (r"\.attention\.k_proj\.", ".attention.attention.key."),
            (r"\.attention\.v_proj\.", ".attention.attention.value."),
            (r"\.attention\.o_proj\.", ".attention.output.dense."),
            (r"\.mlp\.fc1\.", ".intermediate.dense."),
            (r"\.mlp\.fc2\.", ".output.dense."),
        ),
    )


CLIP_BLOCK = [
    *norm("attention_norm", "layer_norm1"),
    *linear("attention/q", "self_attn.q_proj"),
    *linear("attention/k", "self_attn.k_proj"),
    *linear("attention/v", "self_attn.v_proj"),
    *linear("attention/out", "self_attn.out_proj"),
    *norm("feed_forward_norm", "layer_norm2"),
    *feed_forward("feed_forward", "mlp.fc1", "mlp.fc2"),
]


def clip_huggingface(paths: Collection[str]) -> Layout:
    """Hugging Face's CLIPModel, for `nn.clip_vit_b32()` and `nn.clip(…)`.

    Args:
        paths: The paths of the model's parameters, such as "2/norm/scale".

    Returns:
        The layout, for `load_torch_state_dict` and `torch_state_dict`.

    Examples:
        >>> from jaxdl import interop
        >>> layout = interop.clip_huggingface
        >>> params = interop.load_torch_state_dict("clip.safetensors", layout, like)  # doctest: +SKIP
    """
    return Layout(
        [
            leaf("image/0/class_token", "vision_model.embeddings.class_embedding"),
            leaf("image/0/patches/w", "vision_model.embeddings.patch_embedding.weight", KERNEL),
            leaf("image/0/positions", "vision_model.embeddings.position_embedding.weight"),
            *norm("image/1", "vision_model.pre_layrnorm"),  # so misspelt by all checkpoints
            *_blocks(paths, "image/2/blocks", "vision_model.encoder.layers.", CLIP_BLOCK),
            *norm("image/2/norm", "vision_model.post_layernorm"),
            leaf("image/4/w", "visual_projection.weight", MATRIX),
            leaf("text/tokens/table", "text_model.embeddings.token_embedding.weight"),
            leaf("text/positions", "text_model.embeddings.position_embedding.weight"),
            *_blocks(paths, "text/encoder/blocks", "text_model.encoder.layers.", CLIP_BLOCK),
            *norm("text/encoder/norm", "text_model.final_layer_norm"),
            leaf("text/projection/w", "text_projection.weight", MATRIX),
            leaf("log_scale", "logit_scale"),
        ],
        extras=r".*\.position_ids",
    )


def _blocks(paths, ours, theirs, block):
    """The entries of all blocks that the parameters have."""
    numbers = {int(found[1]) for path in paths if (found := re.match(rf"{ours}/(\d+)/", path))}
    return [entry for i in sorted(numbers) for entry in under(f"{ours}/{i}", f"{theirs}{i}", block)]
