"""Numbers as people read them. None, an unknown figure, is written –."""

import math
from typing import Any


def number_text(x: float | None) -> str:
    """A number with three significant digits: 0.0123, 12.3, 1.2e-09."""
    if x is None:
        return "–"
    if x == 0 or not math.isfinite(x):
        return f"{x:g}".replace("inf", "∞")
    return f"{x:.3g}" if 1e-3 <= abs(x) < 1e4 else f"{x:.1e}"


def count_text(n: float | None) -> str:
    """A count with a decimal prefix: 12, 3.4 k, 5.6 M, 7.8 G."""
    return _scaled(n, 1000, ("", "k", "M", "G", "T")).rstrip()


def plural_text(n: int, noun: str) -> str:
    """A count of things that have a regular plural: 1 fault, 2 faults, 1,000 rows."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def bytes_text(n: float | None) -> str:
    """Bytes with a decimal prefix: 12 B, 3.4 kB, 5.6 MB."""
    return _scaled(n, 1000, ("B", "kB", "MB", "GB", "TB"))


def seconds_text(s: float | None) -> str:
    """Seconds in a fitting unit: 12 µs, 3.4 ms, 5.6 s."""
    return _scaled(None if s is None else s * 1e6, 1000, ("µs", "ms", "s"))


def ratio_text(ratio: float | None) -> str:
    """A ratio: 0.35×."""
    return "–" if ratio is None or not math.isfinite(ratio) else f"{ratio:.2f}×"


def device_text(device: Any) -> str:
    """The kind of a device of JAX, and its platform where that says more: NVIDIA H100 (gpu), or cpu."""
    kind, platform = device.device_kind, device.platform
    return kind if kind.lower() == platform else f"{kind} ({platform})"


def _scaled(x, step, units):
    if x is None or math.isnan(x):
        return "–"
    unit = 0
    while abs(x) >= step * 0.9995 and unit < len(units) - 1:
        x, unit = x / step, unit + 1
    digits = 0 if unit == 0 and x == int(x) else 1 if abs(x) < 99.95 else 0
    return f"{x:.{digits}f} {units[unit]}"
