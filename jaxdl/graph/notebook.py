"""What a notebook shows of pictures and pages."""

from dataclasses import dataclass
from html import escape

FRAME_HEIGHT = "32rem"  # of a page


@dataclass(frozen=True)
class Svg:
    """A picture that a notebook shows inline.

    Attributes:
        text: The content of an SVG file.
    """

    text: str

    def _repr_svg_(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """The picture in its own size, on white; a wide one can be scrolled."""
        drawing = self.text[self.text.index("<svg") :]
        return f'<div style="overflow-x: auto; background: #fff">{drawing}</div>'

    def __repr__(self) -> str:
        return f"<SVG of {len(self.text):,} characters>"


def framed(page: str) -> str:
    """A whole page in a frame of its own, so that its styles and keys stay in it."""
    style = f"width: 100%; height: {FRAME_HEIGHT}; border: 1px solid #8888; resize: vertical"
    return f'<iframe style="{style}" srcdoc="{escape(page)}"></iframe>'
