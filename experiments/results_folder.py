"""Writes the results of experiments: data, and pictures drawn from that data."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxdl.report import plain, write_whole

FOLDER = Path(__file__).parent / "results"


def keep(name: str, data: dict, finding: Callable, draw: Callable, *, quick: bool = False) -> None:
    """Prints the finding, and writes NAME.json and the pictures.

    Args:
        name: The name of the JSON file, which has the finding and the data.
        data: Numbers, strings, lists, dictionaries and arrays. Numbers are rounded to five significant digits.
        finding: From the data, as read back from the file, to a sentence.
        draw: From the data, as read back from the file, to the bytes of PNG pictures by file name.
        quick: Write to results/quick, which is not under version control.
    """
    folder = FOLDER / "quick" if quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    data = plain(rounded(data))
    sentence = finding(data)
    write_whole(folder / f"{name}.json", json.dumps({"finding": sentence, "data": data}).encode() + b"\n")
    for picture, png in draw(data).items():
        write_whole(folder / f"{picture}.png", png)
    print(sentence)


def rounded(value):
    """Data of Python types, with floats rounded to five significant digits."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else value
    return rounded(np.asarray(value).tolist())
