"""The bundle adjustment of ADBench: reprojection residuals of points in cameras, with a sparse Jacobian.

Srajer, Kukelova, Fitzgibbon 2018, and github.com/microsoft/ADBench; its data have the sizes of the "Bundle
adjustment in the large" problems (Agarwal et al. 2010).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jacobian_functions.rotation import cross, derivative_parts, rotated

CAMERA = 11  # rotation (3), centre (3), focal length, principal point (2), radial distortion (2)


def bundle_adjustment(cameras=10, points=100, observations=400, seed=0):
    """(f, x, Jacobian by hand) for observations drawn at random; f is that of `residuals`."""
    rng = np.random.default_rng(seed)
    camera = rng.integers(cameras, size=observations)
    point = rng.integers(points, size=observations)
    centre = rng.normal(size=(cameras, 3)) + np.array([0, 0, -10])
    lens = np.concatenate([500 + rng.normal(size=(cameras, 1)), rng.normal(size=(cameras, 2))], 1)
    distortion = 0.1 * rng.normal(size=(cameras, 2))
    poses = np.concatenate([0.3 * rng.normal(size=(cameras, 3)), centre, lens, distortion], 1)
    x = np.concatenate([poses.ravel(), rng.normal(size=3 * points), rng.uniform(0.5, 1, observations)])
    features = jnp.asarray(rng.normal(size=(observations, 2)))
    f, by_hand = residuals(features, cameras, points, camera, point)
    return f, jnp.asarray(x), by_hand


def residuals(features, cameras, points, camera, point):
    """f: (11 cameras + 3 points + observations,) → (3 observations,), and its Jacobian by hand.

    The input holds the cameras, the points and a weight w for each observation; the output holds, for each, the two
    entries of w (projection − feature), and after all of them 1 − w² for each. `camera` and `point` say which ones an
    observation is of. `by_hand(x)` is dense; `by_hand.blocks(x)` and `by_hand.places` give what is not zero.
    """

    def observed(x):
        """For each observation its camera (p, 11), point (p, 3) and weight (p,)."""
        poses, spots, weights = jnp.split(x, (CAMERA * cameras, CAMERA * cameras + 3 * points))
        return poses.reshape(-1, CAMERA)[camera], spots.reshape(-1, 3)[point], weights

    def f(x):
        pose, spot, weight = observed(x)
        error = weight[:, None] * (jax.vmap(project)(pose, spot) - features)
        return jnp.concatenate([error.reshape(-1), 1 - weight**2])

    return f, ByHand(observed, features, (cameras, points, camera, point))


def project(pose, spot):
    """Where a camera sees a point: (11,), (3,) → (2,)."""
    rotation, centre, focal, principal, radial = jnp.split(pose, (3, 6, 7, 9))
    at = rotated(rotation, spot - centre)
    flat = at[:2] / at[2]
    square = (flat**2).sum()
    return flat * (1 + radial[0] * square + radial[1] * square**2) * focal + principal


def project_by_hand(pose, spot):
    """The projection and its derivative with respect to camera and point, (2, 14), factor by factor.

    With X = R(spot − centre), u = X₁₂/X₃, s = ‖u‖², l = 1 + k₁s + k₂s²: ∂u/∂X = [I | −u]/X₃ and
    ∂(ul)/∂u = l I + (2k₁ + 4k₂s) u uᵀ.
    """
    rotation, centre, (focal,), principal, (k1, k2) = jnp.split(pose, (3, 6, 7, 9))
    there = spot - centre
    r, d = derivative_parts(rotation)
    at = r @ there
    u = at[:2] / at[2]
    s = (u**2).sum()
    scale = 1 + k1 * s + k2 * s**2
    eye = jnp.eye(2, dtype=pose.dtype)
    by_u = scale * eye + (2 * k1 + 4 * k2 * s) * jnp.outer(u, u)
    by_spot = focal / at[2] * by_u @ jnp.concatenate([eye, -u[:, None]], 1) @ r
    by_rotation = -by_spot @ cross(there) @ d
    by_radial = focal * jnp.stack([s * u, s**2 * u], 1)
    jacobian = [by_rotation, -by_spot, (scale * u)[:, None], eye, by_radial, by_spot]
    return scale * u * focal + principal, jnp.concatenate(jacobian, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class ByHand:
    """x ↦ the dense Jacobian; `blocks(x)` its nonzero entries, `places` where they are."""

    observed: object
    features: object
    layout: tuple

    def blocks(self, x):
        """Each observation's two rows by camera, point and weight, (p, 2, 15), and ∂(1 − w²)/∂w, (p,)."""
        pose, spot, weight = self.observed(x)
        seen, jacobian = jax.vmap(project_by_hand)(pose, spot)
        by_weight = (seen - self.features)[..., None]
        return jnp.concatenate([weight[:, None, None] * jacobian, by_weight], 2), -2 * weight

    @property
    def shape(self):
        cameras, points, camera, _ = self.layout
        return 3 * len(camera), CAMERA * cameras + 3 * points + len(camera)

    @property
    def places(self):
        """Rows and columns of the entries of both parts of `blocks(x)`, flattened one after the other."""
        cameras, points, camera, point = self.layout
        first, p = CAMERA * cameras, len(camera)
        weights = first + 3 * points + np.arange(p)
        columns = [CAMERA * camera[:, None] + np.arange(CAMERA), first + 3 * point[:, None] + np.arange(3)]
        columns = np.concatenate([*columns, weights[:, None]], 1)
        rows = np.broadcast_to(np.arange(2 * p).reshape(p, 2, 1), (p, 2, CAMERA + 4))
        columns = np.broadcast_to(columns[:, None], rows.shape)
        below = 2 * p + np.arange(p)
        return np.concatenate([rows.ravel(), below]), np.concatenate([columns.ravel(), weights])

    def __call__(self, x):
        entries = jnp.concatenate([part.reshape(-1) for part in self.blocks(x)])
        return jnp.zeros(self.shape, x.dtype).at[self.places].set(entries, unique_indices=True)
