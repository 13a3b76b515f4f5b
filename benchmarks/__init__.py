"""One file for each claim: `python -m benchmarks.NAME` measures it and writes JSON, a table and a plot to results/."""
