"""Derivatives of activation functions, at a few points."""

from experiments import activation_accuracy


def test_activation_accuracy():
    data = activation_accuracy.measure(91)
    assert max(max(d["jaxdl"]) for d in data.values()) <= 32
    assert max(data["sigmoid"]["jax.nn"]) > 1e6  # 0 in place of 4e-18
    assert "jaxdl's derivatives are within" in activation_accuracy.finding(data)
    assert all(png.startswith(b"\x89PNG") for png in activation_accuracy.draw(data).values())
