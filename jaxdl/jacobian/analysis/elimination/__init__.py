"""Vertex elimination on the graph of a function's scalars: the graph, the order, and the straight-line code."""
