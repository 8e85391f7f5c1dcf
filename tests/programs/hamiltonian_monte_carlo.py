"""Samples of a correlated Gaussian by Hamiltonian Monte Carlo (Neal 2011)."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random

MEAN = (1.0, -2.0)
COVARIANCE = ((1.0, 0.6), (0.6, 2.0))
STEP = 0.3


def potential(q):
    d = q - jnp.array(MEAN)
    return 0.5 * d @ jnp.linalg.solve(jnp.array(COVARIANCE), d)


def leapfrog(q, p, steps):
    force = fst.grad(potential)

    def body(carry):
        i, q, p = carry
        p = p - 0.5 * STEP * force(q)
        q = q + STEP * p
        return i + 1, q, p - 0.5 * STEP * force(q)

    _, q, p = lax.while_loop(lambda carry: carry[0] < steps, body, (0, q, p))
    return q, p


def transition(q, key):
    of_momentum, of_steps, of_choice = random.split(key, 3)
    p = random.normal(of_momentum, q.shape)
    steps = random.randint(of_steps, (), 2, 8)
    new_q, new_p = leapfrog(q, p, steps)
    gain = potential(q) + 0.5 * p @ p - potential(new_q) - 0.5 * new_p @ new_p
    accepted = jnp.log(random.uniform(of_choice)) < gain
    q = jnp.where(accepted, new_q, q)
    return q, (q, accepted)


@fst.jit
def chain(key, start):
    return lax.scan(transition, start, random.split(key, 150))[1]


def run():
    starts = random.normal(random.PRNGKey(1), (16, 2))
    keys = random.split(random.PRNGKey(0), 16)
    samples, accepted = fst.vmap(chain)(keys, starts)
    return {"samples": samples[:, 20:], "rate": jnp.mean(accepted.astype(samples.dtype))}
