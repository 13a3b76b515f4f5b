"""One file or folder for each question: `python -m experiments.NAME` measures, writes data to results/ and draws it."""
