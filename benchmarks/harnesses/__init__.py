"""JAX's test cases, each primitive with all its parameters, through jaxdl's tools: `python -m benchmarks.harnesses`.

cases   the cases, with small arguments, and JAX's results for each
tools   the tools, and the verdict on a result: right, refused by name, or a fault
"""

import os

import jax

# As in the tests: XLA's older way to compile fusions takes a quarter of the time.
if jax.__version_info__ < (0, 11):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
