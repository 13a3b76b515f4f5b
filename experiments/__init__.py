"""One file a question: `python -m experiments.NAME` measures, writes its data to results/ and draws it."""
