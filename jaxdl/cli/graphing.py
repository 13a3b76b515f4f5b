"""`jaxdl graph`: the computational graph of a function, the lectures' or anybody's."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from jaxdl.auditor import generated
from jaxdl.cli.strangers import arguments_in, function_of
from jaxdl.cli.usage import BadUsage, usage
from jaxdl.graph import examples, trace
from jaxdl.nn import lenet5
from jaxdl.report import Table, error_text, terminal


def graph(
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EXAMPLE|MODULE:FUNCTION")] = "",
    args: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    steps: bool = False,
    costs: bool = False,
    depth: int | None = None,
) -> int:
    """Show the computational graph of a function: values forward, gradients backward.

    Its module is imported and the function is called, as Python would: give it none that you would not run.
    Without a target the lectures' examples are listed. Of an output that is no single number, the gradient is that of
    its sum.

    Args:
        target: An example of the lectures, or package.module:function.
        args: A Python file that gives the function's arguments, as a tuple under its name. Without it they are made up.
        out: Where the picture goes: .html for a page to click through, .svg, .png, .dot or .mmd.
        steps: Tell the forward and the backward pass one node at a time.
        costs: Tell the operations of each node, forward and backward, and the bytes it keeps.
        depth: How many levels of boxes the picture shows open.
    """
    console = terminal()
    if not target:
        rows = [(name, (make()[0].__doc__ or "").split("\n")[0]) for name, make in EXAMPLES.items()]
        Table("jaxdl graph EXAMPLE", ("example", "what it computes"), rows, words=2).print(console)
        return 0
    f, given = _chosen(target, args)
    try:
        found = trace(f)(*given)
        found.backward(jax.tree.map(_ones, found.outputs, is_leaf=lambda x: hasattr(x, "node")))
    except (Exception, SystemExit) as error:  # whatever a stranger's function raises
        raise BadUsage(f"{target}: {error_text(error)}") from error
    if steps:
        for step in found.steps():
            console.print(step.text, soft_wrap=True)
    elif costs:
        found.costs().print(console)
    else:
        found.print(console)
    if out:
        usage(lambda: found.draw(out, depth=depth))
        console.print(f"written: {out}")
    return 0


def _chosen(target, path) -> tuple[Callable, tuple]:
    if target in EXAMPLES:
        return EXAMPLES[target]()
    if ":" not in target:
        raise BadUsage(
            f"there is no example {target!r}; there are {', '.join(EXAMPLES)}, or give package.module:function"
        )
    name, f = function_of(target)
    given = arguments_in(path)
    if path and name not in given:
        raise BadUsage(f"--args {path} has no tuple named {name}; it has {', '.join(given) or 'none'}")
    found, reason = (given[name], "") if path else generated(f)
    if found is None:
        raise BadUsage(f"no arguments for {target} were found ({reason}); give them with --args")
    return f, found


def _ones(output):
    return jnp.ones(output.type.shape, output.type.dtype) if output.is_smooth else None


# --- the lectures' examples ----------------------------------------------------------------------------------


def _numbers(f, *numbers):
    return lambda: (f, tuple(jnp.float32(x) for x in numbers))


def _two_layers():
    random = jax.random.split(jax.random.key(0), 2)
    weights = [jax.random.normal(k, shape) for k, shape in zip(random, [(4, 3), (1, 4)], strict=True)]
    return examples.two_layers, (weights, jnp.array([1.0, -0.5, 2.0]))


def _lenet():
    model = lenet5()
    params = model.init(jax.random.key(0), (28, 28, 1))

    def lenet(params, images):
        """LeNet-5 on one image: ten scores."""
        return model.apply(params, images)

    return lenet, (params, jax.random.uniform(jax.random.key(1), (1, 28, 28, 1)))


EXAMPLES = {
    "product-and-sum": _numbers(examples.product_and_sum, -2, 5, -4),
    "sum-and-product": _numbers(examples.sum_and_product, -2, 5, -4),
    "xor": lambda: (examples.xor_network, (*examples.XOR.values(), examples.XOR_INPUTS[1])),
    "xor-loss": lambda: (examples.xor_loss, (*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])),
    "two-layers": _two_layers,
    "lenet": _lenet,
}
