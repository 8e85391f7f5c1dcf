"""Random numbers, as pure functions of keys.

`key(seed)` makes a key, `split(key)` makes new ones of it, and each sampler draws an array from
one. The same key, shape and dtype always give the same values, those of `jax.random`.

>>> from fstensor import random
>>> key, subkey = random.split(random.key(42))
>>> random.normal(subkey, (3,)).shape
(3,)
"""

from fstensor.random.choose import categorical, choice, permutation
from fstensor.random.continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    normal,
    truncated_normal,
)
from fstensor.random.keys import (
    PRNGKey,
    clone,
    fold_in,
    key,
    key_data,
    key_impl,
    split,
    wrap_key_data,
)
from fstensor.random.uniform import bernoulli, bits, rademacher, randint, uniform

__all__ = [
    "PRNGKey",
    "bernoulli",
    "bits",
    "categorical",
    "cauchy",
    "choice",
    "clone",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "key_data",
    "key_impl",
    "laplace",
    "logistic",
    "normal",
    "permutation",
    "rademacher",
    "randint",
    "split",
    "truncated_normal",
    "uniform",
    "wrap_key_data",
]
