"""jaxdl's tools on functions of other libraries: see `python -m benchmarks.libraries --help`."""
