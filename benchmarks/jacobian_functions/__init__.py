"""The functions whose Jacobians are compared: one file for each family, each `name() -> (f, x)`, with the Jacobian by
hand as a third value or in a file beside it."""
