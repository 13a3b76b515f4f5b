"""How orbax writes checkpoints: a folder of arrays and notes each, under its final name once it is complete."""

import dataclasses
import functools
import json
import logging
import math
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import jax

from jaxdl.optional_packages import install_hint
from jaxdl.report import sync
from jaxdl.train.array_files import write_shards

RUN, NOTES = "run", "notes.json"  # the folder in a checkpoint, and a file in it


def checkpoint_manager(folder: Path, keep: int, measured: dict[int, float], thread: Executor) -> Any:
    """A manager of orbax that keeps the last checkpoints and the best one.

    Args:
        folder: The folder of the checkpoints.
        keep: How many of the last ones are kept.
        measured: A number for each step; the lowest is the best.
        thread: What writes the files.
    """
    with install_hint("orbax-checkpoint", "train.Checkpoint"):
        import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import PreservationPolicy

    class LastAndBest(PreservationPolicy):
        def should_preserve(self, checkpoints, *, context):
            steps = [c.step for c in checkpoints]
            stay = {*sorted(steps)[-keep:], min(steps, key=lambda step: measured.get(step, math.inf), default=None)}
            return [step in stay for step in steps]

    options = ocp.CheckpointManagerOptions(
        preservation_policy=LastAndBest(),
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    return ocp.CheckpointManager(folder, options=options, item_handlers={RUN: _handling()[0](thread)})


def save_arguments(shards: dict[str, Any], notes: dict[str, Any]) -> Any:
    """The arguments with which the manager saves these arrays and notes."""
    return _handling()[1](shards, notes)


@functools.cache
def _handling():
    """The handler with which orbax writes a run's arrays and notes, and the class of its arguments."""
    import orbax.checkpoint as ocp

    class Handler(ocp.AsyncCheckpointHandler):
        def __init__(self, thread):
            self.thread = thread

        async def async_save(self, directory, args):
            return [self.thread.submit(_write, Path(directory), args.shards, args.notes)]

        def save(self, directory, args):
            _write(Path(directory), args.shards, args.notes)

        def restore(self, directory, args=None):
            raise NotImplementedError

    @ocp.args.register_with_handler(Handler, for_save=True, for_restore=True)
    @dataclasses.dataclass
    class Save(ocp.args.CheckpointArgs):
        shards: dict[str, Any]
        notes: dict[str, Any]

    return Handler, Save


def _write(folder, shards, notes):
    path = write_shards(folder, shards)
    sync(path)
    if jax.process_index() == 0:
        (folder / NOTES).write_text(json.dumps(notes), encoding="utf-8")
        sync(folder / NOTES)
    sync(folder)
    sync(folder.parent)


def is_useful(record: logging.LogRecord) -> bool:
    """False for orbax's messages about its own metadata files, which jaxdl does not read."""
    return "_CHECKPOINT_METADATA" not in record.getMessage()
