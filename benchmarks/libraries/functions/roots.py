"""Roots, fixed points, minima: implicit derivatives of what a solver found."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

A = jnp.array([[2.0, 0.5, 0.0], [0.3, 3.0, 0.2], [0.1, 0.0, 2.5]])


def cubic(y, p):
    return A @ y + 0.1 * y**3 - p


@function_of("optimistix")
def root_by_newton():
    import optimistix as optx

    f = lambda p: optx.root_find(cubic, optx.Newton(rtol=1e-6, atol=1e-6), jnp.ones(3), p).value
    return f, (jnp.array([1.0, 0.5, -0.3]),)


@function_of("optimistix")
def root_by_chord():
    import optimistix as optx

    f = lambda p: optx.root_find(cubic, optx.Chord(rtol=1e-6, atol=1e-6), jnp.ones(3), p).value
    return f, (jnp.array([1.0, 0.5, -0.3]),)


@function_of("optimistix")
def root_by_bisection():
    import optimistix as optx

    def f(p):
        solver = optx.Bisection(rtol=1e-6, atol=1e-6)
        return optx.root_find(lambda y, p: y**3 + y - p, solver, 0.5, p, options={"lower": 0.0, "upper": 4.0}).value

    return f, (jnp.float32(2.0),)


@function_of("optimistix")
def fixed_point():
    import optimistix as optx

    f = lambda p: optx.fixed_point(lambda y, p: jnp.cos(p * y), optx.FixedPointIteration(1e-6, 1e-6), p, p).value
    return f, (jnp.array([0.4, 0.6, 0.8]),)


@function_of("optimistix")
def fixed_point_through_its_steps():
    import optimistix as optx

    solver = optx.FixedPointIteration(1e-6, 1e-6)
    adjoint = optx.RecursiveCheckpointAdjoint()
    f = lambda p: optx.fixed_point(lambda y, p: jnp.cos(p * y), solver, p, p, adjoint=adjoint).value
    return f, (jnp.array([0.4, 0.6]),)


@function_of("optimistix")
def minimum_by_bfgs():
    import optimistix as optx

    energy = lambda y, p: jnp.sum((A @ y - p) ** 2) + jnp.sum(y**4)
    f = lambda p: optx.minimise(energy, optx.BFGS(rtol=1e-6, atol=1e-6), jnp.ones(3), p, max_steps=64).value
    return f, (jnp.array([1.0, 0.5, -0.3]),)


@function_of("optimistix")
def least_squares_by_levenberg_marquardt():
    import optimistix as optx

    x = jnp.linspace(0.0, 1.0, 6)
    residual = lambda y, data: y[0] * jnp.exp(-y[1] * x) - data
    solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
    f = lambda data: optx.least_squares(residual, solver, jnp.array([1.0, 1.0]), data, max_steps=64).value
    return f, (2.0 * jnp.exp(-1.3 * x) + 0.01,)


@function_of("jaxopt")
def fixed_point_of_an_iteration():
    import jaxopt

    solver = jaxopt.FixedPointIteration(lambda y, p: jnp.cos(p * y), maxiter=100, tol=1e-6)
    return lambda p: solver.run(jnp.ones(3), p).params, (jnp.array([0.4, 0.6, 0.8]),)


@function_of("jaxopt")
def anderson_acceleration():
    import jaxopt

    solver = jaxopt.AndersonAcceleration(lambda y, p: jnp.cos(p * y), maxiter=50, tol=1e-6, history_size=3)
    return lambda p: solver.run(jnp.ones(3), p).params, (jnp.array([0.4, 0.6, 0.8]),)


@function_of("jaxopt")
def bisected_root():
    import jaxopt

    solver = jaxopt.Bisection(lambda y, p: y**3 + y - p, lower=0.0, upper=4.0, check_bracket=False)
    return lambda p: solver.run(p=p).params, (jnp.float32(2.0),)


@function_of("jaxopt")
def ridge_regression_by_gradient_descent():
    import jaxopt

    x = jax.random.normal(jax.random.key(0), (6, 3))
    y = x @ jnp.array([1.0, -1.0, 0.5])
    loss = lambda w, strength: jnp.mean((x @ w - y) ** 2) + 0.5 * strength * jnp.sum(w**2)
    solver = jaxopt.GradientDescent(loss, maxiter=200, tol=1e-5)
    return lambda strength: solver.run(jnp.zeros(3), strength).params, (jnp.float32(0.5),)


@function_of("jaxopt")
def minimum_by_lbfgs():
    import jaxopt

    solver = jaxopt.LBFGS(lambda y, p: jnp.sum((A @ y - p) ** 2) + jnp.sum(y**4), maxiter=50, tol=1e-5)
    return lambda p: solver.run(jnp.ones(3), p).params, (jnp.array([1.0, 0.5, -0.3]),)


@function_of("jaxopt")
def lasso_by_proximal_gradient():
    import jaxopt

    x = jax.random.normal(jax.random.key(0), (6, 3))
    y = x @ jnp.array([1.0, -1.0, 0.0])
    solver = jaxopt.ProximalGradient(
        lambda w: jnp.mean((x @ w - y) ** 2), jaxopt.prox.prox_lasso, maxiter=200, tol=1e-5
    )
    return lambda strength: solver.run(jnp.zeros(3), hyperparams_prox=strength).params, (jnp.float32(0.1),)


@function_of("jaxopt")
def quadratic_program_with_equalities():
    import jaxopt

    solver = jaxopt.EqualityConstrainedQP()
    q, e, d = A @ A.T, jnp.array([[1.0, 1.0, 1.0]]), jnp.array([1.0])
    f = lambda c: solver.run(params_obj=(q, c), params_eq=(e, d)).params.primal
    return f, (jnp.array([0.3, -0.2, 0.5]),)


@function_of("jaxopt")
def projection_onto_the_simplex():
    import jaxopt

    return jaxopt.projection.projection_simplex, (jnp.array([0.7, 0.2, -0.4, 0.9]),)


@function_of("jaxopt")
def sparsemax_loss():
    import jaxopt

    return lambda x: jaxopt.loss.multiclass_sparsemax_loss(1, x), (jnp.array([0.7, 0.2, -0.4]),)
