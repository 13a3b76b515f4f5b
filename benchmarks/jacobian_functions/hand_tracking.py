"""The hand tracking of ADBench: distances of measured points from a skinned mesh of a hand.

Srajer, Kukelova, Fitzgibbon 2018, and github.com/microsoft/ADBench; the mesh here is made up, with the same
structure: 22 bones (wrist, five fingers of four bones, forearm), each vertex carried by some of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jacobian_functions.rotation import cross, derivative_parts, matrix

FINGERS, BONES, ANGLES = 5, 22, 26


class Hand(NamedTuple):
    """relative: each bone in its parent's frame at rest, wrist (4, 4), fingers (5, 4, 4, 4), forearm (4, 4);
    inverse (22, 4, 4): the bones' inverse frames at rest; vertices (v, 4); weights (v, 22)."""

    wrist: jax.Array
    fingers: jax.Array
    forearm: jax.Array
    inverse: jax.Array
    vertices: jax.Array
    weights: jax.Array


def hand_tracking(points=100, vertices=544, seed=0):
    """f: (26,) → (3 points,), the points less the vertices that belong to them, and its Jacobian by hand.

    θ: global rotation (3) and translation (3), and for each finger four angles: bend and spread of its second bone,
    bend of its third and of its fourth.
    """
    hand, theta, targets, which = _made(points, vertices, seed)
    nearest = which[:, 0]

    def f(theta):
        positions, _ = posed(hand, theta)
        return (targets - placed(theta, positions[nearest])).reshape(-1)

    def by_hand(theta):
        few = hand._replace(vertices=hand.vertices[nearest], weights=hand.weights[nearest])
        return -placed_by_hand(theta, *turned(few, theta))[1].reshape(-1, ANGLES)

    return f, theta, by_hand


def hand_tracking_on_triangles(points=100, vertices=544, seed=0):
    """f: (2 points + 26,) → (3 points,), and its Jacobian by hand: the complicated case of ADBench.

    Each point belongs to a place (u₁, u₂, 1 − u₁ − u₂) in a triangle of vertices; the u come first, then θ as in
    `hand_tracking`. The Jacobian with respect to u is blocks of 3 × 2.
    """
    hand, theta, targets, corners = _made(points, vertices, seed)
    places = jnp.asarray(np.random.default_rng(seed + 1).dirichlet(np.ones(3), points)[:, :2])

    def split(x):
        u = x[: 2 * points].reshape(points, 2)
        return jnp.concatenate([u, 1 - u.sum(1, keepdims=True)], 1), x[2 * points :]

    def f(x):
        u, theta = split(x)
        on_triangles = (u[:, :, None] * posed(hand, theta)[0][corners]).sum(1)
        return (targets - placed(theta, on_triangles)).reshape(-1)

    def by_hand(x):
        u, theta = split(x)
        few = hand._replace(vertices=hand.vertices[corners].reshape(-1, 4))
        few = few._replace(weights=hand.weights[corners].reshape(-1, BONES))
        positions, turns = (y.reshape(points, 3, *y.shape[1:]) for y in turned(few, theta))
        mean = lambda y: jnp.einsum("pc,pc...->p...", u, y)
        _, by_theta = placed_by_hand(theta, mean(positions), mean(turns))
        edges = (positions[:, :2] - positions[:, 2:]) @ matrix(theta[:3]).T
        i = np.arange(points)
        by_u = jnp.zeros((points, 3, points, 2), x.dtype).at[i, :, i].set(edges.mT)
        return -jnp.concatenate([by_u.reshape(3 * points, -1), by_theta.reshape(3 * points, ANGLES)], 1)

    return f, jnp.concatenate([places.reshape(-1), theta]), by_hand


def posed(hand, theta):
    """The vertices moved by the bones, (v, 3), and each bone's transformation of the resting hand, (22, 4, 4)."""
    bend, spread = angles(theta)
    turns = jnp.zeros((FINGERS, 4, 4, 4), theta.dtype).at[..., 3, 3].set(1)
    turns = turns.at[:, 0, :3, :3].set(jnp.eye(3, dtype=theta.dtype))
    turns = turns.at[:, 1:, :3, :3].set(_spread(spread) @ _bend(bend))
    relative = hand.fingers @ turns
    chain = [hand.wrist @ relative[:, 0]]
    for bone in range(1, 4):
        chain.append(chain[-1] @ relative[:, bone])
    fingers = jnp.stack(chain, 1).reshape(-1, 4, 4)
    frames = jnp.concatenate([hand.wrist[None], fingers, (hand.wrist @ hand.forearm)[None]])
    transforms = frames @ hand.inverse
    return jnp.einsum("vb,bij,vj->vi", hand.weights, transforms[:, :3], hand.vertices), frames


def placed(theta, positions):
    """The whole hand rotated and moved: (p, 3) → (p, 3)."""
    return positions @ matrix(theta[:3]).T + theta[None, 3:6]


def turned(hand, theta):
    """The vertices moved by the bones, (v, 3), and their derivative by the angles, (v, 3, 20); no global motion yet.

    An angle turns what hangs on its joint about the joint's axis ω through its centre o: the derivative of a vertex
    is ω × Σ w (p − o), summed over the bones from there on, with p where each bone carries the vertex.
    """
    _, spread = angles(theta)
    positions, frames = posed(hand, theta)
    carried = jnp.einsum("vb,bij,vj->vbi", hand.weights, (frames @ hand.inverse)[:, :3], hand.vertices)
    of_fingers = lambda y: y[:, 1:-1].reshape(len(y), FINGERS, 4, *y.shape[2:])
    beyond = lambda y: jax.lax.cumsum(of_fingers(y), axis=2, reverse=True)[:, :, 1:]
    moved, weight = beyond(carried), beyond(hand.weights)
    joints = frames[1:-1].reshape(FINGERS, 4, 4, 4)[:, :3] @ hand.fingers[:, 1:]
    arm = moved - weight[..., None] * joints[None, ..., :3, 3]
    bends = jnp.cross((joints[..., :3, :3] @ _spread(spread))[None, ..., 0], arm)
    spreads = jnp.cross(joints[None, :, 0, :3, 2], arm[:, :, 0])
    in_order = jnp.stack([bends[:, :, 0], spreads, bends[:, :, 1], bends[:, :, 2]], 2)
    return positions, in_order.reshape(len(positions), -1, 3).mT


def placed_by_hand(theta, positions, turns):
    """The placed positions, and their derivative by θ, (p, 3, 26), from their derivative by the fingers' angles."""
    r, d = derivative_parts(theta[:3])
    rotation = -r @ jax.vmap(cross)(positions) @ d
    translation = jnp.broadcast_to(jnp.eye(3, dtype=theta.dtype), rotation.shape)
    return positions @ r.T + theta[None, 3:6], jnp.concatenate([rotation, translation, r @ turns], 2)


def angles(theta):
    """Bend and spread of the three moving bones of each finger, (5, 3) each; only the first of them spreads."""
    finger = theta[6:].reshape(FINGERS, 4)
    still = jnp.zeros((FINGERS, 2), theta.dtype)
    return finger[:, np.array([0, 2, 3])], jnp.concatenate([finger[:, 1:2], still], 1)


def _bend(t):
    """The rotation about x: (…,) → (…, 3, 3)."""
    c, s, one, no = jnp.cos(t), jnp.sin(t), jnp.ones_like(t), jnp.zeros_like(t)
    return jnp.stack([one, no, no, no, c, -s, no, s, c], -1).reshape(*t.shape, 3, 3)


def _spread(t):
    """The rotation about z: (…,) → (…, 3, 3)."""
    c, s, one, no = jnp.cos(t), jnp.sin(t), jnp.ones_like(t), jnp.zeros_like(t)
    return jnp.stack([c, -s, no, s, c, no, no, no, one], -1).reshape(*t.shape, 3, 3)


def _made(points, vertices, seed):
    """A hand, a pose, the points, and for each the corners of a triangle near it, (points, 3)."""
    rng = np.random.default_rng(seed)
    frame = lambda *offset: np.block([[np.eye(3), np.reshape(offset, (3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    fingers = np.stack([[frame(f - 2, 4, 0), *[frame(0, 1.5, 0)] * 3] for f in range(FINGERS)])
    wrist, forearm = frame(0, 0, 0), frame(0, -3, 0)
    frames = [wrist]
    for finger in fingers:
        at = wrist
        for bone in finger:
            at = at @ bone
            frames.append(at)
    frames = np.stack([*frames, wrist @ forearm])
    bone = rng.integers(BONES, size=vertices)
    rest = frames[bone, :3, 3] + [0, 0.7, 0] + 0.4 * rng.normal(size=(vertices, 3))
    near = ((rest[:, None] - frames[None, :, :3, 3]) ** 2).sum(2)
    weights = np.where(near <= np.sort(near, 1)[:, 3:4], np.exp(-near), 0)  # four bones carry a vertex
    weights /= weights.sum(1, keepdims=True)
    homogeneous = np.concatenate([rest, np.ones((vertices, 1))], 1)
    hand = Hand(*map(jnp.asarray, (wrist, fingers, forearm, np.linalg.inv(frames), homogeneous, weights)))
    theta = 0.3 * rng.normal(size=ANGLES) + np.r_[0.5, np.zeros(ANGLES - 1)]
    corners = rng.integers(vertices, size=(points, 3))
    targets = jnp.asarray(rest[corners[:, 0]] + 0.1 * rng.normal(size=(points, 3)))
    return hand, jnp.asarray(theta), targets, corners
