"""Programs written for JAX run with only their imports changed, and give what JAX gives.

Each program beside this file has a function `run`, whose results are compared with those of the
same text that imports JAX, and with what is known of them.
"""

import types
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

import fstensor as fst

HERE = Path(__file__).parent
PROGRAMS = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith(("test_", "__")))
# Both sides compute in double precision. Iterations amplify rounding, so that a tolerance says how
# long the program iterates; solvers of differential equations choose their own steps.
TOLERANCES = {"neural_ode": 1e-3, "maml": 1e-7, "char_rnn": 1e-6}
DEFAULT_TOLERANCE = 1e-9


def load(name, library):
    """The program as a module, with `library` in its imports."""
    path = HERE / f"{name}.py"
    lines = path.read_text().splitlines()
    swapped = [
        line.replace("fstensor", library) if line.startswith(("import ", "from ")) else line
        for line in lines
    ]
    module = types.ModuleType(f"{name}_with_{library}")
    exec(compile("\n".join(swapped), path, "exec"), vars(module))
    return module


@pytest.fixture
def results():
    """The results of a program, computed in double precision."""

    def run(name):
        bits = fst.config.default_dtype_bits
        fst.config.update("default_dtype_bits", 64)
        try:
            return fst.tree.map(np.asarray, load(name, "fstensor").run())
        finally:
            fst.config.update("default_dtype_bits", bits)

    return run


def results_of_jax(name):
    # Each program is compiled for one run, which is not worth an optimizer's time.
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, load(name, "jax").run())
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_jax(name, results):
    got, expected = results(name), results_of_jax(name)
    assert fst.tree.structure(got) == fst.tree.structure(expected)
    rtol = TOLERANCES.get(name, DEFAULT_TOLERANCE)
    for (path, g), e in zip(fst.tree.leaves_with_path(got), fst.tree.leaves(expected), strict=True):
        where = fst.tree.keystr(path)
        assert g.dtype == e.dtype, where
        atol = rtol * max(np.abs(e).max(), 1e-3)
        np.testing.assert_allclose(g, e, rtol=rtol, atol=atol, err_msg=where)


def test_char_rnn_learns_the_text(results):
    out = results("char_rnn")
    assert out["losses"][0] > 2.0
    assert out["losses"][-1] < 0.2
    text = load("char_rnn", "fstensor")
    continued = "".join(text.ALPHABET[i] for i in out["continued"])
    assert text.TEXT[0] + continued == text.TEXT[:21]


def test_maml_learns_to_adapt(results):
    out = results("maml")
    assert out["after"] < 0.6 * out["before"]
    # One step of rate r shrinks w - c by 1 - r, so that the loss (1 - r)^2 (w - c)^2 / 2 remains.
    np.testing.assert_allclose(out["meta_gradient"], 0.9**2 * (np.arange(4) - 0.5), rtol=1e-12)


def test_neural_ode_learns_the_law(results):
    out = results("neural_ode")
    # The spiral exp(-t / 10) (cos 2t, -sin 2t) from (2, 0).
    t = np.linspace(0, 1.5, 10)
    exact = 2 * np.exp(-0.1 * t)[:, None] * np.stack([np.cos(2 * t), -np.sin(2 * t)], 1)
    np.testing.assert_allclose(out["observed"], exact, atol=1e-5)
    assert out["losses"][-1] < 0.02 * out["losses"][0]


def test_hamiltonian_monte_carlo_finds_mean_and_covariance(results):
    out = results("hamiltonian_monte_carlo")
    samples = out["samples"].reshape(-1, 2)
    assert 0.8 < out["rate"] <= 1
    # 2080 samples, little correlated: five standard errors.
    np.testing.assert_allclose(samples.mean(0), [1, -2], atol=5 * np.sqrt(2 / 2000))
    np.testing.assert_allclose(
        np.cov(samples.T), [[1, 0.6], [0.6, 2]], atol=5 * 2 * np.sqrt(2 / 2000)
    )


def test_gaussian_process_is_a_gaussian(results):
    out = results("gaussian_process")
    known = scipy.stats.multivariate_normal(cov=out["start covariance"]).logpdf(out["y"])
    np.testing.assert_allclose(out["likelihoods"][0], known, rtol=1e-10)
    assert np.all(np.diff(out["likelihoods"]) > 0)
    mean, variance = out["prediction"]
    assert np.all(variance > 0)
    np.testing.assert_allclose(mean, np.sin(2 * np.linspace(-2.5, 2.5, 11)), atol=0.2)
    # Without noise the posterior passes through the observations.
    np.testing.assert_allclose(out["interpolation"], out["y"], atol=1e-2)


def test_fixed_point_has_the_derivatives_of_the_implicit_function(results):
    out = results("fixed_point")
    a = np.array([0.5, 2.0, 9.0])
    np.testing.assert_allclose(out["root"], np.sqrt(a), rtol=1e-12)
    np.testing.assert_allclose(out["slope"], 0.5 / np.sqrt(a), rtol=1e-10)
    np.testing.assert_allclose(out["jitted slope"], 0.5 / np.sqrt(a), rtol=1e-10)
    # z = tanh(W z + b + x): with D = 1 - z^2, dz/db = (1 - D W)^-1 D.
    z, w = out["equilibrium"], out["weights"]
    d = np.diag(1 - z**2)
    jacobian = np.linalg.solve(np.eye(3) - d @ w, d)
    np.testing.assert_allclose(out["jacobian"], jacobian, rtol=1e-9)
    np.testing.assert_allclose(out["gradient"], np.outer(jacobian.T @ (2 * z), z), rtol=1e-9)


def test_kalman_filters_agree_and_follow_the_path(results):
    out = results("kalman_filter")
    for name in ("means", "covs", "sensitivity"):
        np.testing.assert_allclose(out[name], out[f"loop {name}"], rtol=1e-8, atol=1e-10)
    error = np.abs(out["means"][10:, 0] - out["path"][10:]).mean()
    assert error < 0.6 * np.abs(out["ys"][10:, 0] - out["path"][10:]).mean()
    # The filter is linear: its weights of the observations fall off into the past.
    assert np.abs(out["sensitivity"][-1]) > 10 * np.abs(out["sensitivity"][0])


def test_per_example_gradients_in_closed_form(results):
    out = results("per_example_gradients")
    x, y, w = out["x"], out["y"], out["params"]["w"]
    p = scipy.special.expit(x @ w + out["params"]["b"])
    np.testing.assert_allclose(out["gradients"]["w"], (p - y)[:, None] * x, rtol=1e-12)
    np.testing.assert_allclose(out["gradients"]["b"], p - y, rtol=1e-12)
    full = np.concatenate([(p - y)[:, None], (p - y)[:, None] * x], 1)
    norms = np.linalg.norm(full, axis=1, keepdims=True)
    clipped = (full / np.maximum(1, norms / 0.5)).mean(0)
    np.testing.assert_allclose(out["clipped"]["b"], clipped[0], rtol=1e-12)
    np.testing.assert_allclose(out["clipped"]["w"], clipped[1:], rtol=1e-12)
    outer = x[:, :, None] * x[:, None, :]
    np.testing.assert_allclose(out["hessians"], (p * (1 - p))[:, None, None] * outer, rtol=1e-12)
