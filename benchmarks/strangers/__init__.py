"""jaxdl's tools on other people's functions: see `python -m benchmarks.strangers --help`."""
