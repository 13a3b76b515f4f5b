"""Walking and rewriting jaxprs: the one file that may look inside JAX.

A jaxpr here is what `jax.make_jaxpr` returns, closed over its constants; `opened` gives its equations.
"""

import functools
import inspect
import os
import sys

import jax
import numpy as np
from jax._src import util
from jax.experimental import jet, sparse
from jax.extend import linear_util, source_info_util
from jax.extend.core import mapped_aval, unmapped_aval
from jax.extend.core import primitives as primitives_of_jax
from jax.interpreters import ad, batching, mlir

# Primitives that take each entry alone; where those in STEPS have a derivative, it is 0.
STEPS = {
    "and", "ceil", "eq", "floor", "ge", "gt", "is_finite", "le", "lt", "ne", "not", "or", "round",
    "sign", "stop_gradient", "xor",
}  # fmt: skip
ELEMENTWISE = STEPS | {
    "abs", "acos", "acosh", "add", "add_any", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "cbrt", "clamp", "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div",
    "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "igamma", "igamma_grad_a", "igammac", "integer_pow",
    "lgamma", "log", "log1p", "log2", "logistic", "max", "min", "mul", "neg", "nextafter", "one_minus_square",
    "polygamma", "polynomial", "pow", "random_gamma_grad", "reduce_precision", "regularized_incomplete_beta", "rem",
    "rsqrt", "select_n", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "zeta",
}  # fmt: skip

# Primitives that only evaluate a jaxpr; that evaluate it again for the derivative; that have a rule for it.
CALLS = {"jit", "pjit", "closed_call", "core_call", "eval_jaxpr"}
CHECKPOINTS = {"checkpoint", "remat", "remat2"}
RULES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "call_hi_primitive"}

# Primitives that call back into Python.
CALLBACKS = {"debug_callback", "debug_print", "io_callback", "pure_callback"}

# The value of jit's `inline` with which its equations go straight into the enclosing jaxpr.
INLINE_WHEN_TRACED = getattr(getattr(jax, "Inline", None), "JAX_EARLY", True)

# How a rule of jet calls jet: with coefficients as its rules take them, scaled by factorials only in older versions.
UNSCALED = {"factorial_scaled": False} if "factorial_scaled" in inspect.signature(jet.jet).parameters else {}


def define(primitive, *, evaluate, typing, jvp, batch, transpose=None, plain=None):
    """Gives a primitive with many results its meaning under every transformation.

    evaluate(*args, **params), typing(*avals, **params), jvp(primals, tangents, **params),
    batch(size, axis_name, args, dims, **params), transpose(cotangents, *args, **params). Of Taylor series
    (jax.experimental.jet) those of plain(*args, **params) are taken, or of evaluate where there is none.
    """
    primitive.multiple_results = True
    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(typing)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=True))
    ad.primitive_jvps[primitive] = jvp
    if transpose:
        ad.primitive_transposes[primitive] = transpose

    def batched(size, name, _, args, dims, **params):
        if all(d is None for d in dims):
            y = primitive.bind(*args, **params)
            return y, [None] * len(y)
        return batch(size, name, args, dims, **params)

    batching.axis_primitive_batchers[primitive] = batched
    jet.jet_rules[primitive] = functools.partial(_taylor_series, plain or evaluate)


def keep_weakly(*classes):
    """Lets JAX's caches hold parameters of these classes by weak references, so that a trace dies with its function.

    Versions that do not know how keep the last few thousand traces.
    """
    getattr(util, "weakref_cache_key_types", set()).update(classes)


def _taylor_series(f, primals, series, **params):
    """The series of f's results; numbers without derivatives are constants."""
    smooth = [i for i, x in enumerate(primals) if jax.numpy.issubdtype(jax.numpy.result_type(x), jax.numpy.inexact)]

    def of_smooth(*moving):
        full = list(primals)
        for i, x in zip(smooth, moving, strict=True):
            full[i] = x
        return jax.tree.leaves(f(*full, **params))

    take = lambda values: [values[i] for i in smooth]
    try:
        return jet.jet(of_smooth, take(primals), take(series), **UNSCALED)
    except KeyError as error:  # how jet says that it has no rule
        name = params["call"].name if "call" in params else "the derivative of an op"
        raise NotImplementedError(
            f"{name}: jax.experimental.jet has no rule for {error}, which its definition uses"
        ) from None


# --- types ---------------------------------------------------------------------------------------


def varying_axes(x):
    """The mesh axes of an enclosing shard_map over which x differs from device to device."""
    manual = getattr(jax.typeof(x), "mat", None)
    return manual.varying if manual else frozenset()


def vary_alike(flat):
    """Inside shard_map, marks every array as varying over all axes over which any of them varies.

    The mark's transpose is the sum over devices, which a replicated argument's cotangent needs.
    """
    axes = frozenset().union(*map(varying_axes, flat))
    return [
        jax.lax.pcast(x, tuple(axes - varying_axes(x)), to="varying") if axes - varying_axes(x) else x for x in flat
    ]


def batched_type(size, aval):
    return unmapped_aval(size, 0, aval)


def unbatched_type(size, aval):
    return mapped_aval(size, 0, aval)


# --- tracing and reading ---------------------------------------------------------------------------


def trace(f, *types, axis=None):
    """The jaxpr of f and the shapes of its result, under a named axis (name, size) where there is one."""
    env = [axis] if axis and isinstance(axis[0], str) else None
    return jax.make_jaxpr(f, axis_env=env, return_shape=True)(*types)


def trace_arrays(f, args, kwargs):
    """Traces f in all arrays among its arguments; numbers, strings, functions and the like stay fixed.

    Returns the jaxpr, the structure of f's result, and the arrays in the jaxpr's order.
    """
    arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if is_array(leaf)]
    jaxpr, shape = trace(in_arrays(f, args, kwargs), *arrays)
    return jaxpr, jax.tree.structure(shape), arrays


def in_arrays(f, args, kwargs):
    """f as a function of the arrays among its arguments, in their order; the rest stays fixed."""
    leaves, tree = jax.tree.flatten((args, kwargs))

    def of_arrays(*arrays):
        given = iter(arrays)
        args, kwargs = tree.unflatten([next(given) if is_array(leaf) else leaf for leaf in leaves])
        return f(*args, **kwargs)

    return of_arrays


def is_array(leaf):
    """Whether an argument is an array or stands for one; plain numbers are not."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def is_key(x):
    """Whether an array holds keys of jax.random, which NumPy does not know."""
    return jax.numpy.issubdtype(x.dtype, jax.dtypes.extended)


def output_types(f, *types):
    """The types of f's outputs with all that JAX knows of them (weak types, shardings, mesh axes)."""
    return jax.make_jaxpr(f)(*types).out_avals


def is_staged(x):
    """Whether x stands for a value that is not there yet, inside jit and the like; under vmap alone it is there."""
    while hasattr(x, "batch_dim") or hasattr(x, "primal"):
        x = x.val if hasattr(x, "batch_dim") else x.primal
    return isinstance(x, jax.core.Tracer)


def opened(jaxpr):
    """The plain jaxpr, with `eqns`, of one that may be closed over constants."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def is_jaxpr(value):
    return hasattr(opened(value), "eqns")


def inner_jaxprs(eqn):
    """The jaxprs among an equation's parameters: the bodies of jit, scan, cond, while, remat, …"""
    return [leaf for leaf in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr) if is_jaxpr(leaf)]


def equations(jaxpr):
    """All equations in a jaxpr, however deep."""
    for eqn in opened(jaxpr).eqns:
        yield eqn
        yield from equations_inside(eqn)


def equations_inside(eqn):
    """All equations in the bodies of an equation, however deep."""
    return (e for inner in inner_jaxprs(eqn) for e in equations(inner))


def primitives(jaxpr):
    """The names of all primitives in a jaxpr, however deep."""
    return (eqn.primitive.name for eqn in equations(jaxpr))


def primal_of(eqn):
    """The jaxpr of what an equation with a hand-written rule computes; None where its parameters do not tell."""
    if hasattr(eqn.params.get("call"), "primal"):
        return trace(eqn.params["call"].primal, *[v.aval for v in eqn.invars])[0]
    if eqn.primitive.name == "call_hi_primitive":  # JAX 0.11 and newer: jnp.searchsorted is one
        return trace(functools.partial(eqn.primitive.to_lojax, **eqn.params), *[v.aval for v in eqn.invars])[0]
    return next(iter(inner_jaxprs(eqn)), None)


def written_out(eqn):
    """An equation of jax.experimental.sparse as a function in JAX's own primitives; None for any other.

    To be used as the replacement of `evaluate`.
    """
    define = _SPARSE.get(eqn.primitive.name)
    if define is None:
        return None
    listed = list if eqn.primitive.multiple_results else lambda y: [y]
    return lambda *args: listed(define(*args, **eqn.params))


_SPARSE = {
    name[1 : -len("_impl")]: define
    for module in (sparse.bcoo, sparse.bcsr, sparse.coo, sparse.csr)
    for name, define in vars(module).items()
    if name.startswith(f"_{module.__name__.split('.')[-1]}_") and name.endswith("_impl")
}


def definition_of(eqn):
    """The jaxpr of a primitive of jaxdl's, which is defined by a JAX function, as it is evaluated."""
    return trace(functools.partial(eqn.primitive.impl, **eqn.params), *[v.aval for v in eqn.invars])[0]


def typed(x):
    """An array's type in words: float32[3,4]."""
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"


def exactly(value):
    """A constant as a key. For Python 1, 1.0 and True are equal, and 0.0 and -0.0; no NaN is equal to itself."""
    is_inexact = isinstance(value, float | complex | np.inexact)
    return type(value), np.asarray(value).tobytes() if is_inexact else value


def likeness(eqn):
    """A key that is the same for equations that do the same on equal types."""
    params = tuple(sorted(eqn.params.items()))
    try:
        hash(params)
    except TypeError:
        params = id(eqn)
    return eqn.primitive, params, tuple(v.aval.str_short() for v in eqn.invars)


def is_variable(atom):
    return not hasattr(atom, "val")


def dependent_outputs(jaxpr, marked):
    """For each output of a jaxpr, whether it depends on any input marked True."""
    reached = {v for v, mark in zip(opened(jaxpr).invars, marked, strict=True) if mark}
    for eqn in opened(jaxpr).eqns:
        given = [is_variable(v) and v in reached for v in eqn.invars]
        if eqn.primitive.name == "jit":
            touched = dependent_outputs(eqn.params["jaxpr"], given)
        else:
            touched = [any(given)] * len(eqn.outvars)
        reached.update(v for v, t in zip(eqn.outvars, touched, strict=True) if t)
    return [is_variable(v) and v in reached for v in opened(jaxpr).outvars]


def used_inputs(jaxpr):
    """For each input of a jaxpr, whether any of its outputs needs it, as far as its own equations tell."""
    needed = {v for eqn in needed_equations(jaxpr) for v in eqn.invars if is_variable(v)}
    needed |= {v for v in opened(jaxpr).outvars if is_variable(v)}
    return [v in needed for v in opened(jaxpr).invars]


def needed_equations(jaxpr):
    """Those that an output of a jaxpr needs, and those with effects."""
    asked, found = {v for v in opened(jaxpr).outvars if is_variable(v)}, []
    for eqn in reversed(opened(jaxpr).eqns):
        if eqn.effects or any(v in asked for v in eqn.outvars):
            asked |= {v for v in eqn.invars if is_variable(v)}
            found.append(eqn)
    return found[::-1]


def scan_counts(eqn):
    """How many inputs of a scan stay the same in every step, and how many are carried; the others are its rows."""
    if "ft_in" in eqn.params:  # JAX 0.11 and newer
        consts, carry, _ = map(len, eqn.params["ft_in"].unpack())
        return consts, carry
    return eqn.params["num_consts"], eqn.params["num_carry"]


def is_replacement(eqn):
    """Whether an equation is a scatter that puts its updates in the place of entries, as they are."""
    body = eqn.params.get("update_jaxpr")
    return eqn.primitive.name == "scatter" and (body is None or body.outvars[0] is body.invars[1])


def where(eqn):
    """The line of the user's source that made an equation: `file.py:12 (function)`."""
    told = source_info_util.summarize(eqn.source_info)
    frame = next(_users_frames(eqn), None) if any(file in told for file in _WRAPPING) else None
    return f"{frame.file_name}:{frame.line_num} ({frame.function_name})" if frame else told


def binding(eqn, **changed):
    """An equation as a function of its inputs, that gives the list of its outputs; parameters may be changed."""

    def bound(*args):
        if not (changed or eqn.primitive.name in RULES) and any(map(_has_symbolic_zeros, equations_inside(eqn))):
            return _equation(eqn, args, lambda e: binding(e) if _has_symbolic_zeros(e) else None)
        params = eqn.params | changed | _of_this_use(eqn)
        y = eqn.primitive.bind(*_as_arrays(eqn, args), **eqn.primitive.get_bind_params(params))
        return y if eqn.primitive.multiple_results else [y]

    return bound


def _of_this_use(eqn):
    """Parameters of a `custom_vjp` with symbolic zeros, whose residuals may depend on which inputs move.

    JAX keeps the trace of the forward function for each such set of inputs, but only one structure of the residuals,
    that of the last trace. So it is traced again at each use, and before the pullback of that use.
    """
    forward, backward = eqn.params.get("fwd_jaxpr_thunk"), eqn.params.get("bwd")
    held = inspect.getclosurevars(forward.f).nonlocals if _has_symbolic_zeros(eqn) else {}
    if getattr(held.get("fn"), "__name__", "") != "fwd_jaxpr_from_zeros":
        return {}
    moving = []

    def traced(*nonzeros):
        held["cells"].clear()
        moving[:] = nonzeros
        return forward.call_wrapped(*nonzeros)

    def pulled(*args):
        traced(*moving)
        return backward.call_wrapped(*args)

    wrap = lambda f, of: linear_util.wrap_init(f, debug_info=of.debug_info)
    return {"fwd_jaxpr_thunk": wrap(traced, forward), "bwd": wrap(pulled, backward)}


def _has_symbolic_zeros(eqn):
    return "fwd_jaxpr_thunk" in eqn.params and eqn.params["symbolic_zeros"]


def _as_arrays(eqn, args):
    """What an equation is bound on: a rule may use its arguments as arrays, and constants are held as NumPy's."""
    if eqn.primitive.name not in RULES:
        return args
    return [as_array(x, v.aval) for x, v in zip(args, eqn.invars, strict=True)]


def as_array(x, aval):
    """A number of the program, or an array of NumPy's, as an array of JAX's."""
    if isinstance(x, jax.Array) or getattr(aval, "dtype", jax.dtypes.float0) == jax.dtypes.float0:
        return x
    if getattr(aval, "weak_type", False) and aval.shape == ():
        weak = jax.numpy.asarray(np.asarray(x).item())  # what Python's numbers become
        return weak if weak.dtype == aval.dtype else jax.numpy.asarray(x, aval.dtype)
    return jax.numpy.asarray(x, aval.dtype)


def while_loop(goes_on, step, carry):
    """`lax.while_loop` on a list, whose test may give a Boolean for each element of a batch, as that of a loop under
    `vmap` does: an element stays as it is from where its own is false.
    """
    some = lambda carry: jax.numpy.any(goes_on(carry))
    return jax.lax.while_loop(some, lambda carry: advanced(goes_on(carry), step(carry), carry), carry)


def advanced(going, new, old):
    """The state of a loop after a step: the new one, of a batch where it goes on."""
    if not going.ndim:
        return new
    of = lambda x: going.reshape(going.shape + (1,) * (x.ndim - going.ndim))
    return [jax.numpy.where(of(x), y, x) for x, y in zip(old, new, strict=True)]


def in_some(f, args, moving):
    """f, which gives a pytree, in its arguments at places `moving`: the outputs that can be differentiated, in a list.

    The other arguments stay as they are in args. Of an equation: `in_some(binding(eqn), inputs, moving)`.
    """

    def of_moving(*moved):
        full = list(args)
        for i, x in zip(moving, moved, strict=True):
            full[i] = x
        inexact = lambda y: jax.numpy.issubdtype(jax.numpy.result_type(y), jax.numpy.inexact)  # of a Python number too
        return [y for y in jax.tree.leaves(f(*full)) if inexact(y)]

    return of_moving


def is_spoilt_trace(error):
    """Whether JAX has lost what it knew of a `custom_vjp` inside a jitted function that it has traced before.

    It happens where a rule raised when it was differentiated in other inputs; traced anew, the function is as it was.
    """
    return type(error).__name__ == "StoreException"


def definition(f):
    """Where a function is defined, `file.py:12 (function)`; empty where that is not known."""
    code = getattr(users_function(f), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} ({code.co_name})" if code else ""


def users_function(f):
    """The function inside wrappers that name it, and inside `jax.custom_gradient`, which does not."""
    f = inspect.unwrap(f)
    code = getattr(f, "__code__", None)
    is_wrapped = code and code.co_name == "wrapped_fun" and code.co_filename.endswith(_WRAPPING)
    return f.__closure__[code.co_freevars.index("fun")].cell_contents if is_wrapped else f


def function_name(jaxpr):
    """The name of the function that a jaxpr was traced from."""
    info = getattr(opened(jaxpr), "debug_info", None)
    return info.func_name if info else "function"


# Functions that libraries put around the one whose derivative a rule gives, and the files in which they stand.
_WRAPPERS = {"fn_wrapper", "fn_wrapped", "wrapped_fun"}
_WRAPPING = ("equinox/_ad.py", "jax/_src/custom_derivatives.py")


def rule_name(eqn):
    """The name of the function whose derivative is given by hand, also where a library's wrapper is around it.

    Of one without a name, and of a wrapper in which nothing is computed, with its line: `<lambda> (file.py:12)`.
    """
    jaxpr = opened(eqn.params["call_jaxpr"])
    name, file = function_name(jaxpr), getattr(getattr(jaxpr, "debug_info", None), "func_filename", None) or ""
    if name not in _WRAPPERS or not file.endswith(_WRAPPING):
        return name
    wrapped = _wrapped(jaxpr, name)
    if wrapped and not wrapped.function_name.endswith("<lambda>"):
        return wrapped.function_name.rpartition("<locals>.")[2]
    frame = wrapped or next(_users_frames(eqn), None)
    name = "<lambda>" if wrapped else name
    return f"{name} ({os.path.basename(frame.file_name)}:{frame.line_num})" if frame else name


def _wrapped(jaxpr, wrapper=None):
    """The frame of the function that a wrapper calls, of an equation in it; inside jit, of what is jitted."""
    for eqn in opened(jaxpr).eqns:
        found = None
        for frame in _frames(eqn):
            if frame.file_name.endswith(_WRAPPING) and frame.function_name.rpartition(".")[2] == wrapper:
                break
            found = found if _is_machinery(frame) else frame
        else:
            found = None if wrapper else found
        if eqn.primitive.name not in RULES:
            found = found or next(filter(None, map(_wrapped, inner_jaxprs(eqn))), None)
        if found:
            return found
    return None


def _users_frames(eqn):
    return filter(_is_users, _frames(eqn))


def _is_users(frame):
    return not _is_in(frame, "jax", "jaxdl", "equinox")


def _is_machinery(frame):
    """Whether it is what calls the functions, JAX's or equinox's."""
    parts = "equinox/_ad", "equinox/_jit", "equinox/_module"
    return _is_in(frame, "jax") or any(part in frame.file_name for part in parts)


def _is_in(frame, *names):
    libraries = filter(None, map(sys.modules.get, names))
    return frame.file_name.startswith(tuple(os.path.dirname(library.__file__) + os.sep for library in libraries))


def _frames(eqn):
    """Where an equation was made, the innermost first."""
    return getattr(eqn.source_info.traceback, "frames", ())


def argument_names(jaxpr):
    """The names of a jaxpr's inputs in the function that it was traced from; "a1", … for those without."""
    plain = opened(jaxpr)
    found = list(getattr(getattr(plain, "debug_info", None), "arg_names", None) or [])
    if len(found) != len(plain.invars) or len(set(found)) != len(found) or not all(found):
        found = [f"a{i}" for i in range(1, len(plain.invars) + 1)]
    return found


def hide_from_source_lines(path):
    """Leaves a file out when JAX looks for the user's line that made an equation."""
    source_info_util.register_exclusion(path)


# --- evaluating and rewriting ------------------------------------------------------------------------


def evaluate(jaxpr, args, replacement):
    """Evaluates a jaxpr with some equations replaced, inside jit, scan, cond, while, … as well.

    `replacement(eqn)` is None to leave an equation as it is, else a function to call in its place,
    with the equation's inputs, that returns the list of its outputs.
    """
    return evaluate_opened(jaxpr, getattr(jaxpr, "consts", ()), args, replacement)


def evaluate_opened(jaxpr, consts, args, replacement=lambda eqn: None):
    """The same with the constants given anew."""
    plain = opened(jaxpr)
    values = dict(zip(plain.constvars, consts, strict=True))
    values.update(zip(plain.invars, args, strict=True))
    run(plain.eqns, values, replacement)
    return [value_of(atom, values) for atom in plain.outvars]


def run(eqns, values, replacement=lambda eqn: None):
    """Evaluates equations one after the other in `values`, a dictionary by variable, that takes their outputs."""
    for eqn in eqns:
        with _context(eqn):
            y = _equation(eqn, [value_of(atom, values) for atom in eqn.invars], replacement)
        values.update(zip(eqn.outvars, y, strict=True))


def value_of(atom, values):
    return values[atom] if is_variable(atom) else atom.val


def inlined(jaxpr):
    """The same closed jaxpr with the bodies of jit in place of their calls."""
    into = lambda eqn: (
        (lambda *args: evaluate(eqn.params["jaxpr"], args, into)) if eqn.primitive.name == "jit" else None
    )
    types = [v.aval for v in opened(jaxpr).invars]
    return jax.make_jaxpr(lambda *args: evaluate(jaxpr, args, into))(*types)


def _equation(eqn, args, replacement):
    replaced = replacement(eqn)
    if replaced is not None:
        return replaced(*args)
    if not any(_touched(inner, replacement) for inner in inner_jaxprs(eqn)):
        return binding(eqn)(*args)
    if eqn.primitive.name in _REBUILT:
        return _REBUILT[eqn.primitive.name](eqn.params, replacement)(*args)
    return binding(eqn, **_rewritten_params(eqn, replacement))(*args)


def _rebuilt_checkpoint(params, replacement):
    body = lambda *args: evaluate(params["jaxpr"], args, replacement)
    return jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])


def _rebuilt_shard_map(params, replacement):
    body = lambda *args: tuple(evaluate(params["jaxpr"], args, replacement))
    settings = {k: params[k] for k in ("mesh", "in_specs", "out_specs", "check_vma")}
    return jax.shard_map(body, **settings, axis_names=params["newly_manual_axes"])


# Primitives whose jaxpr may hold no constants are built anew by the public function that made them.
_REBUILT = {"checkpoint": _rebuilt_checkpoint, "remat2": _rebuilt_checkpoint, "shard_map": _rebuilt_shard_map}


def _rewritten_params(eqn, replacement):
    def rewritten(value):
        if not (is_jaxpr(value) and _touched(value, replacement)):
            return value
        new = jax.make_jaxpr(lambda *args: evaluate(value, args, replacement))(*[v.aval for v in opened(value).invars])
        if opened(value) is not value or opened(new) is new:
            return new
        if new.consts:
            raise NotImplementedError(
                f"rules inside {eqn.primitive.name} (at {where(eqn)}) cannot be taken out: "
                f"this version of JAX does not let its body hold constants"
            )
        return new.jaxpr

    return jax.tree.map(rewritten, eqn.params, is_leaf=is_jaxpr)


def _touched(jaxpr, replacement):
    """Whether any equation of a jaxpr, however deep, is to be replaced."""
    return any(
        replacement(eqn) is not None or any(_touched(inner, replacement) for inner in inner_jaxprs(eqn))
        for eqn in opened(jaxpr).eqns
    )


class _context:
    """Gives what is bound inside it the name and source line of an equation."""

    def __init__(self, eqn):
        names = source_info_util.current_name_stack() + eqn.source_info.name_stack
        self.parts = [source_info_util.user_context(eqn.source_info.traceback, name_stack=names)]
        if manager := getattr(eqn.ctx, "manager", None):
            self.parts.append(manager)

    def __enter__(self):
        for part in self.parts:
            part.__enter__()

    def __exit__(self, *error):
        for part in reversed(self.parts):
            part.__exit__(*error)


@functools.cache
def of_jax():
    """JAX's public primitives, by name."""
    found = {}
    for name in dir(primitives_of_jax):
        primitive = getattr(primitives_of_jax, name)
        if name.endswith("_p"):
            found.setdefault(primitive.name, set()).add(primitive)
    return found


def is_foreign(primitive):
    """Whether a primitive has the name of one of JAX's and is another."""
    return primitive.name in of_jax() and primitive not in of_jax()[primitive.name]


@functools.cache
def has_derivative(primitive):
    """Whether JAX has any derivative for a primitive."""
    return primitive in ad.primitive_jvps or primitive.name in ("custom_jvp_call", "custom_vjp_call")


hide_from_source_lines(__file__)
