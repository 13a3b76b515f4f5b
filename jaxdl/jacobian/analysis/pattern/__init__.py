"""The sparsity pattern of a Jacobian, read from the jaxpr, and the colouring of its rows and columns."""
