"""Operations with hand-written rules, one file for each family. `all_ops()` has them by name.

Examples:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdl import ops
    >>> ops.relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    >>> ops.add(jnp.ones((2, 1)), jnp.ones((1, 3))).shape
    (2, 3)
    >>> float(jax.grad(ops.sigmoid)(40.0)), float(jax.grad(jax.nn.sigmoid)(40.0))  # by hand and by JAX
    (4.24835...e-18, 0.0)
"""

from typing import Any

from jaxdl.ops.arithmetic import add, divide, maximum, minimum, multiply, power, subtract
from jaxdl.ops.convolution import conv2d, conv2d_kernel_gradient, conv_transpose2d, convolve
from jaxdl.ops.convolution_loops import conv2d_by_loops
from jaxdl.ops.feed_forward import gelu_feed_forward, swiglu_feed_forward
from jaxdl.ops.fused_losses import contrastive_loss, linear_cross_entropy
from jaxdl.ops.iterated import FixedPoint, fixed_point, reversible
from jaxdl.ops.linear import dense, matmul
from jaxdl.ops.lookup import embedding
from jaxdl.ops.losses import (
    cross_entropies,
    logistic_loss,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
)
from jaxdl.ops.norms import batch_norm, batch_norm_inference, layer_norm, local_response_norm, rms_norm
from jaxdl.ops.pointwise import (
    elementwise,
    elu,
    exp,
    gelu,
    gelu_tanh,
    leaky_relu,
    log,
    negate,
    quick_gelu,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
    sqrt,
    square,
    step,
    tanh,
)
from jaxdl.ops.pooling import avg_pool, global_avg_pool, max_pool
from jaxdl.ops.reductions import log_softmax, logsumexp, max, mean, min, prod, softmax, sum
from jaxdl.ops.regularization import dropout
from jaxdl.ops.stock_functions import STOCK_FUNCTIONS
from jaxdl.ops.tiled_attention import attention
from jaxdl.rule import Op

__all__ = [
    "FixedPoint",
    "add",
    "all_ops",
    "attention",
    "avg_pool",
    "batch_norm",
    "batch_norm_inference",
    "contrastive_loss",
    "conv2d",
    "conv2d_by_loops",
    "conv2d_kernel_gradient",
    "conv_transpose2d",
    "convolve",
    "cross_entropies",
    "dense",
    "divide",
    "dropout",
    "elementwise",
    "elu",
    "embedding",
    "exp",
    "fixed_point",
    "gelu",
    "gelu_feed_forward",
    "gelu_tanh",
    "global_avg_pool",
    "layer_norm",
    "leaky_relu",
    "linear_cross_entropy",
    "local_response_norm",
    "log",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "matmul",
    "max",
    "max_pool",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negate",
    "power",
    "prod",
    "quick_gelu",
    "relu",
    "reversible",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "softplus",
    "sqrt",
    "square",
    "squared_error",
    "step",
    "subtract",
    "sum",
    "swiglu_feed_forward",
    "tanh",
]


def all_ops() -> dict[str, Op[..., Any]]:
    """All operations of this module.

    Returns:
        The operations by name.

    Examples:
        >>> "conv2d" in all_ops()
        True
    """
    return {name: value for name, value in globals().items() if isinstance(value, Op)}


for _op, _function in STOCK_FUNCTIONS.items():
    _op.stock(_function)
