"""All functions of the benchmark, by name and size, each with its Jacobian by hand where there is one."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.jacobian_functions import lectures, sparse_by_hand, sparse_systems, systems, systems_by_hand
from benchmarks.jacobian_functions.bundle_adjustment import bundle_adjustment
from benchmarks.jacobian_functions.gmm import gmm
from benchmarks.jacobian_functions.hand_tracking import hand_tracking, hand_tracking_on_triangles
from benchmarks.jacobian_functions.lstm import lstm


class Row(NamedTuple):
    """A function of one array.

    Attributes:
        group: Where it comes from.
        name: Its name.
        size: Its size.
        maker: `maker(size)` returns (f, x) or (f, x, Jacobian by hand).
        batch: How many points to differentiate by vmap; 0 for one point without vmap.
        quick: Whether it is measured by default.
    """

    group: str
    name: str
    size: int
    maker: Callable
    batch: int = 0
    quick: bool = True

    def make(self):
        """(f, x), and the Jacobian by hand where there is one, at this size."""
        return self.maker(self.size)

    @property
    def label(self) -> str:
        return f"{self.name} {self.size}" + (f", batch {self.batch}" if self.batch else "")


def sizes(group, name, maker, quick, full=()):
    """A row for each size."""
    return [Row(group, name, n, maker, quick=n in quick) for n in (*quick, *full)]


def with_jacobian(module, by_hand):
    """name ↦ a maker: the function of that name in `module` at a size, and its Jacobian of that name in `by_hand`."""
    return lambda name: lambda *size: (*getattr(module, name)(*size), *filter(None, [getattr(by_hand, name, None)]))


system = with_jacobian(systems, systems_by_hand)
sparse_system = with_jacobian(sparse_systems, sparse_by_hand)

SYSTEMS = {
    "Roe flux 1-D": system("roe_1d"),
    "Roe flux 3-D": system("roe_3d"),
    "robot arm": system("robot_arm"),
    "heart dipole": system("heart_dipole"),
    "propane": system("propane"),
    "Black-Scholes": system("black_scholes"),
    "Helmholtz": system("helmholtz"),
}
SPARSE = {
    "Brusselator": sparse_system("brusselator_1d"),
    "Burgers": sparse_system("burgers"),
    "Rosenbrock": sparse_system("rosenbrock"),
    "banded": sparse_system("banded"),
    "arrow": sparse_system("arrow"),
    "heat by scan": sparse_system("heat"),
}

ROWS = [
    *sizes("lectures", "ReLU layer", lambda n: lectures.relu_layer(n, n), (256,), (64, 1024)),
    *sizes("lectures", "ReLU layer, by W", lambda n: lectures.relu_layer_by_weights(n, n), (64,), (32, 128)),
    *sizes("lectures", "softmax", lectures.softmax, (1000,), (100,)),
    *sizes("lectures", "MLP", lambda n: lectures.mlp(3, n), (256,), (64, 512)),
    *sizes("lectures", "MLP, depth", lambda n: lectures.mlp(n, 128), (6,), (2, 12)),
    *sizes("lectures", "autoencoder, code", lectures.autoencoder, (8,), (2, 32, 128)),
    *sizes("lectures", "convolutions, side", lectures.convolutions, (16,), (8, 24)),
    *sizes("lectures", "shared weights", lectures.shared_weights, (16,), (32,)),
    *sizes("lectures", "attention, length", lectures.attention, (16,), (8, 32)),
    *sizes("ADBench", "Gaussian mixture, components", lambda k: gmm(1000, 10, k), (25,), (5, 50)),
    *sizes("ADBench", "bundle adjustment, observations", lambda n: bundle_adjustment(10, n // 4, n), (400,), (1000,)),
    *sizes("ADBench", "hand, points", hand_tracking, (100,), (400,)),
    *sizes("ADBench", "hand on triangles, points", hand_tracking_on_triangles, (100,)),
    *sizes("ADBench", "LSTM, layers", lambda n: lstm(n, 256), (2,), (4,)),
    *[
        Row("systems", name, batch, lambda _, make=make: make(), batch, quick=batch == 512)
        for name, make in SYSTEMS.items()
        for batch in (1, 16, 512, 4096)
    ],
    *sizes("sparse", "Brusselator 2-D", sparse_system("brusselator_2d"), (968,), (512, 2048)),
    *[row for name, make in SPARSE.items() for row in sizes("sparse", name, make, (1000,), (500, 2000))],
]
