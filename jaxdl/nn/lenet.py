"""LeNet-5: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998."""

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import avg_pool, conv
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dense, flatten, tanh


def lenet5(classes: int = 10) -> Layer:
    """LeNet-5: (n, 28, 28, 1), padded to 32 × 32, → (n, classes); 61,706 parameters with 10 classes.

    In the form that is usual today: every map of the second convolution sees all maps of the first, pooling has no
    weights, and the output is linear.

    Args:
        classes: The number of classes.

    Returns:
        A model from images to logits.

    Examples:
        >>> params = lenet5().init(jax.random.key(0), (28, 28, 1))
        >>> nn.parameter_count(params)
        61706
    """
    return serial(
        conv(6, 5, padding="SAME"), tanh, avg_pool(2),
        conv(16, 5), tanh, avg_pool(2),
        flatten, dense(120), tanh, dense(84), tanh, dense(classes))  # fmt: skip
