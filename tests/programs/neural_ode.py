"""The law of motion of a spiral, learned from where it passed (Chen et al. 2018)."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import random
from fstensor.experimental.ode import odeint

TRUE_LAW = ((-0.1, 2.0), (-2.0, -0.1))


def slope(y, t, params):
    """A matrix, and a small network beside it."""
    return params["matrix"] @ y + params["out"] @ jnp.tanh(params["in"] @ y)


def trajectory(params, start, times):
    return odeint(slope, start, times, params, rtol=1e-6, atol=1e-6)


def loss(params, start, times, observed):
    return jnp.mean((trajectory(params, start, times) - observed) ** 2)


@fst.jit
def step(params, start, times, observed):
    value, grads = fst.value_and_grad(loss)(params, start, times, observed)
    return fst.tree.map(lambda p, g: p - 0.3 * g, params, grads), value


def run():
    start = jnp.array([2.0, 0.0])
    times = jnp.linspace(0.0, 1.5, 10)
    truth = {"matrix": jnp.array(TRUE_LAW), "in": jnp.zeros((4, 2)), "out": jnp.zeros((2, 4))}
    observed = trajectory(truth, start, times)
    keys = random.split(random.PRNGKey(0))
    params = {
        "matrix": jnp.array([[0.0, 1.5], [-1.5, 0.0]]),
        "in": 0.1 * random.normal(keys[0], (4, 2)),
        "out": 0.1 * random.normal(keys[1], (2, 4)),
    }
    gradient = fst.grad(loss)(params, start, times, observed)
    losses = []
    for _ in range(25):
        params, value = step(params, start, times, observed)
        losses.append(value)
    return {"observed": observed, "gradient": gradient, "losses": jnp.stack(losses)}
