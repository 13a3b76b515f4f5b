"""All planted faults in one table."""

from benchmarks.audit_functions import in_context, linear, norms, pointwise, structure, windows

FAULTS = (*pointwise.FAULTS, *linear.FAULTS, *norms.FAULTS, *windows.FAULTS, *structure.FAULTS, *in_context.FAULTS)
