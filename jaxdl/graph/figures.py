"""Figures as files that are the same for the same picture."""

import io

from matplotlib.figure import Figure


def image_bytes(figure: Figure, kind: str, dpi: float = 160) -> bytes:
    """The bytes of an SVG, PNG or PDF file without the date; set `svg.hashsalt` for the same identifiers in SVG."""
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=dates.get(kind))
    return buffer.getvalue()
