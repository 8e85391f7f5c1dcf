"""A Kalman filter in logarithmic depth (Sarkka and Garcia-Fernandez 2021), and one in a loop."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random

DT = 0.1
F = ((1.0, DT), (0.0, 1.0))  # position and velocity
Q = ((DT**3 / 3, DT**2 / 2), (DT**2 / 2, DT))
H = ((1.0, 0.0),)
R = ((0.25,),)
M0 = (0.0, 1.0)
P0 = ((1.0, 0.0), (0.0, 1.0))


def matrices():
    return [jnp.array(m) for m in (F, Q, H, R, M0, P0)]


def update(mean, cov, y):
    _, _, h, r, _, _ = matrices()
    s = h @ cov @ h.T + r
    gain = jnp.linalg.solve(s, h @ cov).T
    return mean + gain @ (y - h @ mean), cov - gain @ s @ gain.T


def sequential(ys):
    f, q, _, _, m0, p0 = matrices()

    def step(carry, y):
        mean, cov = carry
        carry = update(f @ mean, f @ cov @ f.T + q, y)
        return carry, carry

    first = update(m0, p0, ys[0])
    _, (means, covs) = lax.scan(step, first, ys[1:])
    return jnp.concatenate([first[0][None], means]), jnp.concatenate([first[1][None], covs])


def first_element(y):
    mean, cov = update(jnp.array(M0), jnp.array(P0), y)
    return jnp.zeros((2, 2)), mean, cov, jnp.zeros(2), jnp.zeros((2, 2))


def element(y):
    f, q, h, r, _, _ = matrices()
    s = h @ q @ h.T + r
    gain = jnp.linalg.solve(s, h @ q).T
    of_y = f.T @ h.T @ jnp.linalg.inv(s)
    kept = jnp.eye(2) - gain @ h
    return kept @ f, gain @ y, kept @ q, of_y @ y, of_y @ h @ f


def combine(one, two):
    a1, b1, c1, eta1, j1 = one
    a2, b2, c2, eta2, j2 = two
    eye = jnp.eye(2)
    left = jnp.linalg.solve((eye + c1 @ j2).T, a2.T).T
    right = jnp.linalg.solve((eye + j2 @ c1).T, a1).T
    return (
        left @ a1,
        left @ (b1 + c1 @ eta2) + b2,
        left @ c1 @ a2.T + c2,
        right @ (eta2 - j2 @ b1) + eta1,
        right @ j2 @ a1 + j1,
    )


@fst.jit
def parallel(ys):
    rest = fst.vmap(element)(ys[1:])
    elements = fst.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first_element(ys[0]), rest)
    _, means, covs, _, _ = lax.associative_scan(fst.vmap(combine), elements)
    return means, covs


def run():
    times = DT * jnp.arange(40)
    path = jnp.sin(times) + times
    ys = (path + 0.5 * random.normal(random.PRNGKey(0), path.shape))[:, None]
    means, covs = parallel(ys)
    loop_means, loop_covs = fst.jit(sequential)(ys)
    sensitivity = fst.jit(fst.grad(lambda ys: parallel(ys)[0][-1, 0]))(ys)
    loop_sensitivity = fst.jit(fst.grad(lambda ys: sequential(ys)[0][-1, 0]))(ys)
    return {
        "ys": ys,
        "path": path,
        "means": means,
        "covs": covs,
        "loop means": loop_means,
        "loop covs": loop_covs,
        "sensitivity": sensitivity,
        "loop sensitivity": loop_sensitivity,
    }
