"""Pooling and its layers, compared with PyTorch, and what they say when it does not fit."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import nn, random
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.test_util import check_grads
from tests.nn.spatial_cases import POOL, values
from tests.nn.spatial_golden import (
    BY_RANK,
    assert_as_pytorch,
    assert_layer_as_pytorch,
    assert_maps,
    assert_same_in_front,
    expected,
    operands,
)

KEY = random.key(0)
WITH_INDICES = [name for name, case in POOL.items() if "max" in name]


@pytest.mark.parametrize("name", POOL)
def test_as_pytorch(name):
    assert_as_pytorch("pool", name)


@pytest.mark.parametrize("name", POOL)
def test_channels_in_front(name):
    assert_same_in_front("pool", name)


@pytest.mark.parametrize(
    "name", ["avg_2d_ceil", "max_2d_dilation", "lp_2d", "adaptive_avg_2d", "adaptive_max_2d"]
)
def test_vmap(name):
    assert_maps("pool", name)


@pytest.mark.parametrize("name", WITH_INDICES)
def test_indices(name):
    case, wanted = POOL[name], expected("pool", name)
    function = getattr(nn, case.function)

    def call(x, return_indices=True):
        return function(x, **case.options, return_indices=return_indices)

    x = operands(case)["x"]
    y, indices = fst.jit(call)(x)
    np.testing.assert_array_equal(indices, wanted["indices"])
    np.testing.assert_array_equal(y, wanted["y"])
    assert fnp.issubdtype(indices.dtype, fnp.integer)
    batched = fst.vmap(call)(x[None])[1]
    np.testing.assert_array_equal(batched[0], wanted["indices"])
    front = np.moveaxis(x, -1, 1)
    moved = function(front, **case.options, return_indices=True, data_format=_front(x.ndim))[1]
    np.testing.assert_array_equal(fnp.moveaxis(moved, 1, -1), wanted["indices"])


def _front(ndim):
    return {3: "NCW", 4: "NCHW", 5: "NCDHW"}[ndim]


LAYERS = {
    "avg_1d_ceil": nn.AvgPool1d(3, 2, 1, True),
    "avg_2d_inside": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "avg_2d_divisor": nn.AvgPool2d(2, padding=1, divisor_override=3),
    "avg_3d": nn.AvgPool3d((2, 3, 2), 1, (1, 1, 0)),
    "max_1d_options": nn.MaxPool1d(2, 2, 0, 3, True),
    "max_2d_dilation": nn.MaxPool2d((2, 3), 1, (1, 1), (3, 2)),
    "max_3d": nn.MaxPool3d(2, (1, 2, 1), 1),
    "lp_1d_ceil": nn.LPPool1d(4, 3, 3, True),
    "lp_2d": nn.LPPool2d(2.0, (2, 3), 2),
    "lp_3d": nn.LPPool3d(2, 2, 1),
    "adaptive_avg_2d_more": nn.AdaptiveAvgPool((5, None)),
    "adaptive_max_2d": nn.AdaptiveMaxPool((3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer, x = LAYERS[name], operands(POOL[name])["x"]
    assert layer.init(KEY, x) == ({}, {})
    assert_layer_as_pytorch("pool", name, lambda x: layer({}, x), x)


def test_layers_give_indices():
    x = values((1, 5, 5, 2), 1)
    for layer in (nn.MaxPool2d(3, 2, 1, return_indices=True), nn.AdaptiveMaxPool(2, True)):
        y, indices = layer({}, x)
        flat = fnp.take_along_axis(x.reshape(1, 25, 2), indices.reshape(1, -1, 2), 1)
        np.testing.assert_array_equal(flat, y.reshape(flat.shape))


def test_equal_elements():
    """Of those the first counts, in windows and in parts, small or large."""
    x = np.zeros((1, 8, 8, 1))
    for pool in (
        lambda x: nn.max_pool(x, 3, 2, 1),
        lambda x: nn.max_pool(x, 8),
        lambda x: nn.adaptive_max_pool(x, 3),
    ):
        y = pool(x)
        slope = fst.grad(lambda x, pool=pool: pool(x).sum())(x)
        assert slope.sum() == y.size
        assert slope[0, 0, 0, 0] >= 1
        assert slope[0, -1, -1, 0] == 0
    _, indices = nn.max_pool(x, 8, return_indices=True)
    assert indices.item() == 0


def test_edge_values():
    """A window of nothing but -inf has its first element; a NaN is a maximum."""
    x = np.full((1, 4, 4, 1), -np.inf)
    y, indices = nn.max_pool(x, 3, 2, 1, return_indices=True)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(indices[0, ..., 0], [[0, 1], [4, 5]])
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 2, 0] = np.nan
    y, indices = nn.max_pool(x, 2, return_indices=True)
    np.testing.assert_array_equal(np.isnan(y[0, ..., 0]), [[False, True], [False, False]])
    assert indices[0, 0, 1, 0] == 6


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_integers(dtype):
    x = np.arange(24).reshape(1, 4, 6, 1).astype(dtype)
    y, indices = nn.max_pool(x, 2, padding=1, return_indices=True)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, indices)
    assert nn.avg_pool(x, 2).dtype == "float32"
    np.testing.assert_allclose(nn.avg_pool(x, 2)[0, 0, :, 0], [3.5, 5.5, 7.5])


@pytest.mark.parametrize("options", [{}, {"padding": 1, "stride": 3, "output_size": (7, 8)}])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_max_unpool(options, data_format):
    """Maxima go back to where they were, and derivatives from there."""
    window = 2 if not options else 3
    x = values((2, 7, 8, 3), 1) if options else values((2, 6, 8, 3), 1)
    x = x if data_format == "NHWC" else np.moveaxis(x, -1, 1)
    given = {k: v for k, v in options.items() if k != "output_size"}
    y, indices = nn.max_pool(x, window, **given, return_indices=True, data_format=data_format)
    whole = fst.jit(
        lambda y: nn.max_unpool(y, indices, window, **options, data_format=data_format)
    )(y)
    assert whole.shape == x.shape
    kept = np.asarray(whole) != 0
    np.testing.assert_array_equal(np.asarray(whole)[kept], x[kept])
    assert kept.sum() == y.size
    ct = values(x.shape, 3)
    slope = fst.grad(
        lambda y: (nn.max_unpool(y, indices, window, **options, data_format=data_format) * ct).sum()
    )(y)
    again = np.where(kept, ct, 0)
    # Each maximum's derivative is what stands where the maximum was.
    np.testing.assert_allclose(np.sort(slope.ravel()), np.sort(again[kept]), rtol=1e-12)
    layer = nn.MaxUnpool(window, given.get("stride"), given.get("padding", 0), data_format)
    same = layer({}, y, indices, output_size=options.get("output_size"))
    np.testing.assert_array_equal(same, whole)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool_of_a_rank(rank):
    x = values((2, *(6, 4, 2)[:rank], 3), 1)
    y, indices = nn.max_pool(x, 2, return_indices=True)
    whole = BY_RANK["max_unpool"][rank - 1](y, indices, 2)
    assert whole.shape == x.shape
    np.testing.assert_allclose(whole.sum(), y.sum(), rtol=1e-12)
    np.testing.assert_array_equal(nn.max_pool(np.where(whole == 0, -9, whole), 2), y)


@pytest.mark.parametrize("name", BY_RANK)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_other_ranks(name, rank):
    """A function of one rank takes no other, and says so."""
    function = BY_RANK[name][rank - 1]
    x = np.zeros((1, *[4] * (rank % 3 + 1), 2))
    others = {"conv": (x,), "conv_transpose": (x,), "max_unpool": (x, 2), "lp_pool": (2, 2)}
    with pytest.raises(ShapeError, match=rf"^{name}{rank}d: x must have {rank + 2} axes"):
        function(x, *others.get(name, (2,)))


def test_max_unpool_without_a_size():
    x, indices = values((1, 3, 2, 1), 1), np.arange(6).reshape(1, 3, 2, 1)
    assert nn.max_unpool(x, indices, (3, 2), (2, 1), (1, 0)).shape == (1, 5, 3, 1)


def test_global():
    x = values((2, 40, 30, 3), 1)
    np.testing.assert_allclose(
        nn.adaptive_avg_pool(x, 1)[:, 0, 0], x.mean((1, 2)), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_array_equal(nn.adaptive_max_pool(x, 1)[:, 0, 0], x.max((1, 2)))
    np.testing.assert_array_equal(nn.adaptive_avg_pool(x, None), x)


def test_same_padding():
    x = values((1, 7, 8, 1), 1)
    assert nn.max_pool(x, 3, 2, "same").shape == (1, 4, 4, 1)
    y = nn.avg_pool(x, 3, 1, "same", count_include_pad=False)
    assert y.shape == x.shape
    np.testing.assert_allclose(y[0, 0, 0, 0], x[0, :2, :2, 0].mean(), rtol=1e-12)


@pytest.mark.parametrize("name", ["max_2d_padding", "adaptive_max_2d", "lp_2d", "avg_2d_inside"])
def test_second_derivatives(name):
    case = POOL[name]
    function = getattr(nn, case.function)
    check_grads(lambda x: function(x, **case.options) ** 2, (operands(case)["x"],), order=2)


def test_derivative_of_a_norm_at_zero():
    slope = fst.grad(lambda x: nn.lp_pool(x, 2, 2).sum())(np.zeros((1, 4, 1)))
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: nn.max_pool(x, 2),
        lambda x: nn.max_pool(x, 3, 2, 1),
        lambda x: nn.max_pool(x, 8),
        lambda x: nn.avg_pool(x, 2),
        lambda x: nn.avg_pool(x, 3, 2, 1, count_include_pad=False),
        lambda x: nn.adaptive_avg_pool(x, 3),
        lambda x: nn.adaptive_max_pool(x, 1),
    ],
)
def test_native(pool):
    gradient = fst.jit(fst.grad(lambda x: (pool(x) ** 2).sum()))
    report = gradient.lower(np.ones((2, 16, 16, 4), np.float32)).report()
    assert "host" not in report, report


X = np.zeros((2, 5, 6, 4), np.float32)

ERRORS = {
    "kernel_size": (lambda: nn.avg_pool(X, 0), OptionError, "kernel_size .*got 0"),
    "kernel_sizes": (lambda: nn.max_pool(X, (2, 2, 2)), OptionError, r"\(2, 2, 2\)"),
    "fraction": (lambda: nn.max_pool(X, 2.5), OptionError, "kernel_size .*got 2.5"),
    "window": (
        lambda: nn.max_pool(X, 7),
        ShapeError,
        r"max_pool: the window must fit .*float32\[2,5,6,4\]",
    ),
    "padding": (
        lambda: nn.avg_pool(X, 3, padding=2),
        OptionError,
        r"at most half of the window, got \(2, 2\)",
    ),
    "negative padding": (lambda: nn.avg_pool(X, 3, padding=-1), OptionError, r"\(-1, -1\)"),
    "divisor": (lambda: nn.avg_pool(X, 2, divisor_override=0), OptionError, "zero"),
    "dilation": (lambda: nn.max_pool(X, 2, dilation=0), OptionError, "dilation .*got 0"),
    "complex": (lambda: nn.max_pool(X.astype("complex64"), 2), DtypeError, "complex64"),
    "rank": (lambda: nn.max_pool1d(X, 2), ShapeError, "max_pool1d: x must have 3 axes"),
    "layer's rank": (lambda: nn.AvgPool3d(2)({}, X), ShapeError, "avg_pool3d: x must have 5 axes"),
    "norm_type": (lambda: nn.lp_pool(X, 0, 2), OptionError, "norm_type .*got 0"),
    "infinite norm": (lambda: nn.lp_pool(X, float("inf"), 2), OptionError, "got inf"),
    "output_size": (lambda: nn.adaptive_avg_pool(X, 0), OptionError, "output_size .*got 0"),
    "output_sizes": (lambda: nn.adaptive_max_pool(X, (1,)), OptionError, "output_size"),
    "empty": (lambda: nn.adaptive_max_pool(X[:, :0], 1), ShapeError, r"float32\[2,0,6,4\]"),
    "indices": (
        lambda: nn.max_unpool(X, np.zeros((2, 5, 6, 3), np.int32), 2),
        ShapeError,
        r"int32\[2,5,6,3\] for float32\[2,5,6,4\]",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call()
