"""Examples of `fstensor.scipy`."""

from __future__ import annotations

import numpy as np

from fstensor.testing.examples.example import (
    ABOVE_ONE,
    FRACTION,
    MATRIX,
    OTHER,
    POSITIVE,
    SQUARE,
    SYMMETRIC,
    UNIT,
    Examples,
    constant,
    each,
    given,
)

LIKE = "scipy jax"  # SciPy's values come fastest
LOC, SCALE = np.array([0.3, -0.2, 0.1]), np.array([0.8, 1.3, 2.1])
COUNTS = np.array([1, 0, 2])
ORDERS = np.array([1, 2, 3])
LOWER = np.tril(SQUARE)

SPECIAL: Examples = {
    **each(
        "erf erfc erfcx erfinv ndtr log_ndtr i0 i0e i1 i1e expit expi log_softmax softmax "
        "logsumexp dawsn wofz fresnel sici",
        UNIT,
        like=LIKE,
    ),
    **each(
        "spence gamma gammaln gammasgn digamma exp1 entr factorial loggamma", POSITIVE, like=LIKE
    ),
    **each("ndtri logit", FRACTION, like=LIKE),
    **each("bernoulli", call=constant(4), like=LIKE),
    **each("bessel_jn", POSITIVE, call=lambda f, x: f(x, v=3), like="jax"),
    **each("boxcox boxcox1p", POSITIVE, OTHER, like=LIKE),
    **each("comb", POSITIVE + 3, POSITIVE, like=LIKE),
    **each("multigammaln", POSITIVE + 1, call=given(2), like=LIKE),
    **each("polygamma expn", ORDERS, POSITIVE, like=LIKE),
    **each("zeta", POSITIVE, call=lambda f, q: f(ABOVE_ONE + 0.5, q), like=LIKE),
    **each(
        "gammainc gammaincc betaln beta poch xlogy xlog1py rel_entr kl_div",
        POSITIVE,
        ABOVE_ONE,
        like=LIKE,
    ),
    **each("owens_t", POSITIVE, OTHER, like=LIKE),
    **each("betainc", FRACTION, call=lambda f, x: f(POSITIVE, ABOVE_ONE, x), like=LIKE),
    **each("hyp1f1", POSITIVE, ABOVE_ONE, UNIT, like=LIKE),
    **each("hyp2f1", POSITIVE, ABOVE_ONE, POSITIVE + 2, UNIT, like=LIKE),
    **each("sph_harm_y", COUNTS, COUNTS, POSITIVE, ABOVE_ONE, call=given(n_max=2), like="jax"),
}


def _distribution(name: str, functions: str, *arrays: object) -> Examples:
    names = " ".join(f"{name}.{function}" for function in functions.split())
    return each(names, *arrays, like=LIKE)


_TAILS = "logpdf pdf cdf logcdf sf logsf"
_INSIDE = 0.9 * FRACTION + 0.05

STATS: Examples = {
    **_distribution("bernoulli", "logpmf pmf", np.array([0, 1, 1]), FRACTION),
    **_distribution("bernoulli", "cdf", np.array([0, 1, 1]), FRACTION),
    **_distribution("bernoulli", "ppf", FRACTION, _INSIDE[::-1]),
    **_distribution("beta", _TAILS, FRACTION, ABOVE_ONE, ABOVE_ONE),
    **_distribution("betabinom", "logpmf pmf", COUNTS, COUNTS + 2, POSITIVE, ABOVE_ONE),
    **_distribution("binom", "logpmf pmf", COUNTS, COUNTS + 2, FRACTION),
    **_distribution("nbinom", "logpmf pmf", COUNTS, COUNTS + 2, FRACTION),
    **_distribution("geom", "logpmf pmf", COUNTS + 1, FRACTION),
    **_distribution("multinomial", "logpmf pmf", COUNTS, np.array(3), np.array([0.2, 0.3, 0.5])),
    **_distribution("poisson", "logpmf pmf cdf", COUNTS, POSITIVE),
    **_distribution("poisson", "entropy", POSITIVE),
    **_distribution("chi2", _TAILS, POSITIVE, ABOVE_ONE),
    **_distribution("gamma", _TAILS, POSITIVE, ABOVE_ONE),
    **_distribution("expon", _TAILS, POSITIVE),
    **_distribution("dirichlet", "logpdf pdf", np.array([0.2, 0.3, 0.5]), ABOVE_ONE),
    **_distribution("pareto", _TAILS, ABOVE_ONE, POSITIVE),
    **_distribution("truncnorm", _TAILS, UNIT, UNIT - 1, UNIT + 1),
    **_distribution("gennorm", "logpdf pdf cdf", UNIT, POSITIVE),
    **_distribution("vonmises", "logpdf pdf", UNIT, POSITIVE),
    **_distribution("wrapcauchy", "logpdf pdf", POSITIVE, FRACTION),
    **_distribution("t", "logpdf pdf", UNIT, POSITIVE),
    **_distribution("uniform", "logpdf pdf cdf", FRACTION),
    **_distribution("multivariate_normal", "logpdf pdf", UNIT, OTHER, SYMMETRIC),
    **_distribution("cauchy", _TAILS, UNIT, LOC, SCALE),
    **_distribution("norm", _TAILS, UNIT, LOC, SCALE),
    **_distribution("gumbel_l", _TAILS, UNIT, LOC, SCALE),
    **_distribution("gumbel_r", _TAILS, UNIT, LOC, SCALE),
    **_distribution("laplace", "logpdf pdf cdf", UNIT, LOC, SCALE),
    **_distribution("logistic", "logpdf pdf cdf sf", UNIT, LOC, SCALE),
    **_distribution("cauchy", "ppf isf", FRACTION, LOC, SCALE),
    **_distribution("logistic", "ppf isf", FRACTION, LOC, SCALE),
    **_distribution("norm", "ppf isf", FRACTION, LOC, SCALE),
    **_distribution("gumbel_l", "ppf", FRACTION, LOC, SCALE),
    **_distribution("gumbel_r", "ppf", FRACTION, LOC, SCALE),
    **_distribution("uniform", "ppf", FRACTION, LOC, SCALE),
    **_distribution("expon", "ppf", FRACTION, LOC, SCALE),
    **_distribution("pareto", "ppf", FRACTION, POSITIVE),
    **each("gaussian_kde", MATRIX[0], UNIT, call=lambda f, x, y: f(x)(y), like=LIKE),
    **each("mode rankdata sem", UNIT, like=LIKE),
}

LINALG: Examples = {
    **each("block_diag", SQUARE, MATRIX, like=LIKE),
    **each(
        "cho_factor", SYMMETRIC, call=lambda f, x: np.triu(np.ones((3, 3))) * f(x)[0], like=LIKE
    ),
    **each("cho_solve", np.linalg.cholesky(SYMMETRIC), UNIT, call=lambda f, c, b: f((c, True), b)),
    **each("cholesky", SYMMETRIC, call=given(lower=True), like=LIKE),
    **each("circulant companion fiedler fiedler_companion", POSITIVE, like=LIKE),
    **each("hankel toeplitz", POSITIVE, like=LIKE),
    **each("leslie", POSITIVE, FRACTION[:2], like=LIKE),
    **each("convolution_matrix", UNIT, call=given(4), like=LIKE),
    **each("det inv expm", SQUARE, like=LIKE),
    **each("sqrtm", SQUARE, call=lambda f, x: f(x @ x.T), like=LIKE),
    **each("expm_frechet", SQUARE, SYMMETRIC, like=LIKE),
    **each("dft hadamard", call=constant(4), like=LIKE),
    **each("helmert hilbert invhilbert pascal invpascal", call=constant(4), like=LIKE),
    **each("eigh", SYMMETRIC, call=lambda f, x: f(x, eigvals_only=True), like=LIKE),
    **each("eigh_tridiagonal", POSITIVE, UNIT[:2], call=given(eigvals_only=True), like=LIKE),
    **each("lu", SQUARE, call=given(permute_l=True), like=LIKE),
    **each("lu_factor", SQUARE, like=LIKE),
    **each("lu_solve", SQUARE, UNIT, call=lambda f, a, b: f((a, np.arange(3)), b), like=LIKE),
    **each("qr", SQUARE, call=given(mode="economic"), like=LIKE),
    **each("qr_multiply", SQUARE, UNIT, like=LIKE),
    **each("polar", SQUARE, like=LIKE),
    **each("hessenberg schur", SQUARE, like=LIKE),
    **each("solve", SQUARE, UNIT, like=LIKE),
    **each("solve_triangular", LOWER, UNIT, call=given(lower=True), like=LIKE),
    **each("solve_sylvester", SQUARE, SYMMETRIC, SQUARE, like=LIKE),
    **each("svd", MATRIX, call=given(compute_uv=False), like=LIKE),
}

EXAMPLES: dict[str, Examples] = {
    "scipy.special": SPECIAL,
    "scipy.stats": STATS,
    "scipy.linalg": LINALG,
}
