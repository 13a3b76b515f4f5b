"""Functions that test the audit: planted faults (`faults.FAULTS`), one file per family, and published functions."""
