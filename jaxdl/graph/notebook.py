"""Pictures that a notebook shows."""

from dataclasses import dataclass


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
