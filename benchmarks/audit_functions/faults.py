"""All planted faults in one table."""

from benchmarks.audit_functions import linear, norms, pointwise, structure, windows

FAULTS = (*pointwise.FAULTS, *linear.FAULTS, *norms.FAULTS, *windows.FAULTS, *structure.FAULTS)
