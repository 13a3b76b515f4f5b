"""Differential equations, through each adjoint."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of


def pendulum(t, y, args):
    return jnp.stack([y[1], -args * jnp.sin(y[0]) - 0.1 * y[1]])


def solved(adjoint=None, solver=None, controller=None, saveat=None, dt0=0.1):
    """The pendulum's last state (or those at `saveat`) as a function of where it starts and of gravity over length."""
    import diffrax as dfx

    def f(y0, g):
        return dfx.diffeqsolve(
            dfx.ODETerm(pendulum), solver or dfx.Tsit5(), 0.0, 1.0, dt0, y0, g,
            saveat=saveat or dfx.SaveAt(t1=True), adjoint=adjoint or dfx.RecursiveCheckpointAdjoint(),
            stepsize_controller=controller or dfx.ConstantStepSize(), max_steps=64,
        ).ys  # fmt: skip

    return f, (jnp.array([0.5, 0.1]), jnp.float32(2.0))


@function_of("diffrax")
def ode_by_checkpoints():
    return solved()


@function_of("diffrax")
def ode_by_checkpoints_with_adaptive_steps():
    import diffrax as dfx

    return solved(controller=dfx.PIDController(rtol=1e-4, atol=1e-6))


@function_of("diffrax")
def ode_by_direct_adjoint():
    import diffrax as dfx

    return solved(dfx.DirectAdjoint(), dfx.Heun())


@function_of("diffrax")
def ode_by_backsolve_adjoint():
    import diffrax as dfx

    return solved(dfx.BacksolveAdjoint())


@function_of("diffrax")
def ode_in_forward_mode():
    import diffrax as dfx

    return solved(dfx.ForwardMode())


@function_of("diffrax")
def ode_saved_at_times():
    import diffrax as dfx

    return solved(saveat=dfx.SaveAt(ts=jnp.linspace(0.0, 1.0, 5)))


@function_of("diffrax")
def stiff_ode_by_an_implicit_solver():
    import diffrax as dfx

    return solved(solver=dfx.Kvaerno3(), controller=dfx.PIDController(rtol=1e-3, atol=1e-5))


@function_of("diffrax")
def steady_state_by_implicit_adjoint():
    import diffrax as dfx

    def f(y0, target):
        term = dfx.ODETerm(lambda t, y, target: target**2 - y)
        return dfx.diffeqsolve(
            term, dfx.Tsit5(), 0.0, jnp.inf, 0.1, y0, target, max_steps=None, adjoint=dfx.ImplicitAdjoint(),
            event=dfx.Event(dfx.steady_state_event()), stepsize_controller=dfx.PIDController(rtol=1e-3, atol=1e-6),
        ).ys[-1]  # fmt: skip

    return lambda target: f(jnp.zeros(2), target), (jnp.array([0.5, 1.5]),)


@function_of("diffrax")
def sde_along_a_brownian_path():
    import diffrax as dfx

    def f(y0, sigma):
        path = dfx.VirtualBrownianTree(0.0, 1.0, tol=1e-2, shape=(2,), key=jax.random.key(0))
        noise = dfx.ControlTerm(lambda t, y, s: jnp.diag(s * y), path)
        terms = dfx.MultiTerm(dfx.ODETerm(lambda t, y, s: -y), noise)
        return dfx.diffeqsolve(terms, dfx.Euler(), 0.0, 1.0, 0.1, y0, sigma, max_steps=16).ys[-1]

    return f, (jnp.array([0.5, 1.0]), jnp.array([0.1, 0.2]))


@function_of("diffrax")
def neural_ode():
    import diffrax as dfx
    import equinox as eqx

    mlp = eqx.nn.MLP(2, 2, 8, 1, activation=jax.nn.softplus, key=jax.random.key(0))
    params, static = eqx.partition(mlp, eqx.is_inexact_array)

    def loss(params, y0):
        term = dfx.ODETerm(lambda t, y, args: eqx.combine(args, static)(y))
        y = dfx.diffeqsolve(term, dfx.Tsit5(), 0.0, 1.0, 0.2, y0, params, max_steps=16).ys[-1]
        return jnp.sum(y**2)

    return loss, (params, jnp.array([0.5, -0.5]))


@function_of("jaxley", wide=True)
def cell_of_hodgkin_and_huxley():
    import jaxley as jx
    from jaxley.channels import HH

    cell = jx.Cell(jx.Branch(jx.Compartment(), 2), parents=[-1])
    cell.insert(HH())
    cell.branch(0).loc(0.0).record(verbose=False)
    cell.branch(0).loc(0.0).stimulate(jx.step_current(0.1, 0.5, 1.0, 0.025, 1.0))
    cell.make_trainable("HH_gNa", verbose=False)
    return lambda params: jx.integrate(cell, params=params, delta_t=0.025, t_max=1.0)[0, ::4], (cell.get_parameters(),)


@function_of("jaxley", wide=True)
def leaking_compartment():
    import jaxley as jx
    from jaxley.channels import Leak

    compartment = jx.Compartment()
    compartment.insert(Leak())
    compartment.record(verbose=False)
    compartment.stimulate(jx.step_current(0.1, 0.5, 0.1, 0.025, 1.0))
    compartment.make_trainable("Leak_gLeak", verbose=False)
    compartment.make_trainable("radius", verbose=False)
    f = lambda params: jx.integrate(compartment, params=params, delta_t=0.025, t_max=1.0)[0, ::8]
    return f, (compartment.get_parameters(),)
