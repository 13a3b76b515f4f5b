"""Operations with their rules, one file a family. `all_ops()` gives them by name."""

from jaxdl.ops.arithmetic import add, divide, maximum, minimum, multiply, power, subtract
from jaxdl.ops.convolution import conv2d, conv2d_by_loops, conv2d_kernel_gradient, conv_transpose2d, convolve
from jaxdl.ops.linear import dense, dropout, embedding, matmul
from jaxdl.ops.losses import (
    logistic_loss,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
)
from jaxdl.ops.norms import layer_norm, rms_norm
from jaxdl.ops.pointwise import (
    elementwise,
    elu,
    exp,
    gelu,
    gelu_tanh,
    leaky_relu,
    log,
    negate,
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
from jaxdl.ops.reductions import log_softmax, logsumexp, max, mean, softmax, sum
from jaxdl.rule import Op

__all__ = [
    "add",
    "all_ops",
    "avg_pool",
    "conv2d",
    "conv2d_by_loops",
    "conv2d_kernel_gradient",
    "conv_transpose2d",
    "convolve",
    "dense",
    "divide",
    "dropout",
    "elementwise",
    "elu",
    "embedding",
    "exp",
    "gelu",
    "gelu_tanh",
    "global_avg_pool",
    "layer_norm",
    "leaky_relu",
    "log",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "matmul",
    "max",
    "max_pool",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negate",
    "power",
    "relu",
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
    "tanh",
]


def all_ops() -> dict[str, Op]:
    """Every operation here, by its name."""
    return {name: value for name, value in globals().items() if isinstance(value, Op)}
