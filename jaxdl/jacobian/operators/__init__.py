"""Linear operators that stand for Jacobians, one file a family, and how they are found from a jaxpr's equations."""
