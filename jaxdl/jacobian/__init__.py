"""Jacobians: one function for each method, all with the signature and the result of `jax.jacrev`.

Entry i, j is ∂fᵢ/∂xⱼ, a row for each output (numerator layout); the denominator layout is its transpose.

    reverse, forward    a sweep for each row or column, in chunks or within a limit of memory
    sparse              compressed sweeps, by the sparsity pattern
    cut                 across the narrowest places of the computation
    eliminate           by vertex elimination, as straight-line code
    structured          as an operator with the structure of the layers
    finite              from values alone, as a reference
    sharded             over the devices of a mesh
    best, plan          the fastest method, and what each would cost
    hessian             of a scalar function, by the fastest method; sparse_hessian, lagrangian_hessian
    laplacian           the sum of second derivatives, in one pass
    solve               J⁻¹ b: by blocks, in a band, or sparse on the host
    value_and_jacobian  f(x) and the Jacobian from one forward pass, as reverse(f).value_and_jacobian(x)

Products without the matrix: pushforward (J v), pullback (uᵀ J), hvp, gauss_newton, diagonal, hessian_diagonal,
matrix_trace, gauss_newton_diagonal, and estimates from random vectors. logdet: volumes; gauss_newton_blocks,
neural_tangent_kernel: products of Jacobians; spectrum: singular values, rank, condition number and dimensions.
"""

from jaxdl.jacobian.hessians import hessian
from jaxdl.jacobian.jacobian_plan import JacobianPlan
from jaxdl.jacobian.methods.base import Jacobian, PlannedJacobian
from jaxdl.jacobian.methods.cutting import CutPlan, cut
from jaxdl.jacobian.methods.estimates import Estimate, estimated_diagonal, estimated_logdet, estimated_matrix_trace
from jaxdl.jacobian.methods.finite_differences import finite
from jaxdl.jacobian.methods.gradients import Hessian, PlannedHessian
from jaxdl.jacobian.methods.gram_matrices import gauss_newton_blocks, gauss_newton_diagonal, neural_tangent_kernel
from jaxdl.jacobian.methods.laplacians import Laplacian, laplacian
from jaxdl.jacobian.methods.linear_solves import solve
from jaxdl.jacobian.methods.products import (
    diagonal,
    gauss_newton,
    hessian_diagonal,
    hvp,
    logdet,
    matrix_trace,
    pullback,
    pushforward,
)
from jaxdl.jacobian.methods.sharding import sharded
from jaxdl.jacobian.methods.singular_values import Spectrum, spectrum
from jaxdl.jacobian.methods.sparse_hessians import SparseHessian, lagrangian_hessian, sparse_hessian
from jaxdl.jacobian.methods.sparse_jacobians import SparseJacobian, sparse
from jaxdl.jacobian.methods.sparse_plan import SparsePlan
from jaxdl.jacobian.methods.structure import StructuredJacobian, structured
from jaxdl.jacobian.methods.sweeps import forward, reverse
from jaxdl.jacobian.methods.vertex_elimination import EliminationPlan, eliminate, elimination_plan
from jaxdl.jacobian.operators.base import Operator
from jaxdl.jacobian.planning import best, plan, value_and_jacobian

__all__ = [
    "CutPlan",
    "EliminationPlan",
    "Estimate",
    "Hessian",
    "Jacobian",
    "JacobianPlan",
    "Laplacian",
    "Operator",
    "PlannedHessian",
    "PlannedJacobian",
    "SparseHessian",
    "SparseJacobian",
    "SparsePlan",
    "Spectrum",
    "StructuredJacobian",
    "best",
    "cut",
    "diagonal",
    "eliminate",
    "elimination_plan",
    "estimated_diagonal",
    "estimated_logdet",
    "estimated_matrix_trace",
    "finite",
    "forward",
    "gauss_newton",
    "gauss_newton_blocks",
    "gauss_newton_diagonal",
    "hessian",
    "hessian_diagonal",
    "hvp",
    "lagrangian_hessian",
    "laplacian",
    "logdet",
    "matrix_trace",
    "neural_tangent_kernel",
    "plan",
    "pullback",
    "pushforward",
    "reverse",
    "sharded",
    "solve",
    "sparse",
    "sparse_hessian",
    "spectrum",
    "structured",
    "value_and_jacobian",
]
