"""Functions for a number of spatial dimensions give what the one for any number gives.

And they refuse another number.
"""

import numpy as np
import pytest

from fstensor import nn, random
from fstensor.errors import ShapeError

RNG = np.random.default_rng(0)
NAMES = {
    "conv": ("conv1d", "conv2d", "conv3d"),
    "conv_transpose": ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    "avg_pool": ("avg_pool1d", "avg_pool2d", "avg_pool3d"),
    "max_pool": ("max_pool1d", "max_pool2d", "max_pool3d"),
    "lp_pool": ("lp_pool1d", "lp_pool2d", "lp_pool3d"),
    "adaptive_avg_pool": ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    "adaptive_max_pool": ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    "max_unpool": ("max_unpool1d", "max_unpool2d", "max_unpool3d"),
}
CASES = [
    (general, name, dimensions)
    for general, names in NAMES.items()
    for dimensions, name in enumerate(names, 1)
]


def arguments(general, dimensions):
    x = RNG.normal(size=(2, *[4] * dimensions, 3))
    if general.startswith("conv"):
        return x, RNG.normal(size=(*[2] * dimensions, 3, 3))
    if general == "lp_pool":
        return x, 2, 2
    if general == "max_unpool":
        return (*nn.max_pool(x, (2,) * dimensions, return_indices=True), (2,) * dimensions)
    return x, (2,) * dimensions


@pytest.mark.parametrize(("general", "name", "dimensions"), CASES)
def test_as_the_general_one(general, name, dimensions):
    given = arguments(general, dimensions)
    np.testing.assert_array_equal(getattr(nn, name)(*given), getattr(nn, general)(*given))


@pytest.mark.parametrize(("general", "name", "dimensions"), CASES)
def test_another_number_of_dimensions(general, name, dimensions):
    other = dimensions % 3 + 1
    with pytest.raises(ShapeError, match=name):
        getattr(nn, name)(*arguments(general, other))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_dropout_of_whole_channels(dimensions):
    f = (nn.dropout1d, nn.dropout2d, nn.dropout3d)[dimensions - 1]
    x = np.ones((50, *[3] * dimensions, 20), np.float32)
    y = np.asarray(f(random.key(0), x, 0.3)).reshape(50, -1, 20)
    assert (y == y[:, :1]).all()
    kept = y[:, 0] != 0
    assert abs(kept.mean() - 0.7) < 0.05
    np.testing.assert_allclose(y[:, 0][kept], 1 / 0.7, 1e-6)
