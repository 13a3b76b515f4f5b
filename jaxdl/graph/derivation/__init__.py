"""The forward and backward pass of a graph as equations."""
