"""Sweeps distributed over the devices of a mesh: the same matrix, a share of it on each device."""

import os
import socket
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian
from tests.draws import draw
from tests.tolerance import assert_close

W = draw(0, 12, 8)


def wide(x):
    return jnp.tanh(x @ W)


def tall(x):
    return jnp.sin(jnp.concatenate([x @ W, x @ W @ W.T]))


@pytest.mark.parametrize("f", [wide, tall])
def test_each_device_does_its_share(f):
    mesh = jax.make_mesh((2, 2), ("a", "b"))
    x = draw(1, 12)
    got = jacobian.sharded(f, mesh=mesh)(x)
    assert_close(got, jax.jacrev(f)(x), "float32", "jacobian")
    shares = [shard.data.size for shard in got.addressable_shards]
    assert shares == [got.size // 4] * 4
    program = jax.jit(jacobian.sharded(f, mesh=mesh)).lower(x).as_text()
    sweeps = min(got.shape) // 4
    assert f"tensor<{sweeps}x" in program  # the basis on each device


def test_a_number_of_sweeps_that_is_no_multiple_of_the_devices():
    mesh = jax.make_mesh((4,), ("d",))
    f = lambda x: jnp.tanh(x @ W[:, :5])
    assert_close(jacobian.sharded(f, mesh=mesh)(draw(1, 12)), jax.jacrev(f)(draw(1, 12)), "float32", "jacobian")


PROGRAM = """
    import sys
    import jax
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
    import jax.numpy as jnp, numpy as np
    from jax.experimental import multihost_utils
    from jaxdl import jacobian
    w = np.linspace(-1, 1, 48, dtype=np.float32).reshape(8, 6)
    f = lambda x: jnp.tanh(x @ w)
    x = np.linspace(0, 1, 8, dtype=np.float32)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
    got = jax.jit(jacobian.sharded(f, mesh=mesh))(x)
    assert len(got.addressable_shards) == 1 and got.addressable_shards[0].data.shape == (3, 8)
    whole = multihost_utils.process_allgather(got, tiled=True)
    assert np.allclose(whole, jax.jacrev(f)(x), atol=1e-6)
    print("the same")
"""


def test_two_processes():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"localhost:{s.getsockname()[1]}"
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), address]
    env = {**os.environ, "XLA_FLAGS": ""}
    both = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        for i in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert all(output.endswith("the same\n") for output in outputs), outputs
