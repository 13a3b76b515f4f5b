"""Finds the best form of every face of a convolution, in the program in which it stands, for the table of forms.

Of each program the whole gradient is timed: a convolution alone, or a model of which only the convolutions have rules.
Beginning with the compiler's forms, each face tries its other forms in turn, interleaved with the best so far, and
keeps one that is clearly faster. If the result takes more temporary memory than the automatic derivative and does not
halve its time, the search is repeated without forms that take more memory.
"""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax

from jaxdl import automatic, nn, ops
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.timing import Pairs, rounds
from jaxdl.ops.convolution_choice import COMPILER, TABLE, choosing, names

CLEARLY, MEMORY, WORTH_MEMORY = 0.96, 1.1, 0.5  # of the time; of automatic's temporary memory; of automatic's time
FACES_OF_ONE = 3
CONVOLUTIONS = ("conv2d", "conv_transpose2d", "conv2d_kernel_gradient")


class Program(NamedTuple):
    """A function of arrays whose gradient is to be fast, and its arguments."""

    name: str
    f: Callable
    args: tuple


class Compiled(NamedTuple):
    """A compiled gradient as a function without arguments, its temporary memory, and its text."""

    run: Callable
    bytes: int
    text: str


def models(batch: int) -> list[Program]:
    """LeNet-5 and the deep autoencoder, as functions of their parameters; only convolutions keep their rules."""
    x = jax.random.normal(jax.random.key(0), (batch, 28, 28, 1))
    labels = jax.random.randint(jax.random.key(1), (batch,), 0, 10)
    classify = lambda y: ops.softmax_cross_entropy_with_integer_labels(y, labels).mean()
    reconstruct = lambda y: ops.squared_error(y, x).mean()
    programs = []
    for name, model, loss in (
        ("LeNet-5", nn.lenet5(), classify),
        ("deep autoencoder", nn.conv_autoencoder(8), reconstruct),
    ):
        params, tree = jax.tree.flatten(model.init(jax.random.key(2), x.shape[1:]))
        of = lambda *params, m=model, t=tree, loss=loss: loss(m.apply(t.unflatten(params), x))
        programs.append(Program(f"{name}, batch {batch}", automatic(of, keep=CONVOLUTIONS), tuple(params)))
    return programs


def tune(programs: Iterable[Program], seconds: float = 0.25) -> None:
    """Measures programs, and writes their rows into the table of this version of JAX."""
    for program in programs:
        forms, seen, ratio = best_forms(program, seconds)
        print(f"{program.name}: {ratio:.2f} of the automatic derivative's time", flush=True)
        write(program.name, rows(program.name, forms, seen))


def best_forms(program: Program, seconds: float) -> tuple[dict, dict, float]:
    """The best forms by face and convolution, the sizes of each, and the time as a part of automatic's."""
    seen = {}
    auto = _compiled(Differentiated(automatic(program.f), program.args))
    plain = compiled(program, {}, seen)
    for most in (float("inf"), MEMORY * auto.bytes):
        forms, best = _greedy(program, plain, seen, most, seconds)
        times = rounds(best.run, plain.run, auto.run, seconds=3 * seconds)
        ratio = Pairs(times[0], times[2]).ratio
        if best.bytes <= MEMORY * auto.bytes or ratio <= WORTH_MEMORY:
            break
    if ratio > 1 or Pairs(times[0], times[1]).ratio > CLEARLY:
        return dict.fromkeys(forms, COMPILER), seen, Pairs(times[1], times[2]).ratio
    return forms, seen, ratio


def compiled(program: Program, forms: dict, seen: dict) -> Compiled:
    """The gradient in given forms; what is asked for is added to `seen`."""

    def by(face, sizes):
        seen.setdefault((face, _identity(sizes)), sizes)
        return forms.get((face, _identity(sizes)), COMPILER)

    jax.clear_caches()
    with choosing(by):
        return _compiled(Differentiated(program.f, program.args))


def _identity(sizes):
    """What identifies a convolution, whichever of its faces is computed: the padding may differ at the end."""
    return sizes._replace(g=sizes.g.stride)


def _compiled(differentiated):
    step, _ = differentiated.compiled
    arrays, dy = differentiated.arrays, differentiated.cotangent()
    memory = step.memory_analysis().temp_size_in_bytes
    return Compiled(lambda: step(arrays, dy), memory, step.as_text().split("\n", 1)[1])


def _greedy(program, best, seen, most, seconds):
    forms = {}
    for key, sizes in seen.items():
        others = [name for name in names(key[0], sizes) if name != COMPILER]
        tries = {name: compiled(program, forms | {key: name}, {}) for name in others}
        if others and all(c.text == best.text for c in tries.values()):
            continue  # nobody needs this face in the program
        forms[key] = COMPILER
        tries = {name: c for name, c in tries.items() if c.bytes <= most}
        if not tries:
            continue
        times = rounds(best.run, *(c.run for c in tries.values()), seconds=seconds * (1 + len(tries)) / 2)
        ratios = dict(zip(tries, (Pairs(t, times[0]).ratio for t in times[1:]), strict=True))
        if len(seen) > FACES_OF_ONE and all(abs(ratio - 1) < 1 - CLEARLY for ratio in ratios.values()):
            del forms[key]  # too small a part of the program to tell
            continue
        name = min(ratios, key=lambda name: ratios[name])
        if ratios[name] < CLEARLY:
            forms[key], best = name, tries[name]
        texts = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"  {program.name}, {key[0]}: {texts} → {forms[key]}", flush=True)
    return forms, best


def rows(name: str, forms: dict, seen: dict) -> list[dict]:
    """The table's rows: one for each convolution."""
    found = {}
    for (face, identity), form in forms.items():
        sizes = seen[face, identity]
        row = {
            "program": name, "images": sizes.images, "image": sizes.image, "window": sizes.window,
            "channels": (sizes.inputs, sizes.outputs), "stride": sizes.g.stride, "padding": sizes.g.padding,
        }  # fmt: skip
        found.setdefault(identity, row | {"forms": {}})["forms"][face] = form
    return list(found.values())


def write(program: str, rows: list[dict]) -> None:
    """Replaces a program's rows in the table of this version of JAX; of equally near rows the first will count."""
    version = ".".join(jax.__version__.split(".")[:2])
    table = json.loads(TABLE.read_text())
    table[version] = rows + [row for row in table.get(version, []) if row["program"] != program]
    line = lambda row: "  " + json.dumps(row, ensure_ascii=False)
    parts = (f' "{v}": [\n' + ",\n".join(map(line, table[v])) + "\n ]" for v in sorted(table))
    TABLE.write_text("{\n" + ",\n".join(parts) + "\n}\n")
