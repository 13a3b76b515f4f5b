"""A traced function as a graph, with values, gradients, costs, pictures and equations; and its derivative as source.

```text
graph = trace(f, *args)          # a node for each operation, with its value
graph.backward()                 # the adjoint of each node and edge
graph.grad("u7", ["x", "u2"])    # the gradient of any node with respect to any others
source(f, *args)                 # f and its derivative as Python source
```
"""

from jaxdl.graph.codegen.rule_source import source
from jaxdl.graph.cost import Costs, NodeCost
from jaxdl.graph.graph import Graph
from jaxdl.graph.node import Edge, Node, Output, Scope
from jaxdl.graph.steps import PassStep
from jaxdl.graph.text import formula, value_text
from jaxdl.graph.tracing import trace

__all__ = [
    "Costs",
    "Edge",
    "Graph",
    "Node",
    "NodeCost",
    "Output",
    "PassStep",
    "Scope",
    "formula",
    "source",
    "trace",
    "value_text",
]
