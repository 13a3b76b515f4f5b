"""Small nonlinear systems of the elimination literature, in scalars, as it is written there.

Each `name()` gives `(f, x)`: f from a vector to a vector, and a point where it is smooth. Four of the seven
(robot arm, heart dipole, propane, Black-Scholes) are those of Lohoff and Neftci, "Optimizing automatic
differentiation with deep reinforcement learning" (2024), as is the one-dimensional Roe flux.
"""

import jax
import jax.numpy as jnp
from jax import lax

SYSTEMS = {}


def system(make):
    SYSTEMS[make.__name__] = make
    return make


@system
def roe_1d(gamma=0.5):
    """Roe's flux for the Euler equations in one dimension (Roe 1981): (r, m, e) left and right → 3.

    γ = 0.5 and the speed |u| of the third wave (Roe has |u − a|) are the elimination literature's.
    """
    kappa = gamma - 1

    def f(x):
        rl, ml, el, rr, mr, er = x
        pl, pr = (kappa * (e - 0.5 * m**2 / r) for r, m, e in ((rl, ml, el), (rr, mr, er)))
        vl, vr = ml / rl, mr / rr
        hl, hr = (el + pl) / rl, (er + pr) / rr
        wl, wr = jnp.sqrt(rl), jnp.sqrt(rr)
        u, h = (wl * vl + wr * vr) / (wl + wr), (wl * hl + wr * hr) / (wl + wr)
        rho, q = jnp.sqrt(rl * rr), u**2
        a2 = kappa * (h - 0.5 * q)
        a = jnp.sqrt(a2)
        dp, dv = pr - pl, vr - vl
        c0 = (rr - rl - dp / a2) * jnp.abs(u)
        c1 = (dv + dp / (a * rho)) * jnp.abs(u + a)
        c2 = (dv - dp / (a * rho)) * jnp.abs(u)
        c = 0.5 * rho / a
        d0 = c0 + c * c1 - c * c2
        d1 = c0 * u + c * c1 * (u + a) - c * c2 * (u - a)
        d2 = c0 * 0.5 * q + c * c1 * (h + u * a) - c * c2 * (h - u * a)
        f0 = ml + mr
        f1 = (pl + ml * vl) + (pr + mr * vr)
        f2 = vl * (pl + el) + vr * (pr + er)
        return jnp.stack([0.5 * (f0 - d0), 0.5 * (f1 - d1), 0.5 * (f2 - d2)])

    return f, jnp.array([0.01, 0.02, 0.02, 0.01, 0.03, 0.03])


@system
def roe_3d(gamma=1.4):
    """Roe's flux along the first axis in three dimensions: (r, m₁, m₂, m₃, e) left and right → 5.

    The five waves and their strengths as in Toro, "Riemann Solvers", 3rd ed., §11.2.2.
    """
    kappa = gamma - 1

    def side(r, m1, m2, m3, e):
        u, v, w = m1 / r, m2 / r, m3 / r
        p = kappa * (e - 0.5 * (m1 * u + m2 * v + m3 * w))
        h = (e + p) / r
        return u, v, w, h, (m1, p + m1 * u, m2 * u, m3 * u, u * (e + p))

    def f(x):
        left, right = x[:5], x[5:]
        ul, vl, wl, hl, flux_l = side(*left)
        ur, vr, wr, hr, flux_r = side(*right)
        sl, sr = jnp.sqrt(x[0]), jnp.sqrt(x[5])
        u, v, w, h = ((sl * left + sr * right) / (sl + sr) for left, right in ((ul, ur), (vl, vr), (wl, wr), (hl, hr)))
        q = u**2 + v**2 + w**2
        a2 = kappa * (h - 0.5 * q)
        a = jnp.sqrt(a2)
        dr, d1, d2, d3, de = (x[5 + i] - x[i] for i in range(5))
        k3, k4 = d2 - v * dr, d3 - w * dr
        k2 = kappa / a2 * (dr * (h - u**2) + u * d1 - (de - k3 * v - k4 * w))
        k1 = (dr * (u + a) - d1 - a * k2) / (2 * a)
        k5 = dr - (k1 + k2)
        b1, b2, b5 = k1 * jnp.abs(u - a), k2 * jnp.abs(u), k5 * jnp.abs(u + a)
        b3, b4 = k3 * jnp.abs(u), k4 * jnp.abs(u)
        waves = b1 + b2 + b5
        d = (
            waves,
            b1 * (u - a) + b2 * u + b5 * (u + a),
            v * waves + b3,
            w * waves + b4,
            b1 * (h - u * a) + b2 * (0.5 * q) + b3 * v + b4 * w + b5 * (h + u * a),
        )
        return jnp.stack([0.5 * (fl + fr - di) for fl, fr, di in zip(flux_l, flux_r, d, strict=True)])

    return f, jnp.array([1.0, 0.4, 0.2, 0.1, 2.5, 0.8, 0.1, 0.3, 0.2, 2.0])


@system
def robot_arm():
    """Position and Tait-Bryan angles of a robot arm's hand from its six joint angles: 6 → 6."""

    def f(x):
        t1, t2, t3, t4, t5, t6 = x
        c1, c2, c3, c4, c5, c6 = map(jnp.cos, (t1, t2, t3, t4, t5, t6))
        s1, s2, s3, s4, s5, s6 = map(jnp.sin, (t1, t2, t3, t4, t5, t6))
        c23, s23 = c2 * c3 - s2 * s3, c2 * s3 + s2 * c3
        ax = s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5
        ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
        by = s5 * (s1 * c23 * c4 + c1 * s4) + s1 * s23 * c5
        az = s23 * c4 * s5 - c23 * c5
        k = c23 * s5 + s23 * c4 * c5
        reach = 175.0 + 890.0 * c2 + 50.0 * c23 + 1035.0 * s23
        return jnp.stack(
            [
                185.0 * ax + c1 * reach,
                185.0 * by + s1 * reach,
                890.0 * s2 + 575.0 + 50.0 * s23 - 1035.0 * c23 + 185.0 * az,
                jnp.arctan2(ay, ax),
                jnp.arctan2(jnp.sqrt(1.0 - az**2), az),
                jnp.arctan2(-s6 * k - s23 * s4 * c6, -(c6 * k - s23 * s4 * s6)),
            ]
        )

    return f, jnp.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@system
def heart_dipole():
    """Resultant dipoles of the human heart: 8 → 8 (Morgan, Sommese and Watson 1989, eqs. 1-8; MINPACK-2)."""

    def f(x):
        a, b, c, d, t, u, v, w = x
        tv, uw = t**2 - v**2, u**2 - w**2
        ttv, vvt = t * (t**2 - 3.0 * v**2), v * (v**2 - 3.0 * t**2)
        uuw, wwu = u * (u**2 - 3.0 * w**2), w * (w**2 - 3.0 * u**2)
        return jnp.stack(
            [
                a + b - 1.0,
                c + d - 1.0,
                t * a + u * b - v * c - w * d - 1.0,
                v * a + w * b + t * c + u * d - 1.0,
                a * tv - 2.0 * c * t * v + b * uw - 2.0 * d * u * w - 1.0,
                c * tv + 2.0 * a * t * v + d * uw + 2.0 * b * u * w - 1.0,
                a * ttv + c * vvt + b * uuw + d * wwu - 1.0,
                c * ttv - a * vvt + d * uuw - b * wwu - 1.0,
            ]
        )

    return f, jnp.array([0.3, 0.7, 0.2, 0.8, 1.1, 0.9, -0.4, 0.5])


@system
def propane():
    """Combustion of propane in air, the full formulation: 11 → 11 (MINPACK-2)."""
    p, r = 40.0, 10.0

    def f(x):
        x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = x
        s = jnp.sqrt(p / x11)
        return jnp.stack(
            [
                x1 + x4 - 3.0,
                2.0 * x1 + x2 + x4 + x7 + x8 + x9 + 2.0 * x10 - r,
                2.0 * x2 + 2.0 * x5 + x6 + x7 - 8.0,
                2.0 * x3 + x9 - 4.0 * r,
                x2 * x4 - x1 * x5,
                jnp.sqrt(x2 * x4) - jnp.sqrt(x1) * s * x6,
                jnp.sqrt(x1 * x2) - jnp.sqrt(x4) * x7 * s,
                x1 - x4 * x8 * p / x11,
                x1 * jnp.sqrt(x3) - x4 * x9 * s,
                x1**2 - x4**2 * x10 * p / x11,
                x11 - x1 - x2 - x3 - x4 - x5 - x6 - x7 - x8 - x9 - x10,
            ]
        )

    return f, jnp.array([2.0, 2.5, 20.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 30.0])


@system
def black_scholes():
    """The gradient of a call option's price in (S, K, r, σ, T), whose Jacobian is the second-order Greeks: 5 → 5."""

    def normal(z):
        return (1.0 + lax.erf(z / jnp.sqrt(2.0))) / 2.0

    def price(x):
        s, k, r, sigma, t = x
        forward = jnp.exp(r * t) * s
        d1 = (jnp.log(forward / k) + sigma**2 / 2.0 * t) / (sigma * jnp.sqrt(t))
        d2 = d1 - sigma * jnp.sqrt(t)
        return jnp.exp(-r * t) * (forward * normal(d1) - k * normal(d2))

    return jax.grad(price), jnp.array([1.0, 1.1, 0.05, 0.3, 0.7])


@system
def helmholtz(n=8):
    """The mixing term of a Helmholtz free energy, x log(x / (1 − Σ x)): n → n (Griewank and Walther, §1)."""

    def f(x):
        return x * jnp.log(x / (1.0 - x.sum()))

    return f, jnp.linspace(0.2, 0.8, n) / n
