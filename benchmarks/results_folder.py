"""Saves results of benchmarks, with the machine they were measured on."""

import json
import os
from pathlib import Path

import jax

from jaxdl.report import device_text, write_whole

FOLDER = Path(__file__).parent / "results"


def machine() -> dict:
    """The device, the number of processors and JAX's version."""
    device = jax.devices()[0]
    return {"device": device_text(device), "cores": os.cpu_count(), "jax": jax.__version__}


def keep(name: str, data: dict, table, png: bytes | None = None) -> None:
    """Prints the table, and writes NAME.json, NAME.md and, with a picture, NAME.png."""
    table.print()
    FOLDER.mkdir(exist_ok=True)
    write_whole(FOLDER / f"{name}.json", json.dumps({"machine": machine(), **data}, indent=1).encode() + b"\n")
    note = f"\n\n{table.note}" if table.note else ""
    write_whole(FOLDER / f"{name}.md", f"{table.title}\n\n{table.markdown()}{note}\n".encode())
    if png:
        write_whole(FOLDER / f"{name}.png", png)
