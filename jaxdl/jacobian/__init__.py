"""Jacobians: a function for each way to get one, all with the signature and the result of `jax.jacrev`.

reverse, forward    a sweep for each row or column, in chunks or within a budget of memory
sparse              compressed sweeps by the pattern; sparse_hessian
cut                 across the narrowest places of the computation
eliminate           by vertex elimination, as straight-line code
structured          as an operator that its layers know
finite              by values alone, the reference
sharded             over the devices of a mesh
plan, best          what each would cost, and the one that is the fastest

Products without the matrix: jvp, vjp, hvp, gauss_newton, diagonal, hessian_diagonal, trace, logdet, and estimates by
random probes. spectrum: singular values, rank and condition.
"""

from jaxdl.jacobian.methods.cutting import cut
from jaxdl.jacobian.methods.finite_differences import finite
from jaxdl.jacobian.methods.products import (
    Estimate,
    diagonal,
    estimated_diagonal,
    estimated_logdet,
    estimated_trace,
    gauss_newton,
    hessian_diagonal,
    hvp,
    jvp,
    logdet,
    trace,
    vjp,
)
from jaxdl.jacobian.methods.sharding import sharded
from jaxdl.jacobian.methods.singular_values import Spectrum, spectrum
from jaxdl.jacobian.methods.sparse_jacobians import sparse, sparse_hessian
from jaxdl.jacobian.methods.structure import structured
from jaxdl.jacobian.methods.sweeps import forward, reverse
from jaxdl.jacobian.methods.vertex_elimination import eliminate, elimination_plan
from jaxdl.jacobian.planning import Plan, best, plan

__all__ = [
    "Estimate",
    "Plan",
    "Spectrum",
    "best",
    "cut",
    "diagonal",
    "eliminate",
    "elimination_plan",
    "estimated_diagonal",
    "estimated_logdet",
    "estimated_trace",
    "finite",
    "forward",
    "gauss_newton",
    "hessian_diagonal",
    "hvp",
    "jvp",
    "logdet",
    "plan",
    "reverse",
    "sharded",
    "sparse",
    "sparse_hessian",
    "spectrum",
    "structured",
    "trace",
    "vjp",
]
