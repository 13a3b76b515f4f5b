"""Idioms of PyTorch's autograd and their equivalents in JAX: the table in docs/how_to/from_pytorch.md, row by row."""

import gc
import warnings
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import trace
from jaxdl.train import accumulated, frozen, grad_where
from tests.draws import draw

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")

W, V, X = draw(1, 3, 4), draw(2, 4), draw(3, 6, 3)


def f(params, x):
    w, v = params
    return jnp.sum(jnp.tanh(x @ w) @ v)


def of_torch(w, v, x):
    return (torch.tanh(x @ w) @ v).sum()


def tensors(*, grad=(True, True)):
    return [torch.tensor(np.asarray(a), requires_grad=g) for a, g in zip((W, V), grad, strict=True)]


def same(a, b):
    np.testing.assert_allclose(np.asarray(a), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_requires_grad():
    w, v = tensors(grad=(False, True))
    of_torch(w, v, torch.tensor(np.asarray(X))).backward()
    of_w, of_v = grad_where(f, (False, True))((W, V), X)
    same(of_v, v.grad)
    assert of_w is None
    assert w.grad is None
    same(jax.grad(f)((W, V), X)[1], v.grad)


def test_requires_grad_is_false_by_default():
    """Also of integers, which have no gradient in either library. Parameters of modules are marked."""
    w, v = tensors(grad=(False, False))
    x = torch.tensor(np.asarray(X))
    assert not of_torch(w, v, x).requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        of_torch(w, v, x).backward()
    of_torch(w.requires_grad_(), v, x).backward()
    assert v.grad is None
    same(jax.grad(lambda w, v: f((w, v), X))(W, V), w.grad)
    of_torch(w.requires_grad_(False), v.requires_grad_(), x).backward()
    same(jax.grad(lambda w, v: f((w, v), X), argnums=1)(W, V), v.grad)
    assert torch.nn.Linear(2, 3).weight.requires_grad
    with pytest.raises(RuntimeError, match="floating point"):
        torch.arange(3).requires_grad_()
    with pytest.raises(TypeError, match="real- or complex-valued"):
        jax.grad(lambda i: (i * 1.0).sum())(jnp.arange(3))


def test_gradients_are_those_of_leaves():
    w, v = tensors()
    for keep in (False, True):
        h = torch.tanh(torch.tensor(np.asarray(X)) @ w)
        assert (w.is_leaf, h.is_leaf) == (True, False)
        if keep:
            h.retain_grad()
        (h @ v).sum().backward()
        with warnings.catch_warnings(action="ignore"):  # which says that h is not a leaf
            assert (h.grad is not None) == keep
    graph = trace(f)((W, V), X).backward()
    same(graph["u2"].adjoint, h.grad)


def test_autograd_grad_with_respect_to_intermediate_values():
    w, v = tensors()
    h = torch.tanh(torch.tensor(np.asarray(X)) @ w)
    y = (h @ v).sum()
    graph = trace(f)((W, V), X)
    of_h, of_w = torch.autograd.grad(y, [h, w])
    got = graph.grad(graph.outputs, ["u2", "params[0]"])
    same(got[0], of_h)
    same(got[1], of_w)


def test_grad_accumulates_over_backward_calls():
    w, v = tensors()
    for part in np.split(np.asarray(X), 3):
        (of_torch(w, v, torch.tensor(part)) / 3).backward()
    mean = lambda params, x: f(params, x)
    _, (of_w, of_v) = accumulated(jax.value_and_grad(mean), 3)((W, V), X)
    same(of_w, w.grad)
    same(of_v, v.grad)


def test_zero_grad():
    """Gradients are returned values, so a second call does not add to the first."""
    w, v = tensors()
    x = torch.tensor(np.asarray(X))
    for _ in range(2):
        w.grad = None
        of_torch(w, v, x).backward()
    for _ in range(2):
        found = jax.grad(f)((W, V), X)
    same(found[0], w.grad)


def test_no_grad_and_detach():
    w, v = tensors()
    x = torch.tensor(np.asarray(X))
    (torch.tanh(x @ w).detach() @ v).sum().backward()
    stopped = lambda params, x: jnp.sum(jax.lax.stop_gradient(jnp.tanh(x @ params[0])) @ params[1])
    of_w, of_v = jax.grad(stopped)((W, V), X)
    same(of_v, v.grad)
    assert w.grad is None
    assert not of_w.any()
    same(jax.grad(frozen(f, (True, False)))((W, V), X)[1], v.grad)


def test_retain_graph():
    w, v = tensors()
    y = torch.tanh(torch.tensor(np.asarray(X)) @ w) @ v
    first, second = (
        torch.autograd.grad(y, w, torch.tensor(np.asarray(u)), retain_graph=True)[0] for u in (draw(5, 6), draw(6, 6))
    )
    _, pullback = jax.vjp(lambda w: jnp.tanh(X @ w) @ V, W)
    same(pullback(draw(5, 6))[0], first)
    same(pullback(draw(6, 6))[0], second)


def test_freed_graphs():
    """backward() frees what it needs; a pullback keeps its residuals, and they are freed with it."""
    w, v = tensors()
    y = of_torch(w, v, torch.tensor(np.asarray(X)))
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    _, pullback = jax.vjp(lambda w: f((w, V), X), W)
    same(pullback(jnp.ones(()))[0], w.grad)
    same(pullback(jnp.ones(()))[0], w.grad)
    residuals = [weakref.ref(leaf) for leaf in jax.tree.leaves(pullback) if leaf.shape == (6, 4)]
    assert residuals
    assert None not in [residual() for residual in residuals]
    del pullback
    gc.collect()
    assert {residual() for residual in residuals} == {None}


def test_create_graph_a_gradient_penalty():
    w, v = tensors()
    x = torch.tensor(np.asarray(X), requires_grad=True)
    (of_x,) = torch.autograd.grad(of_torch(w, v, x), x, create_graph=True)
    (of_x**2).sum().backward()
    penalty = lambda params: jnp.sum(jax.grad(f, 1)(params, X) ** 2)
    of_w, of_v = jax.grad(penalty)((W, V))
    same(of_w, w.grad)
    same(of_v, v.grad)


def test_backward_stores_the_gradients_of_leaves():
    w, v = tensors()
    of_torch(w, v, torch.tensor(np.asarray(X))).backward()
    graph = trace(f)((W, V), X).backward()
    same(graph["params[0]"].adjoint, w.grad)
    same(graph["params[1]"].adjoint, v.grad)
