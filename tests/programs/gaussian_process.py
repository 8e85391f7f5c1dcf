"""Regression with a Gaussian process, by Cholesky factors (Rasmussen and Williams 2006)."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random
from fstensor.scipy.linalg import cho_factor, cho_solve, solve_triangular


def kernel(params, x, y):
    def one(a, b):
        distance = (a - b) / jnp.exp(params["length"])
        return jnp.exp(2 * params["amplitude"] - 0.5 * distance**2)

    return fst.vmap(lambda a: fst.vmap(lambda b: one(a, b))(y))(x)


def covariance(params, x):
    return kernel(params, x, x) + jnp.exp(2 * params["noise"]) * jnp.eye(len(x))


def log_likelihood(params, x, y):
    factor = jnp.linalg.cholesky(covariance(params, x))
    white = solve_triangular(factor, y, lower=True)
    of_determinant = jnp.sum(jnp.log(jnp.diagonal(factor)))
    return -0.5 * white @ white - of_determinant - 0.5 * len(x) * jnp.log(2 * jnp.pi)


def predict(params, x, y, new):
    factor = cho_factor(covariance(params, x), lower=True)
    across = kernel(params, x, new)
    mean = across.T @ cho_solve(factor, y)
    return mean, jnp.diagonal(kernel(params, new, new) - across.T @ cho_solve(factor, across))


@fst.jit
def fit(params, x, y):
    def step(params, _):
        value, grads = fst.value_and_grad(log_likelihood)(params, x, y)
        return fst.tree.map(lambda p, g: p + 0.01 * g, params, grads), value

    return lax.scan(step, params, None, length=60)


def run():
    x = jnp.linspace(-3.0, 3.0, 25)
    y = jnp.sin(2 * x) + 0.1 * random.normal(random.PRNGKey(0), x.shape)
    start = {"amplitude": jnp.array(0.0), "length": jnp.array(0.0), "noise": jnp.array(-1.0)}
    params, values = fit(start, x, y)
    # Short steps and little noise: the posterior passes through the observations.
    exact = {"amplitude": jnp.array(0.0), "length": jnp.array(-1.5), "noise": jnp.array(-7.0)}
    new = jnp.linspace(-2.5, 2.5, 11)
    return {
        "x": x,
        "y": y,
        "start covariance": covariance(start, x),
        "start gradient": fst.grad(log_likelihood)(start, x, y),
        "likelihoods": values,
        "params": params,
        "prediction": predict(params, x, y, new),
        "interpolation": predict(exact, x, y, x)[0],
    }
