"""Derivatives of a fixed point by the implicit function theorem, without those of the iteration."""

from functools import partial

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random


@partial(fst.custom_vjp, nondiff_argnums=(0,))
def fixed_point(f, a, guess):
    """The x with x = f(a, x)."""

    def goes_on(carry):
        before, now = carry
        return jnp.max(jnp.abs(now - before)) > 1e-12

    return lax.while_loop(goes_on, lambda c: (c[1], f(a, c[1])), (guess, f(a, guess)))[1]


def forward(f, a, guess):
    x = fixed_point(f, a, guess)
    return x, (a, x)


def backward(f, residuals, ct):
    a, x = residuals
    _, pull_a = fst.vjp(lambda a: f(a, x), a)
    _, pull_x = fst.vjp(lambda x: f(a, x), x)
    # u = ct + (df/dx)^T u is a fixed point itself.
    u = fixed_point(lambda ct, u: ct + pull_x(u)[0], ct, jnp.zeros_like(x))
    return pull_a(u)[0], jnp.zeros_like(x)


fixed_point.defvjp(forward, backward)


def square_root(a):
    return fixed_point(lambda a, x: 0.5 * (x + a / x), a, jnp.ones_like(a))


def layer(params, x):
    weights, bias = params
    return fixed_point(lambda p, z: jnp.tanh(p[0] @ z + p[1] + x), (weights, bias), jnp.zeros(3))


def run():
    a = jnp.array([0.5, 2.0, 9.0])
    weights = 0.2 * random.normal(random.PRNGKey(0), (3, 3))
    bias, x = jnp.array([0.1, -0.2, 0.3]), jnp.array([1.0, 0.0, -1.0])
    return {
        "root": square_root(a),
        "slope": fst.vmap(fst.grad(square_root))(a),
        "jitted slope": fst.jit(fst.vmap(fst.grad(square_root)))(a),
        "weights": weights,
        "equilibrium": layer((weights, bias), x),
        "jacobian": fst.jacrev(lambda b: layer((weights, b), x))(bias),
        "gradient": fst.grad(lambda w: jnp.sum(layer((w, bias), x) ** 2))(weights),
    }
