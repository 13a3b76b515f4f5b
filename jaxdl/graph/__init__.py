"""A traced function as a graph: values forward, gradients backward, pictures, derivations.

graph = trace(f)(*args)          a node for each operation, with its value
graph.backward()                 the adjoint of each node, the local product on each edge
graph.grad("u7", ["x", "u2"])    of any node with respect to any node
"""

from jaxdl.graph.cost import Cost, Costs
from jaxdl.graph.graph import Graph, trace
from jaxdl.graph.node import Edge, Node, Output, Scope
from jaxdl.graph.steps import Step
from jaxdl.graph.words import formula, value_text
from jaxdl.graph.writing import source

__all__ = [
    "Cost",
    "Costs",
    "Edge",
    "Graph",
    "Node",
    "Output",
    "Scope",
    "Step",
    "formula",
    "source",
    "trace",
    "value_text",
]
