"""One equation of a jaxpr as a Python expression."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.graph.codegen.literals import Number, array_text, setting, settings, tuple_of, type_name

INFIX = {
    "add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^",
    "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip
# Functions of one array with the same name in lax.
UNARY = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clz", "conj",
    "cos", "cosh", "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "imag", "is_finite", "lgamma",
    "log", "log1p", "log2", "logistic", "neg", "one_minus_square", "population_count", "real", "rsqrt", "sign", "sin",
    "sinh", "sqrt", "square", "stop_gradient", "tan", "tanh",
}  # fmt: skip
# Those that jnp has under the same name and with the same derivative.
_MODULES: dict[str, str] = dict.fromkeys(
    ("abs", "cos", "exp", "expm1", "floor", "log", "log1p", "log2", "sin", "sqrt", "square", "tanh"), "jnp"
)
SEVERAL = {
    "atan2", "clamp", "complex", "igamma", "igamma_grad_a", "igammac", "nextafter", "polygamma", "pow",
    "random_gamma_grad", "rem", "shift_left", "shift_right_arithmetic", "shift_right_logical", "zeta",
}  # fmt: skip
REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod",
              "reduce_and": "all", "reduce_or": "any"}  # fmt: skip
OF_BITS = {"reduce_and", "reduce_or", "reduce_xor"}

CALLBACKS = {"debug_callback", "debug_print", "io_callback", "pure_callback"}


def expression(eqn: Any, x: Sequence[str]) -> str:
    """The expression of an equation, given the expressions x of its inputs."""
    name = eqn.primitive.name
    if any(name in forms for forms in (INFIX, UNARY, SEVERAL, REDUCTIONS, OF_BITS, _FORMS)):
        check_parameters(eqn)
    if name == "div" and not jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.inexact):
        return f"lax.div({', '.join(map(array_text, x))})"  # Python's / of integers is a float
    if name in INFIX:
        return f"{x[0]} {INFIX[name]} {x[1]}"
    if name in UNARY:
        return f"-{x[0]}" if name == "neg" else f"{_MODULES.get(name, 'lax')}.{name}({x[0]})"
    if name in ("max", "min"):
        return f"jnp.{name}imum({x[0]}, {x[1]})"
    if name in SEVERAL:
        return f"lax.{name}({', '.join(map(array_text, x))})"
    if name == "reduce_xor" or (name in OF_BITS and eqn.invars[0].aval.dtype != bool):
        return f"lax.{name}({array_text(x[0])}, {setting(jx.reduced_axes(eqn))})"
    if name in REDUCTIONS:
        return f"{x[0]}.{REDUCTIONS[name]}({_axes(jx.reduced_axes(eqn))}{_kept_dtype(eqn)})"
    if name in _FORMS:
        return _formed(_FORMS[name], eqn, [*map(array_text, x)])
    if name == "select_n":
        return _select(eqn, x)
    if name in CALLBACKS:
        raise ValueError(f"source: {placed(eqn)} calls back into Python, which has no source form; remove it from f")
    raise ValueError(f"source: {placed(eqn)} has no form in Python here")


def check_parameters(eqn: Any) -> None:
    """Raises ValueError for an equation with a parameter that no form here reads."""
    if unknown := jx.unknown_parameter(eqn):
        name, value = unknown
        raise ValueError(f"source: {placed(eqn)} with {name}={value} has no form in Python here")


def check_primitive(eqn: Any) -> None:
    """Raises ValueError for a primitive of another library that has the name of one of JAX's."""
    if jx.is_foreign(eqn.primitive):
        raise ValueError(f"source: {placed(eqn)}, which is not JAX's of that name, has no form in Python here")


def placed(eqn: Any) -> str:
    """The name of an equation's primitive and its line of source code."""
    return f"{eqn.primitive.name} (at {jx.where(eqn)})" if jx.where(eqn) else eqn.primitive.name


def targets(eqn: Any, names: list[str]) -> list[str]:
    """The names of an equation's outputs, in the order in which the expression returns them."""
    return [names[i] for i in (1, 0, 2)] if eqn.primitive.name == "svd" and len(names) == 3 else names


def _formed(form: str | Callable[..., str], eqn, x) -> str:
    if not isinstance(form, str):
        return form(eqn, x, jx.parameters(eqn))
    parts = {"x": x, "first": x[:1], "second": x[1:2], "others": x[1:]}
    return form.format(p=_Parameters(jx.parameters(eqn)), **{name: ", ".join(part) for name, part in parts.items()})


def _axes(axes):
    return setting(axes[0] if len(axes) == 1 else tuple(axes))


def _kept_dtype(eqn):
    """The dtype argument that keeps jnp from accumulating short integers in longer ones."""
    dtype = eqn.outvars[0].aval.dtype
    widened = jnp.issubdtype(dtype, jnp.integer) and dtype.itemsize < jnp.asarray(0).dtype.itemsize
    is_total = eqn.primitive.name in ("reduce_sum", "reduce_prod")
    return f", dtype={type_name(dtype)}" if widened and is_total else ""


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
    keywords = settings(p, "precision", "preferred_element_type")
    return f"lax.dot_general({x[0]}, {x[1]}, {setting(p['dimension_numbers'])}{keywords})"


class _Parameters:
    """An equation's parameters as attributes, as text."""

    def __init__(self, params):
        self.params = params

    def __getattr__(self, name):
        return setting(self.params[name])


def _convolution(eqn, x, p):
    keywords = settings(p, "lhs_dilation", "rhs_dilation", "dimension_numbers", "feature_group_count",
                    "batch_group_count", "precision", "preferred_element_type")  # fmt: skip
    return (
        f"lax.conv_general_dilated({x[0]}, {x[1]}, {setting(p['window_strides'])}, {setting(p['padding'])}{keywords})"
    )


def _broadcast(eqn, x, p):
    if not eqn.invars[0].aval.shape:
        return f"jnp.full({setting(p['shape'])}, {x[0]})"
    return f"lax.broadcast_in_dim({x[0]}, {setting(p['shape'])}, {setting(p['broadcast_dimensions'])})"


def _sliced(eqn, x, p):
    strides = p["strides"] or [1] * len(p["start_indices"])
    cut = zip(p["start_indices"], p["limit_indices"], strides, eqn.invars[0].aval.shape, strict=True)
    parts = [f"{a or ''}:{'' if b == n else b}{f':{s}' if s > 1 else ''}" for a, b, s, n in cut]
    return f"{x[0]}[{', '.join(parts) or '...'}]"


def _window(function, start, of_integers, of_booleans="False"):
    def written(eqn, x, p):
        dtype = eqn.invars[0].aval.dtype
        of_others = of_integers if jnp.issubdtype(dtype, jnp.integer) else of_booleans
        first = start if jnp.issubdtype(dtype, jnp.inexact) else of_others.format(type_name(dtype))
        window = ", ".join(setting(p[k]) for k in ("window_dimensions", "window_strides", "padding"))
        keywords = settings(p, "base_dilation", "window_dilation")
        return f"lax.reduce_window({x[0]}, {first}, {function}, {window}{keywords})"

    return written


# Pooling by the comparison that selects the entry to which its derivative flows.
POOLINGS: dict[str, Callable[..., str]] = {
    "ge": _window("lax.max", "-jnp.inf", "int(jnp.iinfo({}).min)"),
    "le": _window("lax.min", "jnp.inf", "int(jnp.iinfo({}).max)", "True"),
}


def _unpooled(eqn, x, p):
    """The derivative of max pooling, which has no public function in lax, as the pullback of the pooling."""
    if not jnp.issubdtype(eqn.invars[1].aval.dtype, jnp.inexact):
        raise ValueError(f"source: {placed(eqn)} of {eqn.invars[1].aval.dtype} has no form in Python here")
    pooled = POOLINGS[p["select_prim"].name]
    around = p | {"base_dilation": None, "window_dilation": None}
    return f"jax.vjp(lambda x: {pooled(eqn, ['x'], around)}, {x[1]})[1]({x[0]})[0]"


def _select(eqn, x):
    which, *cases = x
    if eqn.invars[0].aval.dtype != bool or len(cases) != 2:
        return f"lax.select_n({', '.join(map(array_text, x))})"
    no, yes = map(array_text, cases) if all(isinstance(c, Number) for c in cases) else cases
    return f"jnp.where({which}, {yes}, {no})"


def _gather(eqn, x, p):
    numbers, keywords = setting(p["dimension_numbers"]), settings(p, *_INDEXING_SETTINGS)
    filled = "" if p["fill_value"] is None else f", fill_value={setting(p['fill_value'])}"
    return f"lax.gather({x[0]}, {x[1]}, {numbers}, {setting(p['slice_sizes'])}{keywords}{filled})"


def _scatter(eqn, x, p):
    if eqn.primitive.name == "scatter" and p["update_jaxpr"] is not None and jx.opened(p["update_jaxpr"]).eqns:
        raise ValueError(f"source: {placed(eqn)} of a function, x.at[i].apply(f), has no form in Python here")
    function = eqn.primitive.name.replace("-", "_")
    return f"lax.{function}({', '.join(x)}, {setting(p['dimension_numbers'])}{settings(p, *_INDEXING_SETTINGS)})"


def _svd(eqn, x, p):
    shape = f"full_matrices={p['full_matrices']}, subset_by_index={setting(p['subset_by_index'])}"
    call = f"lax.linalg.svd({x[0]}, {shape}, compute_uv={p['compute_uv']})"
    return call if p["compute_uv"] else f"({call},)"


def _transposed(eqn, x, p):
    return f"{x[0]}.T" if p["permutation"] == (1, 0) else f"{x[0]}.transpose({setting(p['permutation'])})"


def _reshaped(eqn, x, p):
    if p["dimensions"] is None:
        return f"{x[0]}.reshape({setting(p['new_sizes'])})"
    return f"lax.reshape({x[0]}, {setting(p['new_sizes'])}, {setting(p['dimensions'])})"


def _gamma(eqn, x, p):
    if eqn.invars[0].aval.shape:
        raise ValueError(f"source: {placed(eqn)} of several keys has no form in Python here")
    function, dtype = "loggamma" if p["log_space"] else "gamma", type_name(eqn.outvars[0].aval.dtype)
    return f"jax.random.{function}({x[0]}, {x[1]}, dtype={dtype})"


def _of_keys(function):
    """A function of jax.random, which takes a single key, mapped over an array of keys."""

    def written(eqn, x, p):
        ndim = len(eqn.invars[0].aval.shape)
        call = function.format(key="key" if ndim else x[0], p=_Parameters(p))
        return f"{'jax.vmap(' * ndim}lambda key: {call}{')' * ndim}({x[0]})" if ndim else call

    return written


_INDEXING_SETTINGS = "indices_are_sorted", "unique_indices", "mode"

# Each form is a function of an equation, its inputs and its parameters; or a template of the inputs x, the first, the
# second and all other inputs, and the parameters p.
_FORMS: dict[str, str | Callable[..., str]] = {
    "argmax": "lax.argmax({x}, *{p.axes}, {p.index_dtype})",
    "argmin": "lax.argmin({x}, *{p.axes}, {p.index_dtype})",
    "bitcast_convert_type": "lax.bitcast_convert_type({x}, {p.new_dtype})",
    "broadcast_in_dim": _broadcast,
    "cholesky": "lax.linalg.cholesky({x}, symmetrize_input=False)",
    "concatenate": "jnp.concatenate(({x},), {p.dimension})",
    "conv_general_dilated": _convolution,
    "convert_element_type": "{x}.astype({p.new_dtype})",
    "cumlogsumexp": "lax.cumlogsumexp({x}, {p.axis}, {p.reverse})",
    "cummax": "lax.cummax({x}, {p.axis}, {p.reverse})",
    "cummin": "lax.cummin({x}, {p.axis}, {p.reverse})",
    "cumprod": "lax.cumprod({x}, {p.axis}, {p.reverse})",
    "cumsum": "lax.cumsum({x}, {p.axis}, {p.reverse})",
    "dot_general": _dot,
    "dynamic_slice": lambda eqn, x, p: f"lax.dynamic_slice({x[0]}, {tuple_of(x[1:])}, {setting(p['slice_sizes'])})",
    "dynamic_update_slice": lambda eqn, x, p: f"lax.dynamic_update_slice({x[0]}, {x[1]}, {tuple_of(x[2:])})",
    "eigh": "lax.linalg.eigh({x}, lower={p.lower}, symmetrize_input=False, sort_eigenvalues={p.sort_eigenvalues}, "
    "subset_by_index={p.subset_by_index})",
    "empty2": "jnp.zeros((), {p.dtype})",  # an unspecified value
    "fft": "lax.fft({x}, {p.fft_type}, {p.fft_lengths})",
    "gather": _gather,
    "householder_product": "lax.linalg.householder_product({x})",
    "integer_pow": "lax.integer_pow({x}, {p.y})",
    "iota": "lax.broadcasted_iota({p.dtype}, {p.shape}, {p.dimension})",
    # Comparisons of searchsorted, in which NaN is larger than all numbers.
    "le_to": "({first} <= {second}) | ({second} != {second})",
    "lt_to": "({first} < {second}) | ({first} == {first}) & ({second} != {second})",
    "lu": "lax.linalg.lu({x})",
    "lu_pivots_to_permutation": "lax.linalg.lu_pivots_to_permutation({x}, {p.permutation_size})",
    "not": "~{x}",
    "pad": "lax.pad({x}, {p.padding_config})",
    "polynomial": "lax.polynomial({first}, ({others},))",
    "qr": "lax.linalg.qr({x}, pivoting={p.pivoting}, full_matrices={p.full_matrices})",
    "random_bits": _of_keys("jax.random.bits({key}, {p.shape}, jnp.uint{p.bit_width})"),
    "random_fold_in": "jax.random.fold_in({x})",
    "random_gamma": _gamma,
    "random_seed": "jax.random.key({x}, impl={p.impl})",
    "random_split": _of_keys("jax.random.split({key}, {p.shape})"),
    "random_unwrap": "jax.random.key_data({x})",
    "random_wrap": "jax.random.wrap_key_data({x}, impl={p.impl})",
    "reduce_precision": "lax.reduce_precision({x}, {p.exponent_bits}, {p.mantissa_bits})",
    "reduce_window_max": POOLINGS["ge"],
    "reduce_window_min": POOLINGS["le"],
    "reduce_window_sum": _window("lax.add", "0.0", "0"),
    "regularized_incomplete_beta": "lax.betainc({x})",
    "reshape": _reshaped,
    "rev": "lax.rev({x}, {p.dimensions})",
    "round": "lax.round({x}, {p.rounding_method})",
    "scatter": _scatter,
    "scatter-add": _scatter,
    "scatter-max": _scatter,
    "scatter-min": _scatter,
    "scatter-mul": _scatter,
    "scatter-sub": _scatter,
    "select_and_scatter_add": _unpooled,
    "slice": _sliced,
    "sort": "lax.sort(({x},), {p.dimension}, {p.is_stable}, {p.num_keys})",
    "split": "lax.split({x}, {p.sizes}, {p.axis})",
    "squeeze": "lax.squeeze({x}, {p.dimensions})",
    "stack": "jnp.stack(({x},), {p.axis})",
    "svd": _svd,
    "tile": "jnp.tile({x}, {p.reps})",
    "top_k": "lax.top_k({x}, {p.k}, axis={p.axis})",
    "transpose": _transposed,
    "triangular_solve": "lax.linalg.triangular_solve({x}, left_side={p.left_side}, lower={p.lower}, "
    "transpose_a={p.transpose_a}, conjugate_a={p.conjugate_a}, unit_diagonal={p.unit_diagonal})",
    "tridiagonal_solve": "lax.linalg.tridiagonal_solve({x})",
    "unstack": "jnp.unstack({x}, axis={p.axis})",
}
