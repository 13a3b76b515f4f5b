"""Equations of a jaxpr as lines of Python source, one statement each."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.graph.codegen.control_flow import CONTROL
from jaxdl.graph.codegen.expressions import check_parameters, check_primitive, expression, targets
from jaxdl.graph.codegen.literals import FEW, Number, constant, tuple_of

OPENED = jx.CALLS | jx.CHECKPOINTS | jx.CUSTOM_RULES | {"custom_vmap_call", "jaxdl_op"}
PASSING = jx.IDENTITIES | {"jaxdl_obstacle", "jaxdl_one_way", "jaxdl_back"}


class Writer:
    """Collects the lines of one function.

    Args:
        letter: New variables are named by this letter and a number.
        taken: Names that are in use.
        numbers: The numbers for new variables.
    """

    def __init__(self, letter: str = "u", taken: Iterable[str] = (), numbers: Iterator[int] | None = None):
        self.lines: list[str] = []
        self.letter: str = letter
        self.taken: set[str] = set(taken)
        self.numbers: Iterator[int] = numbers or itertools.count(1)

    def write(self, jaxpr: Any, inputs: Sequence[str], wanted: list[bool] | None = None) -> list[str]:
        """Writes the equations that the wanted outputs of a closed jaxpr need.

        Returns:
            The expression of each output, "" for those not wanted.
        """
        plain = jx.opened(jaxpr)
        self.taken |= {x for x in inputs if x.isidentifier()}
        wanted = [True] * len(plain.outvars) if wanted is None else wanted
        known = dict(zip(plain.invars, inputs, strict=True))
        needed = jx.needed_equations(jaxpr, wanted)
        read = {v for v in plain.outvars if jx.is_variable(v)}.union(
            *(filter(jx.is_variable, e.invars) for e in needed)
        )
        constants = zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True)
        known |= {v: self._constant(c) for v, c in constants if v in read}
        for eqn in needed:
            known.update(zip(eqn.outvars, self._equation(eqn, [_read(v, known) for v in eqn.invars]), strict=True))
        return [_read(v, known) if w else "" for v, w in zip(plain.outvars, wanted, strict=True)]

    def _constant(self, x) -> str:
        text = constant(x)
        if x.size <= FEW:
            return text
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return name

    def _equation(self, eqn, inputs) -> Sequence[str]:
        """Writes an equation, and returns the expressions of its outputs."""
        check_primitive(eqn)
        name, without_line = eqn.primitive.name, _without_line(eqn, inputs)
        if without_line is not None:
            return without_line
        if name in OPENED | CONTROL.keys():
            check_parameters(eqn)
        if name in OPENED:
            return self.write(jx.primal_of(eqn), inputs)
        if name == "jaxdl_linear":  # the tangent of an op
            return self.write(jx.definition_of(eqn), inputs)
        if name == "custom_linear_solve":
            return self._solved(eqn, inputs)
        if name == "cond" and isinstance(inputs[0], Number):
            return self.write(jx.branches(eqn)[int(inputs[0].value)], inputs[1:])
        if name in CONTROL:
            return CONTROL[name](self, eqn, inputs)
        names = [self.fresh() for _ in eqn.outvars]
        left = tuple_of(targets(eqn, names)) if eqn.primitive.multiple_results else names[0]
        self.lines.append(f"{left} = {expression(eqn, inputs)}")
        return names

    def _solved(self, eqn, inputs):
        """A linear solve, by its own solver."""
        system = jx.linear_solve(eqn)
        return self.write(system.solve, system.inputs_of_solve(inputs))

    def fresh(self) -> str:
        """A new name."""
        return next(n for n in (f"{self.letter}{i}" for i in self.numbers) if n not in self.taken)

    def function(
        self, stem: str, parameters: Callable[..., Any], jaxpr: Any, result: Callable[[list[str]], str]
    ) -> str:
        """Writes a jaxpr as a local function.

        Args:
            stem: How its name starts.
            parameters: From names for the inputs to the parameter list with the first lines of the function, and the
                expressions of the inputs.
            jaxpr: The jaxpr.
            result: From the expressions of the outputs to what the function returns.

        Returns:
            The name of the function.
        """
        inner = Writer(self.letter, self.taken, self.numbers)
        names = [inner.fresh() for _ in jx.opened(jaxpr).invars]
        head, given = parameters(names)
        outputs = inner.write(jaxpr, given)
        name = f"{stem}_{self.fresh()}"
        self.lines += ["", f"def {name}({head[0]}):", *[f"    {line}" for line in (*head[1:], *inner.lines)]]
        self.lines += [f"    return {result(outputs)}", ""]
        return name


def _without_line(eqn, inputs):
    """The expressions of the outputs if the equation needs no line, being the identity or a constant; else None."""
    name = eqn.primitive.name
    same_type = name == "convert_element_type" and eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype
    if name in PASSING or same_type:
        return inputs[: len(eqn.outvars)]
    if name == "platform_index":
        return [Number(np.int32(_branch_here(jx.parameters(eqn)["platforms"])))]
    if name == "select_n" and isinstance(inputs[0], Number):
        return [inputs[1 + int(inputs[0].value)]]
    are_numbers = all(isinstance(x, Number) for x in inputs) and all(map(_is_number, eqn.outvars))
    if are_numbers and not eqn.effects and name not in OPENED | CONTROL.keys():
        return [*map(Number, jx.binding(eqn)(*[x.value for x in inputs]))]
    return None


def _is_number(v):
    return not v.aval.shape and not jax.numpy.issubdtype(v.aval.dtype, jax.dtypes.extended)


def _read(atom, known):
    return known[atom] if jx.is_variable(atom) else Number(np.asarray(atom.val, atom.aval.dtype))


def _branch_here(platforms):
    here = jax.default_backend()
    return next((i for i, group in enumerate(platforms) if group is None or here in group), len(platforms) - 1)
