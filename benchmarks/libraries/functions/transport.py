"""Optimal transport."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of


def clouds():
    return jax.random.normal(jax.random.key(0), (5, 2)), jax.random.normal(jax.random.key(1), (4, 2)) + 0.5


def sinkhorn(**settings):
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    def f(x, y):
        problem = linear_problem.LinearProblem(pointcloud.PointCloud(x, y, epsilon=0.5))
        return sinkhorn.Sinkhorn(max_iterations=100, threshold=1e-4, **settings)(problem)

    return f


@function_of("ott-jax")
def regularised_cost():
    solve = sinkhorn()
    return lambda x, y: solve(x, y).reg_ot_cost, clouds()


@function_of("ott-jax")
def plan_by_implicit_differentiation():
    solve = sinkhorn()
    return lambda x, y: solve(x, y).matrix, clouds()


@function_of("ott-jax")
def plan_through_the_iterations():
    solve = sinkhorn(implicit_diff=None)
    return lambda x, y: solve(x, y).matrix, clouds()


@function_of("ott-jax")
def soft_ranks():
    from ott.tools import soft_sort

    return lambda x: soft_sort.ranks(x, epsilon=1e-1), (jnp.array([0.7, -0.2, 0.4, 1.5]),)


@function_of("ott-jax")
def bures_distance():
    from ott.geometry import costs

    cost = costs.Bures(2)
    x = jnp.array([0.7, -0.2, 1.0, 0.2, 0.2, 2.0])
    return lambda x, y: cost(x, y), (x, x * 1.3 + jnp.array([0.0, 0.1, 0.5, 0.0, 0.0, 0.3]))


@function_of("ott-jax")
def soft_dynamic_time_warping():
    from ott.geometry import costs

    cost = costs.SoftDTW(gamma=0.5)
    return lambda x, y: cost(x, y), (jnp.array([0.7, -0.2, 0.4]), jnp.array([0.4, 1.5, 0.1]))
