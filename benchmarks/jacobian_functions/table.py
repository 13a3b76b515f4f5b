"""All functions of the benchmark, by name and size."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.jacobian_functions import lectures, sparse_systems, systems
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
        make: `make()` returns (f, x) or (f, x, Jacobian by hand).
        batch: How many points to differentiate by vmap; 0 for one point without vmap.
        quick: Whether it is measured by default.
    """

    group: str
    name: str
    size: int
    make: Callable
    batch: int = 0
    quick: bool = True

    @property
    def label(self) -> str:
        return f"{self.name} {self.size}" + (f", batch {self.batch}" if self.batch else "")


def sizes(group, name, make, quick, full=()):
    """A row for each size; make(size) returns the function."""
    return [Row(group, name, n, lambda n=n: make(n), quick=n in quick) for n in (*quick, *full)]


SYSTEMS = {
    "Roe flux 1-D": systems.roe_1d,
    "Roe flux 3-D": systems.roe_3d,
    "robot arm": systems.robot_arm,
    "heart dipole": systems.heart_dipole,
    "propane": systems.propane,
    "Black-Scholes": systems.black_scholes,
    "Helmholtz": systems.helmholtz,
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
        Row("systems", name, batch, make, batch, quick=batch == 512)
        for name, make in SYSTEMS.items()
        for batch in (1, 16, 512, 4096)
    ],
    *sizes("sparse", "Brusselator", sparse_systems.brusselator_1d, (1000,), (500, 2000)),
    *sizes("sparse", "Brusselator 2-D", sparse_systems.brusselator_2d, (968,), (512, 2048)),
    *sizes("sparse", "Burgers", sparse_systems.burgers, (1000,), (500, 2000)),
    *sizes("sparse", "Rosenbrock", sparse_systems.rosenbrock, (1000,), (500, 2000)),
    *sizes("sparse", "banded", sparse_systems.banded, (1000,), (500, 2000)),
    *sizes("sparse", "arrow", sparse_systems.arrow, (1000,), (500, 2000)),
    *sizes("sparse", "heat by scan", sparse_systems.heat, (1000,), (500, 2000)),
]
