"""Linear solves and decompositions, with matrices and without."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

SQUARE = jnp.array([[4.0, 1.0, 0.2], [1.0, 3.0, 0.5], [0.2, 0.5, 2.0]])
TALL = jnp.array([[1.0, 0.2], [0.3, 2.0], [0.5, -0.4], [0.1, 0.9]])
RIGHT = jnp.array([1.0, -0.5, 2.0])


def solved(name, operator=None, **settings):
    """x of A x = b as a function of A and b, by one of lineax's solvers."""
    import lineax as lx

    wrap = operator or lx.MatrixLinearOperator
    solver = getattr(lx, name)(**settings)
    return lambda a, b: lx.linear_solve(wrap(a), b, solver).value, (SQUARE, RIGHT)


@function_of("lineax")
def solve_by_lu():
    return solved("LU")


@function_of("lineax")
def solve_chosen_by_itself():
    return solved("AutoLinearSolver", well_posed=True)


@function_of("lineax")
def solve_by_cholesky():
    import lineax as lx

    return solved("Cholesky", lambda a: lx.MatrixLinearOperator(a @ a.T, lx.positive_semidefinite_tag))


@function_of("lineax")
def solve_by_conjugate_gradients():
    import lineax as lx

    operator = lambda a: lx.MatrixLinearOperator(a @ a.T, lx.positive_semidefinite_tag)
    return solved("CG", operator, rtol=1e-6, atol=1e-6)


@function_of("lineax")
def solve_by_gmres():
    return solved("GMRES", rtol=1e-6, atol=1e-6)


@function_of("lineax")
def solve_of_a_tridiagonal_matrix():
    import lineax as lx

    def f(diagonal, lower, upper, b):
        return lx.linear_solve(lx.TridiagonalLinearOperator(diagonal, lower, upper), b, lx.Tridiagonal()).value

    return f, (jnp.array([4.0, 3.0, 2.0]), jnp.array([0.5, 0.2]), jnp.array([0.1, 0.7]), RIGHT)


@function_of("lineax")
def least_squares_by_qr():
    import lineax as lx

    f = lambda a, b: lx.linear_solve(lx.MatrixLinearOperator(a), b, lx.QR()).value
    return f, (TALL, jnp.array([1.0, 2.0, 0.5, -1.0]))


@function_of("lineax")
def least_squares_by_svd():
    import lineax as lx

    f = lambda a, b: lx.linear_solve(lx.MatrixLinearOperator(a), b, lx.SVD()).value
    return f, (TALL, jnp.array([1.0, 2.0, 0.5, -1.0]))


@function_of("lineax")
def solve_with_a_jacobian_as_the_operator():
    import lineax as lx

    def f(x, b):
        operator = lx.JacobianLinearOperator(lambda y, _: SQUARE @ y + 0.1 * y**3, x)
        return lx.linear_solve(operator, b, lx.LU()).value

    return f, (jnp.array([0.3, -0.4, 0.8]), RIGHT)


@function_of("matfree")
def log_determinant_by_lanczos():
    from matfree import decomp, funm

    symmetric = SQUARE @ SQUARE.T

    def f(parameter):
        integrand = funm.monte_carlo_funm_sym_logdet(decomp.tridiag_sym(2))
        return integrand(lambda v, p: symmetric @ v + p * v, jnp.array([1.0, -1.0, 1.0]), parameter)

    return f, (jnp.float32(0.5),)


@function_of("matfree")
def hessenberg_factorisation():
    from matfree import decomp

    def f(matrix):
        result = decomp.hessenberg(2, reortho="full")(lambda v, a: a @ v, RIGHT, matrix)
        return result.J_small

    return f, (SQUARE,)


@function_of("matfree")
def trace_by_probes():
    from matfree import stochtrace

    def f(matrix):
        sampler = stochtrace.sampler_signs(jnp.ones(3), num=4)
        estimate = stochtrace.estimator_monte_carlo(stochtrace.monte_carlo_trace(), sampler)
        return estimate(lambda v, m: m @ (m @ v), jax.random.key(0), matrix)

    return f, (SQUARE,)


@function_of("matfree")
def least_squares_by_lsmr():
    from matfree import lstsq

    solve = lstsq.lsmr(atol=1e-6, btol=1e-6)

    def f(matrix, b):
        x, _ = solve(lambda v, a: v @ a, b, matrix)
        return x

    return f, (TALL, jnp.array([1.0, 2.0, 0.5, -1.0]))


@function_of("kfac-jax")
def inverse_of_a_kronecker_factor():
    import kfac_jax

    def f(a, b, v):
        return kfac_jax.utils.kronecker_product_mul_v(kfac_jax.utils.psd_inv(a @ a.T), b, v, False)

    return f, (SQUARE, jnp.array([[1.0, 0.2], [0.3, 2.0]]), jnp.ones((2, 3)))


@function_of("kfac-jax")
def loss_with_registered_layers():
    import kfac_jax

    x = jax.random.normal(jax.random.key(0), (4, 3))

    def loss(params, x):
        hidden = jnp.tanh(kfac_jax.register_dense(x @ params["w"] + params["b"], x, params["w"], params["b"]))
        kfac_jax.register_squared_error_loss(hidden, jnp.zeros_like(hidden))
        return jnp.mean(hidden**2)

    return loss, ({"w": jnp.ones((3, 2)) * 0.3, "b": jnp.zeros(2)}, x)


@function_of("equinox")
def checkpointed_while_loop():
    import equinox.internal as eqxi

    def f(x):
        step = lambda state: (state[0] + 1, jnp.sin(state[1]) + 0.1 * x)
        return eqxi.while_loop(lambda s: s[0] < 4, step, (0, x), max_steps=8, kind="checkpointed")[1]

    return f, (jnp.array([0.5, -0.4]),)


@function_of("equinox")
def function_with_a_rule_of_its_own():
    import equinox as eqx

    @eqx.filter_custom_vjp
    def scaled_sine(x, y):
        return jnp.sin(x) * y

    @scaled_sine.def_fwd
    def forward(perturbed, x, y):
        return jnp.sin(x) * y, None

    @scaled_sine.def_bwd
    def backward(residuals, g, perturbed, x, y):
        return g * jnp.cos(x) * y

    return lambda x: scaled_sine(x, 2.0), (jnp.array([0.5, -0.4]),)
