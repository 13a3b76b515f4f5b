"""The command line on terminals of all kinds, and what others have named in ways that mean something to them."""

import os
import re
import subprocess
import sys

import pytest

from jaxdl import __version__


def jaxdl(*arguments, stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-m", "jaxdl", *map(str, arguments)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | environment
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"COLUMNS": "0"}, {"COLUMNS": "40"},
        {"PYTHONUTF8": "0", "LC_ALL": "C"},
    ],
    ids=str,
)  # fmt: skip
def test_any_terminal_gets_its_characters(environment):
    done = jaxdl("graph", "xor", **environment)
    assert done.returncode == 0, done.stderr.decode()
    assert b"xor_network" in done.stdout
    assert not done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_where_nothing_can_be_written():
    with open("/dev/full", "w") as full:
        done = jaxdl("graph", "xor", stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode() == "jaxdl: standard output cannot be written: No space left on device\n"


def test_the_version():
    assert jaxdl("--version").stdout.decode() == f"jaxdl {__version__}\n"
    assert "--version " in jaxdl("--help").stdout.decode()


def test_a_reader_that_has_seen_enough():
    reading, writing = os.pipe()
    os.close(reading)
    done = jaxdl("graph", "xor", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_device_that_is_not_there():
    done = jaxdl("graph", "xor", JAX_PLATFORMS="cuda")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("jaxdl: there is no device for JAX_PLATFORMS=cuda here")
    assert len(done.stderr.splitlines()) == 1


HOSTILE = "\\ [/x] </script><b>$x\\frac\"'{}%&#~^ `` :boom:"


def test_names_that_mean_something_elsewhere(tmp_path, capsys):
    import jax
    import jax.numpy as jnp

    import jaxdl

    def f(tree):
        with jax.named_scope("scope [/x] </script> $ \\"):
            y = ruled(tree[HOSTILE])
        return (y * tree["b\\"]).sum()

    @jax.custom_jvp
    def ruled(x):
        return jnp.sin(x)

    ruled.defjvp(lambda xs, ts: (jnp.sin(xs[0]), jnp.cos(xs[0]) * ts[0]))
    f.__name__ = ruled.__name__ = f.__qualname__ = ruled.__qualname__ = HOSTILE
    tree = {HOSTILE: jnp.ones(3), "b\\": jnp.ones(3)}
    graph = jaxdl.trace(f)(tree).backward()
    for kind in ("svg", "png", "html", "dot", "mmd"):
        graph.draw(tmp_path / f"g.{kind}")
    for kind in ("svg", "png", "html"):
        graph.derive(tmp_path / f"d.{kind}")
    page = (tmp_path / "g.html").read_text(encoding="utf-8")
    assert "</script><b>" not in page
    assert page.count("</script>") == page.count("<script")
    labels = re.compile(r'label="((?:[^"\\]|\\.)*)"[];]')
    for line in (tmp_path / "g.dot").read_text(encoding="utf-8").splitlines():
        assert "label=" not in line or labels.search(line), line
    jaxdl.audit(f, tree).print()
    report = jaxdl.contrast(f, tree, time=False)
    report.print()
    report.plot()
    graph.costs().table().print()
    said = capsys.readouterr().out.replace("\n", "")
    assert ":boom:" in said
    assert "[/x]" in said
