"""The functions whose Jacobians are compared: one file for each family, each `name() -> (f, x)`."""
