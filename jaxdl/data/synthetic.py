"""Small synthetic data sets."""

import numpy as np

MOST_DRAWS = 1000


def xor() -> tuple[np.ndarray, np.ndarray]:
    """The exclusive or of two bits.

    Returns:
        The four points (0, 0), (1, 0), (0, 1), (1, 1), float32 of shape (4, 2), and their labels 0, 1, 1, 0, int32 of
        shape (4,).

    Examples:
        >>> from jaxdl import data
        >>> x, y = data.xor()
        >>> y.tolist()
        [0, 1, 1, 0]
    """
    x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    return x, np.array([0, 1, 1, 0], np.int32)


def separated(n: int, margin: float, seed: int, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Points of two classes, on the two sides of a random plane through 0.

    Args:
        n: How many points.
        margin: The least distance of a point to the plane, in [−1, 0.9). With a negative margin the classes overlap:
            points nearer to the plane than −margin have random labels.
        seed: The seed of points and plane.
        dimensions: The dimension of the points.

    Returns:
        Points of length up to 1, float32 of shape (n, dimensions), and their labels 0 or 1, int32 of shape (n,).

    Raises:
        ValueError: The margin is outside [−1, 0.9), n or dimensions is no possible number, or such points are too rare
            to be drawn.

    Examples:
        >>> from jaxdl import data
        >>> x, y = data.separated(100, margin=0.1, seed=0)
        >>> x.shape, y.shape
        ((100, 2), (100,))
    """
    if not -1 <= margin < 0.9:
        raise ValueError(f"separated: margin must be in [−1, 0.9), got {margin}")
    for name, value, least in (("n", n, 0), ("dimensions", dimensions, 1)):
        if not hasattr(value, "__index__") or value < least:
            raise ValueError(f"separated: {name} must be a whole number, {least} or more, got {value!r}")
    random = np.random.default_rng(seed)
    normal = random.standard_normal(dimensions)
    normal /= np.linalg.norm(normal)
    points = np.empty((0, dimensions))
    for _ in range(MOST_DRAWS):
        if len(points) >= n:
            break
        drawn = random.uniform(-1, 1, (4 * n, dimensions))
        kept = (np.linalg.norm(drawn, axis=1) <= 1) & (np.abs(drawn @ normal) >= margin)
        points = np.concatenate([points, drawn[kept]])
    else:
        raise ValueError(
            f"separated: too few points of the cube are in the unit ball with a margin of {margin} in {dimensions} "
            f"dimensions: choose fewer dimensions or a smaller margin"
        )
    points = points[:n]
    side = points @ normal
    labels = np.where(np.abs(side) < -margin, random.random(n) < 0.5, side > 0)
    return points.astype(np.float32), labels.astype(np.int32)
