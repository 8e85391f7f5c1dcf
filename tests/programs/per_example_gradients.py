"""The gradient of each example, clipped as differential privacy asks (Abadi et al. 2016)."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import random
from fstensor.flatten_util import ravel_pytree


def loss(params, x, y):
    score = x @ params["w"] + params["b"]
    return jnp.log1p(jnp.exp(score)) - y * score


@fst.jit
def per_example(params, x, y):
    return fst.vmap(fst.grad(loss), in_axes=(None, 0, 0))(params, x, y)


def clipped_mean(params, x, y, bound=0.5):
    def clipped(x, y):
        vector, unravel = ravel_pytree(fst.grad(loss)(params, x, y))
        return unravel(vector / jnp.maximum(1.0, jnp.linalg.norm(vector) / bound))

    return fst.tree.map(lambda g: jnp.mean(g, axis=0), fst.vmap(clipped)(x, y))


def run():
    keys = random.split(random.PRNGKey(0), 2)
    x = random.normal(keys[0], (20, 3))
    y = (x[:, 0] > 0).astype(x.dtype)
    params = {"w": random.normal(keys[1], (3,)), "b": jnp.array(0.1)}
    hessians = fst.vmap(fst.hessian(lambda w, x, y: loss({**params, "w": w}, x, y)), (None, 0, 0))
    return {
        "x": x,
        "y": y,
        "params": params,
        "gradients": per_example(params, x, y),
        "clipped": clipped_mean(params, x, y),
        "hessians": hessians(params["w"], x, y),
    }
