"""Sets made on the spot, for questions that need no more."""

import numpy as np


def xor() -> tuple[np.ndarray, np.ndarray]:
    """The four points (0, 0), (1, 0), (0, 1), (1, 1), (4, 2), and their answers 0, 1, 1, 0, (4,) integers."""
    x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    return x, np.array([0, 1, 1, 0], np.int32)


def separated(n: int, margin: float, seed: int, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Points of length up to 1, (n, dimensions), on both sides of a plane through 0, (n,) 0 or 1, none nearer than
    `margin` to it.

    A negative margin mixes the classes: points nearer than −margin have their answer by chance.
    """
    if not -1 <= margin < 0.9:
        raise ValueError(f"separated: margin must be in [−1, 0.9), got {margin}")
    random = np.random.default_rng(seed)
    normal = random.standard_normal(dimensions)
    normal /= np.linalg.norm(normal)
    points = np.empty((0, dimensions))
    while len(points) < n:
        drawn = random.uniform(-1, 1, (4 * n, dimensions))
        kept = (np.linalg.norm(drawn, axis=1) <= 1) & (np.abs(drawn @ normal) >= margin)
        points = np.concatenate([points, drawn[kept]])
    points = points[:n]
    side = points @ normal
    answers = np.where(np.abs(side) < -margin, random.random(n) < 0.5, side > 0)
    return points.astype(np.float32), answers.astype(np.int32)
