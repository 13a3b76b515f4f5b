"""Peak figures of accelerators, from the makers' data sheets."""

from typing import NamedTuple


class Chip(NamedTuple):
    """Peak figures of one accelerator.

    Attributes:
        name: What it is called in reports.
        bfloat16: Floating-point operations per second of matrix products in bfloat16.
        float32: The same in float32, at JAX's default precision (TF32 on NVIDIA GPUs, bfloat16 passes on TPUs).
        memory: Bytes of memory.
        bandwidth: Bytes per second between chip and memory.
        link: Bytes per second that a chip sends to other chips.
    """

    name: str
    bfloat16: float
    float32: float
    memory: float
    bandwidth: float
    link: float


# NVIDIA's data sheets of A100 SXM, H100 SXM and H200 SXM (dense, NVLink in one direction), Google's of TPUs.
CHIPS = {
    "a100": Chip("NVIDIA A100, 80 GB", 312e12, 156e12, 80e9, 2.04e12, 300e9),
    "h100": Chip("NVIDIA H100, 80 GB", 989e12, 495e12, 80e9, 3.35e12, 450e9),
    "h200": Chip("NVIDIA H200, 141 GB", 989e12, 495e12, 141e9, 4.8e12, 450e9),
    "tpu-v4": Chip("TPU v4", 275e12, 275e12, 32e9, 1.23e12, 300e9),
    "tpu-v5e": Chip("TPU v5e", 197e12, 197e12, 16e9, 0.82e12, 200e9),
    "tpu-v5p": Chip("TPU v5p", 459e12, 459e12, 95e9, 2.77e12, 600e9),
    "tpu-v6e": Chip("TPU v6e", 918e12, 918e12, 32e9, 1.64e12, 448e9),
}
"""Accelerators that `plan` knows: a100, h100, h200, tpu-v4, tpu-v5e, tpu-v5p and tpu-v6e."""
