"""A tuned function: what was chosen and why, and how it is saved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import jax

from jaxdl import __version__
from jaxdl import jaxpr as jx
from jaxdl.report import Report, Table, bytes_text, ratio_text
from jaxdl.tuner.choices import Choices, groups, with_choices
from jaxdl.tuner.rematerializing import check_max_bytes, cut

AGAIN = "tune it again"


@dataclass(frozen=True)
class Alternative:
    """A whole program beside the tuned one.

    Attributes:
        name: "tuned", "hand" (the function as written), "automatic" or "stock".
        ratio: The time of its gradient over that of the tuned one; None if it was refused.
        stored_bytes: Bytes that `jax.vjp` keeps for the backward pass, without arguments of the function.
        temporary_bytes: Bytes that the compiled gradient allocates; None where the compiler does not say.
        refused: Why it cannot be used, else empty.
    """

    name: str
    ratio: float | None
    stored_bytes: int
    temporary_bytes: int | None
    refused: str = ""


@dataclass(frozen=True)
class Other:
    """An option that was not chosen.

    Attributes:
        option: "hand", a form of the op, "automatic" or "stock".
        ratio: The time of the whole gradient with it, over that with the choice; None if it was refused.
        bytes: The residual bytes with it, less those with the choice.
        refused: Why it cannot be used, else empty.
    """

    option: str
    ratio: float | None
    bytes: int
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.option} refused"
        more = f" {'−' if self.bytes < 0 else '+'}{bytes_text(abs(self.bytes))}" if self.bytes else ""
        return f"{self.option} {ratio_text(self.ratio)}{more}"


@dataclass(frozen=True)
class Decision:
    """What was chosen for identical sites.

    Attributes:
        key: What identifies them: the name, types of the arguments, settings.
        name: The name of the function that has the rule.
        types: The types of its inputs.
        where: The source line of the first of them.
        count: How often they are called.
        choice: What was chosen: "hand", a form of the op, "automatic" or "stock".
        alternatives: The time and the residual bytes of the whole gradient with another option, in place of the choice.
    """

    key: str
    name: str
    types: tuple[str, ...]
    where: str
    count: int
    choice: str
    alternatives: tuple[Other, ...]


@dataclass(frozen=True)
class Setting:
    """What a result of `tune` depends on: types of the arguments, platform, device and versions."""

    types: tuple[str, ...]
    platform: str
    device: str
    jax: str
    jaxdl: str

    @classmethod
    def here(cls, arrays: Sequence[Any]) -> Setting:
        """The present setting, with arguments of these types."""
        device = jax.devices()[0]
        types = tuple(map(jx.typed, map(jax.typeof, arrays)))
        return cls(types, device.platform, device.device_kind, jax.__version__, __version__)


@dataclass(frozen=True, eq=False)
class Tuned(Report):
    """A function with the derivatives that `tune` chose: called as f is, and composed with JAX's transformations.

    Attributes:
        f: The function that was tuned.
        setting: What the choices were measured for.
        choices: The choices.
        compiler_options: The options to compile it with: `jax.jit(…, compiler_options=tuned.compiler_options)`.
        max_bytes: The budget for what the backward pass keeps, if there is one.
        residuals: Which values the backward pass keeps, as `cut` says it; None for what the derivatives keep.
        alternatives: The tuned program and the uniform ones, with their costs.
        decisions: What was chosen for each group of identical sites.
        note: What was not tried.
    """

    f: Callable[..., Any]
    setting: Setting
    choices: Choices
    compiler_options: dict[str, str]
    max_bytes: int | None
    residuals: dict[str, Any] | None
    alternatives: tuple[Alternative, ...]
    decisions: tuple[Decision, ...]
    note: str = ""
    __name__: str = field(init=False, repr=False)

    def __post_init__(self):
        name = getattr(self.f, "__name__", type(self.f).__name__)
        vars(self).update(__name__=name, __qualname__=name, __doc__=self.f.__doc__, __wrapped__=self.f)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value of f, on arguments of the types it was tuned for.

        Raises:
            ValueError: The types, the platform, the rules that f calls or, where what the backward pass keeps was
                chosen too, its program are others.
        """
        jaxpr, result, arrays = jx.trace_arrays(self.f, args, kwargs)
        self._check(jaxpr, arrays)
        program = with_choices(jaxpr, self.choices)
        if self.residuals is not None:
            try:
                program, _ = cut(program, arrays, self.max_bytes, decisions=self.residuals)
            except ValueError as error:
                why = str(error).removeprefix("rematerialized: ")
                raise ValueError(f"{self.__name__} was tuned, but {why}; {AGAIN}") from error
        return jax.tree.unflatten(result, program(*arrays))

    def _check(self, jaxpr, arrays):
        here = Setting.here(arrays)
        for name in ("types", "platform"):
            then, now = getattr(self.setting, name), getattr(here, name)
            if then != now:
                show = lambda x: x if isinstance(x, str) else ", ".join(x)
                raise ValueError(f"{self.__name__} was tuned for {name} {show(then)}, got {show(now)}: {AGAIN}")
        new = {group.key for group in groups(jaxpr)} - {decision.key for decision in self.decisions}
        if new:
            raise ValueError(f"{self.__name__} calls {min(new)}, which it did not call when it was tuned: {AGAIN}")

    def jit(self, step: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
        """`jax.jit` with the chosen compiler options.

        Args:
            step: A function that calls the tuned one.
            **settings: Of `jax.jit`.

        Returns:
            The jitted function.
        """
        return jax.jit(step, compiler_options=self.compiler_options or None, **settings)

    def tables(self) -> tuple[Table, ...]:
        """The whole program beside the uniform ones; then each choice with its alternatives, if there was any."""
        return (self._whole(), *([self.table()] if self.decisions else []))

    def _whole(self):
        columns = "program", "time", "residuals", "temporary"
        rows = [
            (a.name, ratio_text(a.ratio), bytes_text(a.stored_bytes), bytes_text(a.temporary_bytes))
            for a in self.alternatives
        ]
        refused = [f"{a.name}: {a.refused}" for a in self.alternatives if a.refused]
        options = [f"compiler option {name}={value!r}" for name, value in self.compiler_options.items()]
        note = "Time of the gradient over that of the tuned one."
        nothing = "" if self.decisions else "It calls no hand-written rule, so there was no derivative to choose."
        lines = filter(None, [note, nothing, self._memory(), *options, *refused, self.note])
        title = f"{self.__name__}, tuned on {self.setting.device}, JAX {self.setting.jax}"
        return Table(title, columns, rows, "\n".join(lines))

    def _memory(self):
        if self.residuals is None:
            return ""
        budget = "" if self.max_bytes is None else f", within {bytes_text(self.max_bytes)}"
        return f"Some values are computed again in the backward pass instead of kept{budget}."

    def table(self) -> Table:
        """One row for each choice, with the alternatives that were measured."""
        columns = "rule", "inputs", "line", "calls", "choice", "instead"
        rows = [
            (
                d.name, ", ".join(d.types), os.path.basename(d.where.partition(" ")[0]), str(d.count), d.choice,
                "; ".join(map(str, d.alternatives)),
            )
            for d in self.decisions
        ]  # fmt: skip
        refused = {
            f"{d.name}, {o.option}: {o.refused}": None for d in self.decisions for o in d.alternatives if o.refused
        }
        has_times = any(row[-1] for row in rows)
        instead = ["Instead: the time of the whole gradient with another choice."] if has_times else []
        return Table("Choices", columns, rows, "\n".join([*instead, *refused]), words=6).without_empty_columns()

    def to_json(self) -> dict[str, Any]:
        """All but the function; `Tuned.load` reads it."""
        return {
            "setting": asdict(self.setting),
            "choices": {"default": self.choices.default, "chosen": dict(self.choices.chosen)},
            "compiler_options": self.compiler_options,
            "max_bytes": self.max_bytes,
            "residuals": self.residuals,
            "alternatives": [asdict(a) for a in self.alternatives],
            "decisions": [asdict(d) for d in self.decisions],
            "note": self.note,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str], f: Callable[..., Any]) -> Tuned:
        """Reads what `save("….json")` has written.

        Args:
            path: The file.
            f: The function that was tuned.

        Returns:
            The tuned function, without a new measurement.

        Raises:
            TypeError: f is not a function.
            ValueError: The file is none of `Tuned`, or was written on another platform, device or version of JAX or
                jaxdl, whose choices may be wrong here.
            OSError: The file cannot be read.
        """
        if not callable(f):
            raise TypeError(f"Tuned.load: f must be the function that was tuned, got {f!r}")
        try:
            data = json.loads(Path(path).read_text())
            setting = _made(Setting, data["setting"], types=tuple(data["setting"]["types"]))
            chosen = tuple(sorted(data["choices"]["chosen"].items()))
            check_max_bytes("Tuned.load", data["max_bytes"])
            found = cls(
                f=f,
                setting=setting,
                choices=Choices(data["choices"]["default"], chosen),
                compiler_options=dict(data["compiler_options"]),
                max_bytes=data["max_bytes"],
                residuals=data["residuals"],
                alternatives=tuple(_made(Alternative, a) for a in data["alternatives"]),
                decisions=tuple(_decision(d) for d in data["decisions"]),
                note=data["note"],
            )
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"Tuned.load: {path} does not hold a tuned function ({error!r})") from error
        here = Setting.here(())
        for name in ("platform", "device", "jax", "jaxdl"):
            if getattr(setting, name) != getattr(here, name):
                raise ValueError(
                    f"Tuned.load: {path} was measured with {name} {getattr(setting, name)}, "
                    f"here is {getattr(here, name)}: {AGAIN}"
                )
        return found


def _made(kind, data, **changed):
    return kind(**{field.name: data[field.name] for field in fields(kind)} | changed)


def _decision(data):
    others = tuple(_made(Other, other) for other in data["alternatives"])
    return _made(Decision, data, types=tuple(data["types"]), alternatives=others)


jx.hide_from_source_lines(__file__)
