"""LeNet-5: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998."""

from jaxdl.nn.images import avg_pool, conv
from jaxdl.nn.layer import Layer, serial
from jaxdl.nn.layers import dense, flatten, tanh


def lenet5(classes: int = 10) -> Layer:
    """(n, 28, 28, 1), padded to 32 × 32, → (n, classes); 61,706 parameters.

    As it is built today: all maps of the second convolution see all of the first's, pooling has no
    weights of its own, and the output is linear.
    """
    return serial(
        conv(6, 5, padding="SAME"), tanh, avg_pool(2),
        conv(16, 5), tanh, avg_pool(2),
        flatten, dense(120), tanh, dense(84), tanh, dense(classes))  # fmt: skip
