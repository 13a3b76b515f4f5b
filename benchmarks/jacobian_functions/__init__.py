"""The functions whose Jacobians are compared: one file a family, each `name() -> (f, x)`."""
