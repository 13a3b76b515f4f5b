"""Energies of particles, of molecules, of wave functions."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of


def particles():
    return jnp.array([[0.2, 0.3], [1.3, 0.4], [0.5, 1.6], [1.9, 1.7]])


@function_of("jax-md")
def lennard_jones():
    from jax_md import energy, space

    displacement, _ = space.periodic(4.0)
    return energy.lennard_jones_pair(displacement), (particles(),)


@function_of("jax-md")
def forces_of_soft_spheres():
    from jax_md import energy, quantity, space

    displacement, _ = space.free()
    return quantity.force(energy.soft_sphere_pair(displacement, sigma=2.0)), (particles(),)


@function_of("jax-md")
def morse_in_a_deformed_box():
    from jax_md import energy, space

    displacement, _ = space.periodic_general(jnp.eye(2) * 4.0)
    pair = energy.morse_pair(displacement)
    return lambda positions, box: pair(positions, box=box), (particles() / 4, jnp.array([[4.0, 0.3], [0.0, 4.0]]))


@function_of("jax-md")
def stillinger_weber():
    from jax_md import energy, space

    displacement, _ = space.free()
    positions = jnp.array([[0.0, 0.0, 0.0], [1.9, 0.3, 0.1], [0.4, 2.1, 0.2], [1.2, 1.0, 1.8]])
    return energy.stillinger_weber(displacement), (positions,)


@function_of("jax-md")
def steps_of_molecular_dynamics():
    from jax_md import energy, simulate, space

    displacement, shift = space.periodic(4.0)
    force = energy.soft_sphere_pair(displacement, sigma=1.5)

    def f(positions):
        init, step = simulate.nve(force, shift, dt=1e-2)
        state = init(jax.random.key(0), positions, kT=0.1)
        return jax.lax.fori_loop(0, 3, lambda _, s: step(s), state).position

    return f, (particles(),)


@function_of("jax-md")
def fire_descent():
    from jax_md import energy, minimize, space

    displacement, shift = space.free()

    def f(positions):
        init, step = minimize.fire_descent(energy.soft_sphere_pair(displacement, sigma=1.5), shift)
        return step(step(init(positions))).position

    return f, (particles(),)


@function_of("netket", wide=True)
def restricted_boltzmann_machine():
    import netket as nk

    machine = nk.models.RBM(alpha=1, param_dtype=float)
    spins = jnp.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    return lambda params: machine.apply(params, spins), (machine.init(jax.random.key(0), spins),)


@function_of("netket", wide=True)
def jastrow_factor():
    import netket as nk

    machine = nk.models.Jastrow(param_dtype=float)
    spins = jnp.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    return lambda params: machine.apply(params, spins), (machine.init(jax.random.key(0), spins),)


@function_of("netket", wide=True)
def energy_of_an_ising_chain():
    import netket as nk

    space = nk.hilbert.Spin(0.5, 3)
    hamiltonian = jnp.asarray(nk.operator.Ising(space, nk.graph.Chain(3), h=1.0).to_dense().real)
    machine = nk.models.RBM(alpha=1, param_dtype=float)
    states = jnp.asarray(space.all_states(), float)

    def f(params):
        psi = jnp.exp(machine.apply(params, states))
        return psi @ hamiltonian @ psi / (psi @ psi)

    return f, (machine.init(jax.random.key(0), states),)


@function_of("netket", wide=True)
def complex_wave_function():
    import netket as nk

    spins = jnp.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    machine = nk.models.RBMModPhase(alpha=1, param_dtype=float)

    def f(params):
        psi = jnp.exp(machine.apply(params, spins))
        return jnp.stack([psi.real, psi.imag])

    return f, (machine.init(jax.random.key(0), spins),)
