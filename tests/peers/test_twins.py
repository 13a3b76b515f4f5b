"""The models that the training benchmark compares have equal parameter counts and output shapes in all libraries."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.twins import TASKS, channels_first, flax_module, torch_module
from jaxdl import nn
from tests.draws import draw

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")


@pytest.mark.parametrize("name", TASKS)
def test_parameters_and_shapes(name, key):
    task = TASKS[name]
    shape = (task.size, task.size, 1)
    params = jax.eval_shape(lambda k: task.model.init(k, shape), key)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    out = jax.eval_shape(task.model.apply, params, x).shape

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, variables = jax.eval_shape(flax_module(task.rows).init_with_output, key, x)
    assert nn.parameter_count(variables) == nn.parameter_count(params)
    assert theirs.shape == out

    module = torch_module(task.rows)
    assert sum(p.numel() for p in module.parameters()) == nn.parameter_count(params)
    images = draw(0, 2, *shape)
    theirs = module(torch.from_numpy(channels_first(images))).detach().numpy()
    assert theirs.shape == (channels_first(jnp.zeros(out)).shape if task.reconstructs else out)
