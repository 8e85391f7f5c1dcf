"""Examples of `fstensor.random`. An array is the data of a key, so that keys can be batched."""

from __future__ import annotations

import numpy as np

from fstensor import random
from fstensor.testing.examples.example import (
    ABOVE_ONE,
    FRACTION,
    INTEGERS,
    OTHER,
    POSITIVE,
    SYMMETRIC,
    UNIT,
    Call,
    Examples,
    each,
    given,
)

KEY = np.array([0, 7], np.uint32)
THREE = (3,)
DOUBLE = given(dtype=np.float64)


def _data(f: Call, x: object) -> object:
    return random.key_data(f(x))


EXAMPLES: dict[str, Examples] = {
    "random": {
        **each("key", np.array(7), call=_data, like=""),
        **each("PRNGKey", np.array(7)),
        **each("split", KEY),
        **each("fold_in", KEY, np.array(3)),
        **each("clone key_data", KEY),
        **each("wrap_key_data", KEY, call=_data, like=""),
        **each("bits", KEY, call=given(THREE, np.uint32)),
        **each(
            "uniform normal exponential gumbel laplace cauchy logistic maxwell",
            KEY,
            call=lambda f, key: f(key, shape=THREE, dtype=np.float64),
        ),
        **each("rademacher", KEY, call=given(THREE), like="jax32"),
        **each("geometric", KEY, FRACTION, call=given(dtype=np.int64)),
        **each("randint", KEY, call=given(THREE, 2, 90, np.int64)),
        **each("bernoulli", KEY, FRACTION),
        **each("categorical", KEY, UNIT),
        # Both draw integers of the default width.
        **each("choice permutation", KEY, UNIT, like="jax32"),
        **each("truncated_normal", KEY, UNIT - 1, UNIT + 1, call=DOUBLE),
        **each("gamma loggamma chisquare t pareto rayleigh lognormal", KEY, POSITIVE, call=DOUBLE),
        **each("beta f", KEY, POSITIVE, ABOVE_ONE, call=DOUBLE),
        **each("dirichlet", KEY, POSITIVE, call=DOUBLE),
        **each("generalized_normal", KEY, call=given(1.3, THREE, np.float64)),
        **each("multivariate_normal", KEY, OTHER, SYMMETRIC, call=DOUBLE),
        **each("poisson", KEY, POSITIVE, call=given(dtype=np.int64)),
        **each("binomial", KEY, INTEGERS.astype(float), FRACTION, call=DOUBLE),
        **each("multinomial", KEY, np.array(5.0), np.array([0.2, 0.3, 0.5]), call=DOUBLE),
        **each("double_sided_maxwell", KEY, UNIT, POSITIVE, call=DOUBLE),
        **each("triangular", KEY, UNIT - 1, UNIT, UNIT + 1, call=DOUBLE),
        **each("wald", KEY, POSITIVE, call=DOUBLE),
        **each("weibull_min", KEY, POSITIVE, ABOVE_ONE, call=DOUBLE),
        **each("orthogonal", KEY, call=given(3, dtype=np.float64)),
        **each("ball", KEY, call=given(2, shape=THREE, dtype=np.float64)),
    }
}
