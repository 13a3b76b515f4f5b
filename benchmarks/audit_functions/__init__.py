"""What the audit is proved on: planted faults (`faults.FAULTS`), one file a family, and the published world."""
