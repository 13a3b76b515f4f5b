"""A traced function as a graph: values forward, gradients backward, pictures, derivations.

graph = trace(f)(*args)          a node for each operation, with its value
graph.backward()                 the adjoint of each node, the local product on each edge
graph.grad("u7", ["x", "u2"])    of any node with respect to any node
"""

from jaxdl.graph.codegen.rule_source import source
from jaxdl.graph.cost import Costs, NodeCost
from jaxdl.graph.graph import Graph, trace
from jaxdl.graph.node import Edge, Node, Output, Scope
from jaxdl.graph.steps import PassStep
from jaxdl.graph.text import formula, value_text

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
