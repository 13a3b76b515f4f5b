"""`jaxdl data`: lists data sets, prepares one, draws some of its images."""

from pathlib import Path

import numpy as np

from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.data import Samples, data_folder, listed, prepare, samples
from jaxdl.report import Table, bytes_text, figure, png, terminal, write_whole

COLUMNS = 8
MOST = 400  # images in a picture, which is drawn in a quarter of a minute


def list_sets(folder: Path | None) -> int:
    """Prints the data sets that can be read; raises BadUsage where one cannot be."""
    if folder and not folder.is_dir():
        raise BadUsage(f"there is no folder {folder}")
    sets, broken = usage(listed, folder)
    rows = [
        (
            s.name, s.version,
            ", ".join(f"{name}: {text}" for name, text in s.features.items()),
            ", ".join(f"{split} {count:,}" for split, count in s.splits.items()),
            bytes_text(s.size),
        )
        for s in sets
    ]  # fmt: skip
    note = "" if len(sets) > 1 else "to add one of TensorFlow Datasets: jaxdl data prepare NAME"
    columns = "name", "version", "features", "examples", "size"
    Table(f"Data sets in {data_folder(folder and str(folder))}", columns, rows, note, words=3).print()
    if broken:
        raise BadUsage("; ".join(f"{name} cannot be read: {why}" for name, why in broken.items()))
    return 0


def prepare_set(name: str, folder: Path | None) -> int:
    """Downloads and prepares a data set."""
    console = terminal()
    if name == "digits":
        console.print("digits come with jaxdl: there is nothing to prepare")
        return 0
    path = usage(prepare, name, folder)
    console.print(f"{name} is in {path}", soft_wrap=True)
    return 0


def show_set(name: str, folder: Path | None, out: Path | None, count: int) -> int:
    """Draws some images of a data set with their labels."""
    out = out or Path(f"{name.replace('/', '-').replace(':', '-')}.png")
    if out.suffix != ".png":
        raise BadUsage(f"--out must end in .png, got {out}")
    if not 1 <= count <= MOST:
        raise BadUsage(f"--count must be from 1 to {MOST}, got {count}")
    usage(write_whole, out, _picture(usage(samples, name, count, folder)))
    terminal().print(f"Written: {out}", soft_wrap=True)
    return 0


def _picture(shown: Samples) -> bytes:
    """The images in a grid, each under its label."""
    count = len(shown.images)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    with figure(rows, columns, width=1.1 * COLUMNS, height=1.35 * rows + 0.3, squeeze=False) as (fig, axes):
        fig.suptitle(f"{shown.name}: {count} of {shown.of:,} examples", x=0.01, ha="left", parse_math=False)
        for ax in axes.flat:
            ax.axis("off")
        for ax, image, label in zip(axes.flat, shown.images, shown.labels, strict=False):
            colours = {} if image.shape[-1] in (3, 4) else {"cmap": "gray", "vmin": 0, "vmax": _white(image)}
            ax.imshow(image if not colours else image[..., 0], **colours)
            ax.set_title(label, fontsize=8, loc="center", pad=2, parse_math=False)
        return png(fig)


def _white(image):
    return np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
