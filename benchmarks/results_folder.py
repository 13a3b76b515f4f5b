"""Where benchmarks keep what they measured, and what it was measured on."""

import json
import os
from pathlib import Path

import jax

FOLDER = Path(__file__).parent / "results"


def machine() -> dict:
    """What was measured on: device, number of processors, version of JAX."""
    device = jax.devices()[0]
    return {"device": f"{device.device_kind} ({device.platform})", "cores": os.cpu_count(), "jax": jax.__version__}


def keep(name: str, data: dict, table, png: bytes | None = None) -> None:
    """Prints the table, and writes NAME.json, NAME.md and, if there is one, NAME.png."""
    table.print()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps({"machine": machine(), **data}, indent=1) + "\n")
    note = f"\n\n{table.note}" if table.note else ""
    (FOLDER / f"{name}.md").write_text(f"{table.title}\n\n{table.markdown()}{note}\n")
    if png:
        (FOLDER / f"{name}.png").write_bytes(png)
