"""`jaxdl data`: which data sets there are, preparing one, looking at one."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxdl.cli.usage import BadUsage, usage
from jaxdl.data import Samples, data_folder, listed, prepare, samples
from jaxdl.report import Table, bytes_text, figure, png, terminal, write_whole

COLUMNS = 8
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]


def list_sets(folder: Folder = None) -> int:
    """Which data sets can be read: the embedded digits, and those prepared in a folder.

    Exit status: 0 all can be read, 2 a data set in the folder cannot be.

    Args:
        folder: Where data sets are; without it TFDS_DATA_DIR, else ~/tensorflow_datasets.
    """
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
    note = "" if len(sets) > 1 else "more: jaxdl data prepare NAME, of any set of TensorFlow Datasets"
    Table(
        f"Data sets in {data_folder(folder)}", ("name", "version", "features", "examples", "size"), rows, note, 3
    ).print()
    if broken:
        raise BadUsage("; ".join(f"{name} cannot be read: {why}" for name, why in broken.items()))
    return 0


def prepare_set(name: Name, folder: Folder = None) -> int:
    """Download a data set and prepare it, so that it is read without TensorFlow (array_record files).

    Some sets need TensorFlow for this: pip install 'jaxdl[prepare]'.

    Args:
        name: Of TensorFlow Datasets, such as mnist, cifar10, glue/sst2 or mnist:3.0.1.
        folder: Where it goes; without it TFDS_DATA_DIR, else ~/tensorflow_datasets.
    """
    console = terminal()
    if name == "digits":
        console.print("digits come with jaxdl: there is nothing to prepare")
        return 0
    path = usage(prepare, name, folder)
    console.print(f"{name} is in {path}", soft_wrap=True)
    return 0


def show_set(
    name: Name,
    folder: Folder = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None,
    count: Annotated[int, tyro.conf.arg(metavar="N")] = 24,
) -> int:
    """Draw some of a data set's images with their labels.

    Args:
        name: digits, or a name of TensorFlow Datasets with images and labels.
        folder: Where data sets are; without it TFDS_DATA_DIR, else ~/tensorflow_datasets.
        out: Where the picture goes; without it NAME.png.
        count: How many images, taken by chance, the same each time.
    """
    out = out or Path(f"{name.replace('/', '-').replace(':', '-')}.png")
    if out.suffix != ".png":
        raise BadUsage(f"--out must end in .png, got {out}")
    if count < 1:
        raise BadUsage(f"--count must be 1 or more, got {count}")
    usage(write_whole, out, _picture(usage(samples, name, count, folder)))
    terminal().print(f"written: {out}", soft_wrap=True)
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


Command = (
    Annotated[Any, tyro.conf.subcommand("list", constructor=list_sets)]
    | Annotated[Any, tyro.conf.subcommand("prepare", constructor=prepare_set)]
    | Annotated[Any, tyro.conf.subcommand("show", constructor=show_set)]
)


def data(command: Annotated[Command, tyro.conf.arg(name="")]) -> int:
    """List data sets, prepare one, or draw some of its images."""
    return command
