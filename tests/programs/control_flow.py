"""Statements with inner functions: loops, branches, maps, checkpoints, derivatives, solvers."""

POLICIES = [
    "", ", policy=jax.checkpoint_policies.everything_saveable", ", policy=jax.checkpoint_policies.dots_saveable",
    ", policy=jax.checkpoint_policies.save_only_these_names('kept')", ", prevent_cse=False",
]  # fmt: skip


def statement(writer, depth):
    """Writes a random statement of `KINDS`, unless it is invalid."""
    KINDS[writer.weighted(KINDS)][1](writer, depth)


def function(writer, depth, types, results, name):
    """The lines of `def name(…)` with parameters of the given types.

    results: shapes and kinds of the values it returns; None for the last value, whatever its type.
    """
    from tests.programs.writing import Value

    parameters = [Value(writer.fresh("p"), *type) for type in types]
    inner = writer.inner(parameters)
    inner.statements(1 + writer.below(2), depth + 1)
    if results is None:
        smooth = [v for v in inner.values if v.kind == "real"]
        given = smooth[-1].name
    else:
        latest = [v for v in inner.values if v.kind == "real" and v.size][-1:]
        ends = [inner.as_shape(*latest, *r) if latest and inner.chance(70) else inner.of_shape(*r) for r in results]
        given = ", ".join(map(_bounded, ends))
    head = f"def {name}({', '.join(p.name for p in parameters)}):"
    return [head, *[f"    {line}" for line in inner.lines], f"    return {given}"]


def _bounded(value):
    return f"jnp.tanh({value.name})" if value.kind == "real" else value.name


def _type(value):
    return value.shape, value.kind


def scan(writer, depth):
    carry = [writer._a({}) for _ in range(1 + writer.below(2))]
    rows = writer.value(suits=lambda v: v.shape and v.shape[0] in (1, 2, 3))
    body = writer.fresh("body")
    types = [_type(c) for c in carry]
    row = [(rows.shape[1:], "real")] if rows else []
    lines = function(writer, depth, types + row, [*types, ((), "real")], body)
    names = ", ".join(c.name for c in carry)
    places = ", ".join(f"c[{i}]" for i in range(len(carry)))
    step = f"lambda c, s: (lambda *y: (y[:-1], y[-1]))(*{body}({places}{', s' if rows else ''}))"
    length = "" if rows else ", length=3"
    more = writer.one_of(["", ", reverse=True", ", unroll=2"])
    writer.let(f"lax.scan({step}, ({names},), {rows.name if rows else None}{length}{more})", lines)


def fori(writer, depth):
    carry = writer._a({})
    body = writer.fresh("body")
    lines = function(writer, depth, [_type(carry)], [_type(carry)], body)
    end = writer.one_of(["3", "2", "0"])
    writer.let(f"lax.fori_loop(0, {end}, lambda i, c: {body}(c) * (1 + 0.1 * i), {carry.name})", lines)


def companion(writer, depth):
    """A loop with a second carried value that is not used afterwards."""
    carry, other = writer._a({}), writer._a({})
    body = writer.fresh("body")
    types = [_type(carry), _type(other)]
    lines = function(writer, depth, types, types, body)
    writer.let(f"lax.fori_loop(0, 2, lambda _, c: {body}(*c), ({carry.name}, {other.name}))[0]", lines)


def while_loop(writer, depth):
    carry = writer._a({})
    body = writer.fresh("body")
    lines = function(writer, depth, [_type(carry)], [_type(carry)], body)
    writer.let(f"lax.while_loop(lambda c: c[1] < 2, lambda c: ({body}(c[0]), c[1] + 1), ({carry.name}, 0))[0]", lines)


def cond(writer, depth):
    value, other = writer._a({}), writer._a({})
    yes, no = writer.fresh("branch"), writer.fresh("branch")
    result = [_type(writer._a({}))]
    lines = function(writer, depth, [_type(value), _type(other)], result, yes)
    lines += function(writer, depth, [_type(value), _type(other)], result, no)
    chosen = writer.one_of([f"{other.name}.sum() > 0.2", f"{value.name}.mean() < 0.7", "np.bool_(True)"])
    writer.let(f"lax.cond({chosen}, {yes}, {no}, {value.name}, {other.name})", lines)


def switch(writer, depth):
    value = writer._a({})
    names = [writer.fresh("branch") for _ in range(3)]
    result = [_type(writer._a({}))]
    lines = [line for name in names for line in function(writer, depth, [_type(value)], result, name)]
    index = writer.one_of([f"{writer._i({}).name}[0]", f"jnp.int32({value.name}.sum() > 0)", "jnp.int32(1)"])
    writer.let(f"lax.switch({index}, [{', '.join(names)}], {value.name})", lines)


def mapped(writer, depth):
    rows = writer._r({})
    body = writer.fresh("body")
    lines = function(writer, depth, [(rows.shape[1:], "real")], None, body)
    how = writer.one_of(["lax.map({body}, {x})", "jax.vmap({body})({x})", "lax.map({body}, {x}, batch_size=2)"])
    writer.let(how.format(body=body, x=rows.name), lines)


def vmap_last(writer, depth):
    rows, other = writer._m({}), writer._a({})
    body = writer.fresh("body")
    lines = function(writer, depth, [(rows.shape[:-1], "real"), _type(other)], None, body)
    out = writer.one_of([0, -1])
    writer.let(f"jax.vmap({body}, (-1, None), {out})({rows.name}, {other.name})", lines)


def wrapped(*forms):
    """A function of one value, called through a transformation."""

    def write(writer, depth):
        value = writer._a({})
        body = writer.fresh("g")
        lines = function(writer, depth, [_type(value)], None, body)
        writer.let(writer.one_of(forms).format(g=body, x=value.name), lines)

    return write


def checkpoint(writer, depth):
    wrapped(*[f"jax.checkpoint({{g}}{policy})({{x}})" for policy in POLICIES])(writer, depth)


def root(writer, depth):
    """The root y of 0.75 y − g(x) by `lax.custom_root`, whose function closes over g and x."""
    value = writer._a({})
    body = writer.fresh("g")
    lines = function(writer, depth, [_type(value)], [_type(value)], body)
    newton = "lambda h, y: lax.fori_loop(0, 3, lambda _, y: y - h(y) / 0.75, y)"
    solve = "lambda h, y: y / h(jnp.ones_like(y))"
    writer.let(
        f"lax.custom_root(lambda y: 0.75 * y - {body}({value.name}), jnp.zeros_like({value.name}), {newton}, {solve})",
        lines,
    )


def own_rule(writer, depth):
    """A rule defined inside the program, with a primal of generated statements."""
    value = writer._a({})
    body = writer.fresh("g")
    from tests.programs.writing import Value, Writer

    alone = Writer(writer.below, [Value("q", *_type(value))], writer.shared)
    alone.statements(1 + writer.below(2), depth + 1)
    result = [v for v in alone.values if v.kind == "real"][-1].name
    lines = [f"def {body}(q):", *[f"    {line}" for line in alone.lines], f"    return {result}"]
    rules = {
        "jvp": [f"{body}_rule = jax.custom_jvp({body})", f"{body}_rule.defjvp(lambda p, t: jax.jvp({body}, p, t))"],
        "vjp": [
            f"{body}_rule = jax.custom_vjp({body})",
            f"{body}_rule.defvjp(lambda q: ({body}(q), q), lambda q, dy: jax.vjp({body}, q)[1](dy))",
        ],
    }
    writer.let(f"{body}_rule({value.name})", lines + rules[writer.one_of(["jvp", "vjp"])])


KINDS = {
    "jit": (3, wrapped("jax.jit({g})({x})", "jax.named_call({g}, name='part')({x})")),
    "checkpoint": (4, checkpoint),
    "scan": (5, scan),
    "fori": (3, fori),
    "companion": (2, companion),
    "cond": (4, cond),
    "switch": (2, switch),
    "map": (3, mapped),
    "vmap last": (2, vmap_last),
    "while": (1, while_loop),
    "derivative": (
        3,
        wrapped(
            "jax.grad(lambda t: jnp.sum({g}(t)).astype(real))({x})",
            "jax.jvp({g}, ({x},), (jnp.cos({x}),))[1]",
            "jax.linearize({g}, {x})[1](jnp.ones_like({x}))",
            "jax.vjp({g}, {x})[1](jnp.ones_like({g}({x})))[0]",
            "jax.jacfwd({g})({x})",
        ),
    ),
    "root": (1, root),
    "own rule": (3, own_rule),
}
