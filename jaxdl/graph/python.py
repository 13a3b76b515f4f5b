"""Equations of a jaxpr as lines of Python, one statement each."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx

FEW = 16  # numbers of a constant that are written out

INFIX = {
    "add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|", "xor": "^",
    "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip
# Of one array, by the same name in lax.
UNARY = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "conj", "cos", "cosh", "digamma", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "imag", "is_finite", "lgamma", "log", "log1p", "logistic",
    "neg", "real", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "tan", "tanh",
}  # fmt: skip
# Those that jnp has by the same name with the same derivative.
_MODULES = dict.fromkeys(
    ("abs", "cos", "exp", "expm1", "floor", "log", "log1p", "sin", "sqrt", "square", "tanh"), "jnp"
)
SEVERAL = {"atan2", "clamp", "nextafter", "pow", "shift_left", "shift_right_logical"}
REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod",
              "reduce_and": "all", "reduce_or": "any"}  # fmt: skip
OPENED = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "remat2",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
    "jaxdl_op",
}


class Number(str):
    """A number that is written in the program, and its value."""

    value: np.ndarray

    def __new__(cls, x):
        x = np.asarray(x)
        text = super().__new__(cls, _number(x))
        text.value = x
        return text

    @property
    def typed(self) -> str:
        return str(self) if self.endswith(")") and self.startswith("jnp") else f"{_type(self.value.dtype)}({self})"


def _number(x):
    """As it stands beside arrays, whose type it takes."""
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return f"{_type(x.dtype)}({x.item()})"  # a Python number might not fit
    if x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer):
        return repr(x.item())
    value = x.astype(np.complex128).item() if jnp.issubdtype(x.dtype, jnp.complexfloating) else float(x)
    if np.isfinite(value):
        return f"({value!r})" if repr(value).startswith("-") else repr(value)
    return "jnp.nan" if np.isnan(value) else "jnp.inf" if value == np.inf else "(-jnp.inf)"


def array(text: str) -> str:
    """An expression for an array, also of a number."""
    return text.typed if isinstance(text, Number) else text


class Writer:
    """Collects the lines of one function. New variables are `letter` with a number."""

    def __init__(self, letter: str = "u", taken: set[str] = frozenset(), numbers=None):
        self.lines: list[str] = []
        self.letter, self.taken = letter, set(taken)
        self.numbers = numbers or itertools.count(1)

    def write(self, jaxpr, inputs: list[str], wanted: list[bool] | None = None) -> list[str]:
        """Writes what the wanted outputs of a closed jaxpr need; expressions for them, "" for those not wanted."""
        plain = jx.opened(jaxpr)
        self.taken |= {x for x in inputs if x.isidentifier()}
        wanted = [True] * len(plain.outvars) if wanted is None else wanted
        known = dict(zip(plain.invars, inputs, strict=True))
        known |= {v: _constant(c) for v, c in zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True)}
        asked = {v for v, w in zip(plain.outvars, wanted, strict=True) if w and jx.is_variable(v)}
        needed = []
        for eqn in reversed(plain.eqns):
            if any(v in asked for v in eqn.outvars) or eqn.effects:
                needed.append(eqn)
                asked |= {v for v in eqn.invars if jx.is_variable(v)}
        for eqn in reversed(needed):
            known.update(zip(eqn.outvars, self._equation(eqn, [_read(v, known) for v in eqn.invars]), strict=True))
        return [_read(v, known) if w else "" for v, w in zip(plain.outvars, wanted, strict=True)]

    def _equation(self, eqn, inputs) -> list[str]:
        """Writes an equation; expressions for its outputs."""
        name = eqn.primitive.name
        if name in OPENED:
            body = jx.primal_of(eqn) if name != "jit" else eqn.params["jaxpr"]
            return self.write(body, inputs)
        if name == "custom_linear_solve":
            return self._solved(eqn, inputs)
        if name in ("name", "optimization_barrier", "copy", "copy_p"):
            return inputs
        if name == "platform_index":
            return [Number(np.int32(_branch_here(eqn.params["platforms"])))]
        if name == "cond" and isinstance(inputs[0], Number):
            return self.write(eqn.params["branches"][int(inputs[0].value)], inputs[1:])
        if name == "convert_element_type" and eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype:
            return inputs
        if (
            all(isinstance(x, Number) for x in inputs)
            and not any(v.aval.shape for v in eqn.outvars)
            and not eqn.effects
        ):
            return [*map(Number, jx.binding(eqn)(*[x.value for x in inputs]))]
        if name in _CONTROL:
            return _CONTROL[name](self, eqn, inputs)
        names = [self.fresh() for _ in eqn.outvars]
        left = _tuple(names) if eqn.primitive.multiple_results else names[0]
        self.lines.append(f"{left} = {_expression(eqn, inputs)}")
        return names

    def _solved(self, eqn, inputs):
        """By its own solver: the last inputs are the right-hand sides, the first those of matvec, vecmat, solve, …"""
        counts, bodies = eqn.params["const_lengths"], eqn.params["jaxprs"]
        before = counts.matvec + counts.vecmat
        of_solve, rest = inputs[before : before + counts.solve], inputs[before + counts.solve :]
        return self.write(bodies.solve, [*of_solve, *rest[counts.transpose_solve :]])

    def fresh(self) -> str:
        return next(n for n in (f"{self.letter}{i}" for i in self.numbers) if n not in self.taken)

    def function(self, stem, parameters, jaxpr, result) -> str:
        """Writes a function of a jaxpr; `parameters(names)` its parameter list, `result(outputs)` what it returns."""
        inner = Writer(self.letter, self.taken, self.numbers)
        names = [inner.fresh() for _ in jx.opened(jaxpr).invars]
        head, given = parameters(names)
        outputs = inner.write(jaxpr, given)
        name = f"{stem}_{self.fresh()}"
        self.lines += ["", f"def {name}({head[0]}):", *[f"    {line}" for line in (*head[1:], *inner.lines)]]
        self.lines += [f"    return {result(outputs)}", ""]
        return name


def _read(atom, known):
    return known[atom] if jx.is_variable(atom) else Number(np.asarray(atom.val, atom.aval.dtype))


def _constant(x):
    if np.size(x) > FEW:
        raise ValueError(
            f"source: the function closes over a constant {x.dtype}[{','.join(map(str, np.shape(x)))}]; "
            f"make it an argument"
        )
    return f"jnp.asarray({np.asarray(x).tolist()}, {_type(x.dtype)})"


def _type(dtype):
    return "jnp.bool_" if dtype == np.dtype(bool) else f"jnp.{np.dtype(dtype).name}"


def _branch_here(platforms):
    here = jax.default_backend()
    return next((i for i, group in enumerate(platforms) if group is None or here in group), len(platforms) - 1)


# --- expressions -------------------------------------------------------------------------------------


def _expression(eqn, x) -> str:
    name = eqn.primitive.name
    if name in INFIX:
        return f"{x[0]} {INFIX[name]} {x[1]}"
    if name in UNARY:
        return f"-{x[0]}" if name == "neg" else f"{_MODULES.get(name, 'lax')}.{name}({x[0]})"
    if name in ("max", "min"):
        return f"jnp.{name}imum({x[0]}, {x[1]})"
    if name in SEVERAL:
        return f"lax.{name}({', '.join(map(array, x))})"
    if name in REDUCTIONS:
        return f"{x[0]}.{REDUCTIONS[name]}({_axes(eqn.params['axes'])})"
    if name in _FORMS:
        return _formed(_FORMS[name], eqn, [*map(array, x)])
    if name == "select_n":
        return _select(eqn, x)
    raise ValueError(f"source: {name} (at {jx.where(eqn)}) has no form in Python here")


def _formed(form, eqn, x):
    if callable(form):
        return form(eqn, x, eqn.params)
    parts = {"x": x, "first": x[:1], "second": x[1:2], "others": x[1:], "after": x[2:]}
    return form.format(p=_Parameters(eqn.params), **{name: ", ".join(part) for name, part in parts.items()})


def _axes(axes):
    return _setting(axes[0] if len(axes) == 1 else tuple(axes))


def _dot(eqn, x, p):
    (left, right), batch = p["dimension_numbers"]
    ranks = tuple(len(v.aval.shape) for v in eqn.invars)
    same = {v.aval.dtype for v in (*eqn.invars, *eqn.outvars)}
    if batch == ((), ()) and p["precision"] is None and len(same) == 1 and max(ranks) <= 2:
        if not left and 0 in ranks:
            return f"{x[0]} * {x[1]}"
        if not left and ranks == (1, 1):
            return f"jnp.outer({x[0]}, {x[1]})"
        if len(left) == 1 and min(ranks) >= 1:
            a, b = (
                name if last else f"{name}.T"
                for name, last in zip(x, (left[0] == ranks[0] - 1, right[0] == 0), strict=True)
            )
            return f"{a} @ {b}"
    settings = _settings(p, "precision", "preferred_element_type")
    return f"lax.dot_general({x[0]}, {x[1]}, {_setting(p['dimension_numbers'])}{settings})"


def _settings(p, *names) -> str:
    """Those that are not None, as keyword arguments."""
    return "".join(f", {n}={_setting(p[n])}" for n in names if p[n] is not None)


def _setting(value) -> str:
    if isinstance(value, jax.lax.Precision | jax.lax.GatherScatterMode | jax.lax.RoundingMethod):
        return f"lax.{type(value).__name__}.{value.name}"
    if isinstance(value, np.dtype):
        return _type(value)
    if type(value).__name__.endswith("DimensionNumbers"):
        fields = getattr(value, "_fields", None) or list(value.__dataclass_fields__)
        told = ", ".join(f"{k}={_setting(getattr(value, k))}" for k in fields if getattr(value, k) is not None)
        return f"lax.{type(value).__name__}({told})"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_setting, value))}{',' if len(value) == 1 else ''})"
    return repr(value.item() if isinstance(value, np.generic) else value)


class _Parameters:
    """An equation's parameters as text, as attributes."""

    def __init__(self, params):
        self.params = params

    def __getattr__(self, name):
        return _setting(self.params[name])


def _convolution(eqn, x, p):
    settings = _settings(p, "lhs_dilation", "rhs_dilation", "dimension_numbers", "feature_group_count",
                         "batch_group_count", "precision", "preferred_element_type")  # fmt: skip
    return (
        f"lax.conv_general_dilated({x[0]}, {x[1]}, {_setting(p['window_strides'])}, {_setting(p['padding'])}{settings})"
    )


def _broadcast(eqn, x, p):
    if not eqn.invars[0].aval.shape:
        return f"jnp.full({_setting(p['shape'])}, {x[0]})"
    return f"lax.broadcast_in_dim({x[0]}, {_setting(p['shape'])}, {_setting(p['broadcast_dimensions'])})"


def _sliced(eqn, x, p):
    strides = p["strides"] or [1] * len(p["start_indices"])
    cut = zip(p["start_indices"], p["limit_indices"], strides, eqn.invars[0].aval.shape, strict=True)
    parts = [f"{a or ''}:{'' if b == n else b}{f':{s}' if s > 1 else ''}" for a, b, s, n in cut]
    return f"{x[0]}[{', '.join(parts)}]"


def _window(function, start):
    def written(eqn, x, p):
        first = f"jnp.asarray({start}, {_type(eqn.invars[0].aval.dtype)})"
        window = ", ".join(_setting(p[k]) for k in ("window_dimensions", "window_strides", "padding"))
        settings = _settings(p, "base_dilation", "window_dilation")
        return f"lax.reduce_window({x[0]}, {first}, {function}, {window}{settings})"

    return written


def _select(eqn, x):
    which, *cases = x
    if eqn.invars[0].aval.dtype != bool or len(cases) != 2:
        return f"lax.select_n({', '.join(map(array, x))})"
    no, yes = map(array, cases) if all(isinstance(c, Number) for c in cases) else cases
    return f"jnp.where({which}, {yes}, {no})"


def _gather(eqn, x, p):
    numbers, settings = _setting(p["dimension_numbers"]), _settings(p, *_MOVES, "fill_value")
    return f"lax.gather({x[0]}, {x[1]}, {numbers}, {_setting(p['slice_sizes'])}{settings})"


def _scatter(eqn, x, p):
    return f"lax.scatter_add({', '.join(x)}, {_setting(p['dimension_numbers'])}{_settings(p, *_MOVES)})"


_MOVES = "indices_are_sorted", "unique_indices", "mode"

# Functions of an equation, its inputs and its parameters; or templates, of the inputs x, the first of them, the others,
# and the parameters p.
_FORMS = {
    "argmax": "lax.argmax({x}, *{p.axes}, {p.index_dtype})",
    "argmin": "lax.argmin({x}, *{p.axes}, {p.index_dtype})",
    "bitcast_convert_type": "lax.bitcast_convert_type({x}, {p.new_dtype})",
    "broadcast_in_dim": _broadcast,
    "concatenate": "jnp.concatenate(({x},), {p.dimension})",
    "conv_general_dilated": _convolution,
    "convert_element_type": "{x}.astype({p.new_dtype})",
    "cumlogsumexp": "lax.cumlogsumexp({x}, {p.axis}, {p.reverse})",
    "cummax": "lax.cummax({x}, {p.axis}, {p.reverse})",
    "cummin": "lax.cummin({x}, {p.axis}, {p.reverse})",
    "cumprod": "lax.cumprod({x}, {p.axis}, {p.reverse})",
    "cumsum": "lax.cumsum({x}, {p.axis}, {p.reverse})",
    "dot_general": _dot,
    "dynamic_slice": "lax.dynamic_slice({first}, ({others},), {p.slice_sizes})",
    "dynamic_update_slice": "lax.dynamic_update_slice({first}, {second}, ({after},))",
    "gather": _gather,
    "integer_pow": "lax.integer_pow({x}, {p.y})",
    "iota": "lax.broadcasted_iota({p.dtype}, {p.shape}, {p.dimension})",
    "not": "~{x}",
    "pad": "lax.pad({x}, {p.padding_config})",
    "random_bits": "jax.random.bits({x}, {p.shape}, jnp.uint{p.bit_width})",
    "random_fold_in": "jax.random.fold_in({x})",
    "random_split": "jax.random.split({x}, {p.shape})",
    "random_unwrap": "jax.random.key_data({x})",
    "random_wrap": "jax.random.wrap_key_data({x})",
    "reduce_window_max": _window("lax.max", "-jnp.inf"),
    "reduce_window_sum": _window("lax.add", "0"),
    "reshape": "{x}.reshape({p.new_sizes})",
    "rev": "lax.rev({x}, {p.dimensions})",
    "round": "lax.round({x}, {p.rounding_method})",
    "scatter-add": _scatter,
    "slice": _sliced,
    "sort": "lax.sort(({x},), {p.dimension}, {p.is_stable}, {p.num_keys})",
    "split": "lax.split({x}, {p.sizes}, {p.axis})",
    "squeeze": "lax.squeeze({x}, {p.dimensions})",
    "stack": "jnp.stack(({x},), {p.axis})",
    "transpose": lambda eqn, x, p: f"{x[0]}.T" if len(p["permutation"]) == 2 else f"{x[0]}.transpose{p['permutation']}",
}


# --- control flow -------------------------------------------------------------------------------------


def _tuple(names):
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _scan(writer, eqn, inputs):
    p = eqn.params
    inputs = [*map(array, inputs)]
    k, m = p["num_consts"], p["num_consts"] + p["num_carry"]
    fixed, carry, rows = inputs[:k], inputs[k:m], inputs[m:]

    def parameters(names):
        unpack = [f"{_tuple(part)} = {whole}" for part, whole in ((names[k:m], "carry"), (names[m:], "row")) if part]
        return ["carry, row", *unpack], [*fixed, *names[k:]]

    ends = lambda outputs: f"{_tuple(outputs[: p['num_carry']])}, {_tuple(outputs[p['num_carry'] :])}"
    step = writer.function("step", parameters, p["jaxpr"], ends)
    names = [writer.fresh() for _ in eqn.outvars]
    left = f"{_tuple(names[: p['num_carry']])}, {_tuple(names[p['num_carry'] :])}"
    writer.lines.append(
        f"{left} = lax.scan({step}, {_tuple(carry)}, {_tuple(rows)}, length={p['length']}, reverse={p['reverse']})"
    )
    return names


def _while(writer, eqn, inputs):
    p = eqn.params
    inputs = [*map(array, inputs)]
    k, m = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    carry = lambda fixed: (
        lambda names: (["carry", f"{_tuple(names[len(fixed) :])} = carry"], [*fixed, *names[len(fixed) :]])
    )
    test = writer.function("test", carry(inputs[:k]), p["cond_jaxpr"], lambda outputs: outputs[0])
    body = writer.function("body", carry(inputs[k:m]), p["body_jaxpr"], _tuple)
    names = [writer.fresh() for _ in eqn.outvars]
    writer.lines.append(f"{_tuple(names)} = lax.while_loop({test}, {body}, {_tuple(inputs[m:])})")
    return names


def _cond(writer, eqn, inputs):
    inputs = [*map(array, inputs)]
    branches = [
        writer.function("branch", lambda names: ([", ".join(names)], names), branch, _tuple)
        for branch in eqn.params["branches"]
    ]
    names = [writer.fresh() for _ in eqn.outvars]
    operands = "".join(f", {x}" for x in inputs[1:])
    writer.lines.append(f"{_tuple(names)} = lax.switch({inputs[0]}, [{', '.join(branches)}]{operands})")
    return names


_CONTROL = {"scan": _scan, "while": _while, "cond": _cond}
