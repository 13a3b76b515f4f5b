"""Modules, weights, operators of other libraries: Flax, PyTorch (with names of public checkpoints), lineax, SciPy."""

from jaxdl.interop.flax_modules import flax_names, from_linen, from_nnx, jaxdl_names, to_linen, to_nnx
from jaxdl.interop.layouts import (
    alexnet_torchvision,
    clip_huggingface,
    googlenet_torchvision,
    vit_huggingface,
    vit_torchvision,
)
from jaxdl.interop.lineax_operators import as_lineax
from jaxdl.interop.lineax_solvers import sparse_solver
from jaxdl.interop.scipy_operators import as_scipy
from jaxdl.interop.torch_weights import load_torch_state_dict, save_torch_state_dict, torch_state_dict

__all__ = [
    "alexnet_torchvision",
    "as_lineax",
    "as_scipy",
    "clip_huggingface",
    "flax_names",
    "from_linen",
    "from_nnx",
    "googlenet_torchvision",
    "jaxdl_names",
    "load_torch_state_dict",
    "save_torch_state_dict",
    "sparse_solver",
    "to_linen",
    "to_nnx",
    "torch_state_dict",
    "vit_huggingface",
    "vit_torchvision",
]
