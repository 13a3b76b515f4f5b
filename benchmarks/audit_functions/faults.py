"""All planted faults in one table."""

from benchmarks.audit_functions import asked, linear, norms, pointwise, structure, windows

FAULTS = (*pointwise.FAULTS, *linear.FAULTS, *norms.FAULTS, *windows.FAULTS, *structure.FAULTS, *asked.FAULTS)
