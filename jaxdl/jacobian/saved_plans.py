"""Plans in files: what was decided for a program in one process is used for the same program in another.

A plan is saved as JSON, with the versions, the types, a digest of the program, digests of the arrays that the function
closes over and whose values the plan depends on, and a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax

from jaxdl import __version__
from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.program_digests import program_digest, value_digest
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.report import Report
from jaxdl.report.files import plain

AGAIN = "make a new plan: jacobian.{method}(f).plan(*args).save(path)"


@dataclass(frozen=True, eq=False)
class SavedPlan(Report):
    """A plan that `save("plan.json")` writes and that its method takes as `plan="plan.json"`.

    Attributes:
        function: The function it was made for.
    """

    method: ClassVar[str] = ""

    function: VectorFunction | None = field(default=None, kw_only=True, repr=False)

    def data(self) -> dict[str, Any]:
        """The decisions, and what a reader of the file wants to know."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, with what it holds for."""
        data = plain({"method": self.method, **self.data(), "made_for": _setting(self.function)})
        return data | {"checksum": _checksum(data)}


def read_plan(plan: SavedPlan | str | os.PathLike[str], kind: type[SavedPlan], function: VectorFunction) -> Any:
    """The data of a plan, checked: it was made for this function.

    Args:
        plan: The plan, or the path of a file.
        kind: Its class.
        function: The function it is to be used for.

    Raises:
        ValueError: If the file holds no plan of this kind, is damaged, or was made with another version, for other
            types, for another program, or for other values of arrays that the function closes over.
        OSError: If the file cannot be read.
    """
    name, again = function.name, AGAIN.format(method=kind.method)
    where = "the plan" if isinstance(plan, SavedPlan) else str(plan)
    data = plan.to_json() if isinstance(plan, SavedPlan) else _read(plan, name, again)
    if data.get("method") != kind.method:
        raise ValueError(f"jacobian.{name}: {where} holds no plan of {kind.method}; {again}")
    then, now = data["made_for"], _setting(function)
    for setting in then, now:
        if "unknown" in setting:
            raise ValueError(f"jacobian.{name}: {where} cannot be compared with this program: {setting['unknown']}")
    for key, what in (("jax", "with JAX"), ("jaxdl", "with jaxdl"), ("types", "for"), ("program", "for the program")):
        if then[key] != now[key]:
            raise ValueError(f"jacobian.{name}: {where} was made {what} {then[key]}, this is {now[key]}; {again}")
    for i, digest in then["constants"].items():
        value = function.constant(int(i))
        if value is None or value_digest(value) != digest:
            raise ValueError(
                f"jacobian.{name}: {where} depends on the values of an array that the function closes over "
                f"({jx.typed(function.others[int(i)])}), and they are others here, or traced; {again}"
            )
    return data


def with_plan(
    prepare: Callable[..., Any], plan: SavedPlan | str | os.PathLike[str] | None, kind: type[SavedPlan]
) -> Callable[..., Any]:
    """`prepare` with the checked data of a plan as its argument `decided`, if there is a plan."""
    if plan is None:
        return prepare
    return lambda function: prepare(function, decided=read_plan(plan, kind, function))


def _read(path: str | os.PathLike[str], name: str, again: str) -> dict[str, Any]:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        checksum = data.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"jacobian.{name}: {path} holds no plan ({error!r}); {again}") from None
    if checksum != _checksum(data):
        raise ValueError(f"jacobian.{name}: {path} is damaged: its checksum is that of other data; {again}")
    return data


def _checksum(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


def _setting(function: VectorFunction | None) -> dict[str, Any]:
    """What a plan holds for; why that is unknown if the program cannot be compared between processes."""
    if function is None:
        return {"unknown": "it was made by hand"}
    inputs, others, outputs = (
        ", ".join(map(jx.typed, types)) for types in (function.inputs, function.others, function.outputs)
    )
    try:
        program = program_digest(function.jaxpr)
    except ValueError as error:
        return {"unknown": str(error)}
    return {
        "jax": jax.__version__,
        "jaxdl": __version__,
        "types": f"({inputs}; {others}) → ({outputs})",
        "program": program,
        "constants": {str(i): value_digest(value) for i, value in function.used.items()},
    }
