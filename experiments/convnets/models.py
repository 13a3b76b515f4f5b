"""The networks that are compared, with their training settings."""

from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxdl import nn
from jaxdl.nn.inception_networks import conv_relu
from jaxdl.nn.nin import mlpconv


class Candidate(NamedTuple):
    """A network make(classes) for images of `side` × `side` pixels, or of any size if side is None; rate and epochs."""

    make: Callable[[int], nn.Layer]
    rate: float
    epochs: int
    side: int | None = None

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """AdamW with a linear warm-up over a tenth of the steps, then a cosine decay to zero."""
        rate = optax.warmup_cosine_decay_schedule(0.0, self.rate, steps // 10, steps)
        return optax.adamw(rate, weight_decay=0.02)


def nin(classes: int) -> nn.Layer:
    """Without the paper's ReLU on the scores, behind which a class may stop learning: one did for one of two seeds."""
    return nn.serial(
        mlpconv((32, 32), 3, padding="SAME"), nn.max_pool(2), nn.dropout(0.1),
        mlpconv((64, 64), 3, padding="SAME"), nn.dropout(0.1),
        mlpconv((64,), 3, padding="SAME"), nn.conv(classes, 1), nn.global_avg_pool)  # fmt: skip


def inception_net(classes: int) -> nn.Layer:
    return nn.serial(
        conv_relu(16, 3), nn.inception(16, (16, 24), (8, 12), 12), nn.max_pool(2),
        nn.inception(24, (24, 40), (8, 16), 16), nn.global_avg_pool, nn.dropout(0.2), nn.dense(classes))  # fmt: skip


def averaged_scores(classes: int) -> nn.Layer:
    """The fully convolutional network with scores averaged over the image; for 8 × 8 images there is one score."""
    return nn.then(nn.fully_convolutional(classes), lambda scores: scores.mean((1, 2)))


def small_vit(classes: int) -> nn.Layer:
    """Patches of 4 × 4 pixels: 4 on the digits, 49 on MNIST, 64 on CIFAR-10."""
    return nn.vit(classes, patch=4, width=64, depth=2, heads=4, hidden=128, dropout_rate=0.1)


CANDIDATES = {
    "MLP": Candidate(lambda classes: nn.mlp(128, 128, classes, dropout_rate=0.1), 3e-3, 100),
    "LeNet-5": Candidate(nn.lenet5, 3e-3, 40, side=28),
    "NiN": Candidate(nin, 3e-3, 40),
    "Inception": Candidate(inception_net, 5e-3, 40),
    "fully convolutional": Candidate(averaged_scores, 3e-3, 80),
    "ViT": Candidate(small_vit, 3e-3, 120),
}
QUICK = {
    "LeNet-5": CANDIDATES["LeNet-5"]._replace(epochs=5),
    "ViT": CANDIDATES["ViT"]._replace(epochs=12),
}
