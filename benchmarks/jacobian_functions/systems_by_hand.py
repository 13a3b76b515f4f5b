"""The Jacobians of `systems` by hand: each `name(x)` is the matrix at a vector x."""

import jax.numpy as jnp
from jax import lax


def robot_arm(x):
    """With A = c₂₃c₄s₅ + s₂₃c₅ and B = s₄s₅, the hand is at t₁'s rotation of (A, ±B), and the last angles are

    t₁ − arctan(B/A), arccos z and t₆ + arctan(p/k) + π, with p = s₂₃s₄: ∂arctan(p/k) = (k ∂p − p ∂k)/(k² + p²).
    By t₂ and t₃: ∂A = −z, ∂z = A, ∂k = n, ∂p = c₂₃s₄. By t₅: ∂A = n, ∂z = k, ∂k = −z.
    """
    c1, c2, _, c4, c5, _ = jnp.cos(x)
    s1, s2, _, s4, s5, _ = jnp.sin(x)
    c23, s23 = jnp.cos(x[1] + x[2]), jnp.sin(x[1] + x[2])
    a, b, p = c23 * c4 * s5 + s23 * c5, s4 * s5, s23 * s4
    z, k, n = s23 * c4 * s5 - c23 * c5, c23 * s5 + s23 * c4 * c5, c23 * c4 * c5 - s23 * s5
    a4, b4, b5 = -c23 * b, c4 * s5, s4 * c5
    elbow = 50.0 * c23 + 1035.0 * s23
    reach = 175.0 + 890.0 * c2 + elbow
    by3 = 1035.0 * c23 - 50.0 * s23 - 185.0 * z
    by2 = by3 - 890.0 * s2
    ab, kp, root = 1 / (a**2 + b**2), 1 / (k**2 + p**2), 1 / jnp.sqrt(1 - z**2)
    fourth, sixth = -b * z * ab, (k * c23 * s4 - p * n) * kp
    return _rows(
        x,
        [185.0 * (c1 * b - s1 * a) - s1 * reach, c1 * by2, c1 * by3, 185.0 * (c1 * a4 + s1 * b4),
         185.0 * (c1 * n + s1 * b5), 0],
        [185.0 * (c1 * a - s1 * b) + c1 * reach, s1 * by2, s1 * by3, 185.0 * (s1 * a4 + c1 * b4),
         185.0 * (s1 * n + c1 * b5), 0],
        [0, 890.0 * c2 + elbow + 185.0 * a, elbow + 185.0 * a, -185.0 * p * s5, 185.0 * k, 0],
        [1, fourth, fourth, (b * a4 - a * b4) * ab, (b * n - a * b5) * ab, 0],
        [0, -a * root, -a * root, p * s5 * root, -k * root, 0],
        [0, sixth, sixth, (k * s23 * c4 + p * p * c5) * kp, p * z * kp, 1],
    )  # fmt: skip


def heart_dipole(x):
    """With ζ = t + iv and ω = u + iw, the eight are real and imaginary part of (a + ic)ζᵏ + (b + id)ωᵏ for k = 0 … 3,
    and constants; ∂ζᵏ = kζᵏ⁻¹."""
    a, b, c, d, t, u, v, w = x
    p, q, r, s = t**2 - v**2, 2 * t * v, u**2 - w**2, 2 * u * w
    t3, v3, u3, w3 = t * (p - 2 * v**2), v * (2 * t**2 + p), u * (r - 2 * w**2), w * (2 * u**2 + r)
    e, f, g, h = 2 * (a * t - c * v), 2 * (c * t + a * v), 2 * (b * u - d * w), 2 * (d * u + b * w)
    i, j, k, m = 3 * (a * p - c * q), 3 * (c * p + a * q), 3 * (b * r - d * s), 3 * (d * r + b * s)
    return _rows(
        x,
        [1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 0],
        [t, u, -v, -w, a, b, -c, -d],
        [v, w, t, u, c, d, a, b],
        [p, r, -q, -s, e, g, -f, -h],
        [q, s, p, r, f, h, e, g],
        [t3, u3, -v3, -w3, i, k, -j, -m],
        [v3, w3, t3, u3, j, m, i, k],
    )


def propane(x):
    """Row by row, with s = √(p/x₁₁), so that ∂s/∂x₁₁ = −s/2x₁₁, and ∂√(xy)/∂x = √(xy)/2x."""
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = x
    ratio = 40.0 / x11
    s, h1, h2, h3, h4 = jnp.sqrt(ratio), jnp.sqrt(x1), jnp.sqrt(x2), jnp.sqrt(x3), jnp.sqrt(x4)
    sixth, seventh, ninth = h1 * s, h4 * s, x4 * s
    half = 0.5 / x11
    return _rows(
        x,
        [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [2, 1, 0, 1, 0, 0, 1, 1, 1, 2, 0],
        [0, 2, 0, 0, 2, 1, 1, 0, 0, 0, 0],
        [0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0],
        [-x5, x4, 0, x2, -x1, 0, 0, 0, 0, 0, 0],
        [-0.5 * s * x6 / h1, 0.5 * h4 / h2, 0, 0.5 * h2 / h4, 0, -sixth, 0, 0, 0, 0, sixth * x6 * half],
        [0.5 * h2 / h1, 0.5 * h1 / h2, 0, -0.5 * s * x7 / h4, 0, 0, -seventh, 0, 0, 0, seventh * x7 * half],
        [1, 0, 0, -x8 * ratio, 0, 0, 0, -x4 * ratio, 0, 0, x4 * x8 * ratio / x11],
        [h3, 0, 0.5 * x1 / h3, -x9 * s, 0, 0, 0, 0, -ninth, 0, ninth * x9 * half],
        [2 * x1, 0, 0, -2 * x4 * x10 * ratio, 0, 0, 0, 0, 0, -(x4**2) * ratio, x4**2 * x10 * ratio / x11],
        [-1] * 10 + [1],
    )


def black_scholes(x):
    """The second-order Greeks. With v = S φ(d₁) = B₀ φ(d₂), B₀ = K e⁻ʳᵀ and B = B₀ N(d₂), the gradient is

    (N(d₁), −B/K, TB, v√T, vσ/2√T + rB), and ∇N(d₁) = φ(d₁) ∇d₁, ∇B = v ∇d₂ + B (e_K/K − T e_r − r e_T),
    ∇v = v (e_S/S − d₁ ∇d₁), ∇d₂ = ∇d₁ − ∇(σ√T).
    """
    spot, strike, r, sigma, t = x
    root = jnp.sqrt(t)
    scale = sigma * root
    d1 = (jnp.log(spot / strike) + (r + 0.5 * sigma**2) * t) / scale
    d2 = d1 - scale
    density = jnp.exp(-0.5 * d1**2) / jnp.sqrt(2 * jnp.pi).astype(x.dtype)
    v = spot * density
    bond = 0.5 * strike * jnp.exp(-r * t) * (1 + lax.erf(d2 * 0.5**0.5))
    g1 = jnp.stack([1 / (spot * scale), -1 / (strike * scale), root / sigma, -d2 / sigma,
                    (r + 0.5 * sigma**2) / scale - 0.5 * d1 / t])  # fmt: skip
    zero = jnp.zeros_like(t)
    d_scale = jnp.stack([zero, zero, zero, root, 0.5 * sigma / root])
    d_bond = v * (g1 - d_scale) + bond * jnp.stack([zero, 1 / strike, -t, zero, -r])
    d_v = -v * d1 * g1 + jnp.stack([density, zero, zero, zero, zero])
    rows = [
        density * g1,
        -d_bond / strike + jnp.stack([zero, bond / strike**2, zero, zero, zero]),
        t * d_bond + jnp.stack([zero, zero, zero, zero, bond]),
        root * d_v + jnp.stack([zero, zero, zero, zero, 0.5 * v / root]),
        0.5 * sigma / root * d_v + r * d_bond
        + jnp.stack([zero, zero, bond, 0.5 * v / root, -0.25 * v * sigma / (t * root)]),
    ]  # fmt: skip
    return jnp.stack(rows)


def helmholtz(x):
    """∂yᵢ/∂xⱼ = δᵢⱼ(1 + log(xᵢ/s)) + xᵢ/s, s = 1 − Σx."""
    s = 1 - x.sum()
    return jnp.where(jnp.eye(x.size, dtype=bool), (1 + jnp.log(x / s))[:, None], 0) + (x / s)[:, None]


ALL = (robot_arm, heart_dipole, propane, black_scholes, helmholtz)


def _rows(x, *rows):
    """The matrix of these entries, numbers or scalars. XLA makes one loop of stacked rows, and more of a flat stack."""
    return jnp.stack([jnp.stack([jnp.asarray(entry, x.dtype) for entry in row]) for row in rows])
