"""Interpolation and sampling, compared with PyTorch, and what they say when it does not fit."""

import numpy as np
import pytest

from fstensor import nn, random
from fstensor.errors import OptionError, ShapeError
from tests.nn.spatial_cases import RESIZE, values
from tests.nn.spatial_golden import (
    assert_as_pytorch,
    assert_layer_as_pytorch,
    assert_maps,
    assert_same_in_front,
    expected,
    operands,
)

CASES = [
    name
    for name, case in RESIZE.items()
    if case.function in ("interpolate", "grid_sample", "affine_grid")
]


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    assert_as_pytorch("resize", name)


@pytest.mark.parametrize("name", [n for n in CASES if "affine" not in n and "_scale" not in n])
def test_channels_in_front(name):
    if RESIZE[name].function == "interpolate":
        assert_same_in_front("resize", name)
        return
    case = RESIZE[name]
    given = operands(case)
    front = np.moveaxis(given["x"], -1, 1)
    data_format = {4: "NCHW", 5: "NCDHW"}[front.ndim]
    y = nn.grid_sample(front, given["grid"], **case.options, data_format=data_format)
    wanted = nn.grid_sample(**given, **case.options)
    np.testing.assert_allclose(np.moveaxis(y, 1, -1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "nearest_2d_scale",
        "bicubic_up",
        "bilinear_antialias",
        "sample_2d_bilinear_reflection",
        "sample_2d_bicubic_zeros",
        "sample_3d_nearest_border",
        "affine_3d",
    ],
)
def test_vmap(name):
    assert_maps("resize", name)


def test_upsample():
    x = operands(RESIZE["bicubic_up_align"])["x"]
    layer = nn.Upsample((8, 9), mode="bicubic", align_corners=True)
    assert layer.init(random.key(0), x) == ({}, {})
    assert_layer_as_pytorch("resize", "bicubic_up_align", lambda x: layer({}, x), x)
    layer = nn.Upsample(scale_factor=0.45, mode="bilinear", antialias=True)
    wanted = expected("resize", "bilinear_antialias_scale")["y"]
    np.testing.assert_allclose(layer({}, x), wanted, 1e-10, 1e-10)
    layer = nn.Upsample(scale_factor=1.7, mode="bilinear", recompute_scale_factor=True)
    wanted = expected("resize", "bilinear_recomputed")["y"]
    np.testing.assert_allclose(layer({}, x), wanted, 1e-10, 1e-10)


def test_identity_grid():
    """The grid of the identity gives the image itself, with either convention."""
    x = values((2, 4, 5, 3), 1)
    theta = np.stack([np.eye(2, 3)] * 2)
    for align in (False, True):
        grid = nn.affine_grid(theta, (4, 5), align)
        y = nn.grid_sample(x, grid, align_corners=align)
        np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-12)


def test_points_far_outside():
    """Zeros are there, the border, or a reflection however far it is."""
    x = np.arange(4.0).reshape(1, 1, 4, 1)
    far = np.array([-7.0, 7.0, 2.5]).reshape(1, 1, 3, 1)
    grid = np.concatenate([far, np.zeros_like(far)], -1)
    np.testing.assert_array_equal(nn.grid_sample(x, grid).ravel(), 0)
    border = nn.grid_sample(x, grid, padding_mode="border")
    np.testing.assert_array_equal(border.ravel(), [0, 3, 3])
    # With edges at -0.5 and 3.5: -7 is at -12.5, 7 at 15.5, and 2.5 at 6.5.
    turned = nn.grid_sample(x, grid, padding_mode="reflection")
    np.testing.assert_allclose(turned.ravel(), [3, 0, 0.5], atol=1e-12)


def test_an_axis_of_one_element():
    x = np.full((1, 1, 1, 1), 3.0)
    grid = np.array([[[[0.3, -2.0]]]])
    y = nn.grid_sample(x, grid, padding_mode="reflection", align_corners=True)
    assert y.item() == 3
    assert (
        nn.interpolate(x, (2, 3), mode="bilinear", align_corners=True).ravel().tolist() == [3] * 6
    )


def test_integers_and_mixed_dtypes():
    x = np.arange(12).reshape(1, 3, 4, 1)
    y = nn.interpolate(x, (6, 8))
    assert y.dtype == "float32"
    np.testing.assert_array_equal(y[0, ::2, ::2, 0], x[0, ..., 0])
    grid = np.zeros((1, 1, 1, 2))
    assert nn.grid_sample(x.astype("float32"), grid).dtype == "float64"


X = np.zeros((2, 5, 6, 4), np.float32)
GRID = np.zeros((2, 3, 3, 2), np.float32)

ERRORS = {
    "neither": (lambda: nn.interpolate(X), OptionError, "size or scale_factor, got None and None"),
    "both": (lambda: nn.interpolate(X, 3, 2.0), OptionError, "got 3 and 2.0"),
    "mode": (lambda: nn.interpolate(X, 3, mode="linear"), OptionError, "bicubic .*got 'linear'"),
    "align_corners": (
        lambda: nn.interpolate(X, 3, mode="nearest", align_corners=False),
        OptionError,
        "align_corners .*'nearest'",
    ),
    "antialias": (
        lambda: nn.interpolate(X, 3, mode="area", antialias=True),
        OptionError,
        "antialias .*'area'",
    ),
    "recompute": (
        lambda: nn.interpolate(X, 3, recompute_scale_factor=True),
        OptionError,
        "recompute_scale_factor",
    ),
    "scale": (lambda: nn.interpolate(X, scale_factor=-1), OptionError, "got -1"),
    "scales": (lambda: nn.interpolate(X, scale_factor=(2, 2, 2)), OptionError, r"\(2, 2, 2\)"),
    "nothing": (lambda: nn.interpolate(X, scale_factor=0.1), OptionError, r"\(5, 6\)"),
    "size": (lambda: nn.interpolate(X, (3, 0)), OptionError, r"size .*\(3, 0\)"),
    "empty": (lambda: nn.interpolate(X[:, :0], 3), ShapeError, r"float32\[2,0,6,4\]"),
    "theta": (lambda: nn.affine_grid(X, (3, 3)), ShapeError, r"float32\[2,5,6,4\]"),
    "sizes": (
        lambda: nn.affine_grid(np.zeros((1, 2, 3)), (3, 3, 3)),
        OptionError,
        r"\(3, 3, 3\)",
    ),
    "grid": (
        lambda: nn.grid_sample(X, GRID[..., :1]),
        ShapeError,
        r"x float32\[2,5,6,4\] and grid float32\[2,3,3,1\]",
    ),
    "batch": (lambda: nn.grid_sample(X, GRID[:1]), ShapeError, r"float32\[1,3,3,2\]"),
    "sampling": (lambda: nn.grid_sample(X, GRID, "cubic"), OptionError, "'cubic'"),
    "bicubic volume": (
        lambda: nn.grid_sample(X[:, None], np.zeros((2, 1, 1, 1, 3), np.float32), "bicubic"),
        OptionError,
        "bilinear, nearest for .*'bicubic'",
    ),
    "outside": (
        lambda: nn.grid_sample(X, GRID, padding_mode="circular"),
        OptionError,
        "'circular'",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call()
