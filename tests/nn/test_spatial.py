"""Padding and rearrangement, compared with PyTorch, and what they say when it does not fit."""

import numpy as np
import pytest

from fstensor import nn, random
from fstensor.errors import AxisError, OptionError, ShapeError
from tests.nn.spatial_cases import RESIZE, values
from tests.nn.spatial_golden import (
    assert_as_pytorch,
    assert_layer_as_pytorch,
    assert_maps,
    assert_same_in_front,
    operands,
)

ARRANGED = ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
CASES = [n for n, c in RESIZE.items() if c.function in (*ARRANGED, "pad", "unfold", "fold")]


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    assert_as_pytorch("resize", name)


@pytest.mark.parametrize("name", ARRANGED)
def test_channels_in_front(name):
    assert_same_in_front("resize", name)


@pytest.mark.parametrize("name", ["pad_reflect_2d", *ARRANGED, "unfold_options", "fold_options"])
def test_vmap(name):
    assert_maps("resize", name)


def test_fold_and_unfold_with_channels_in_front():
    """Features come before places there."""
    x, options = values((2, 5, 4, 3), 1), RESIZE["unfold_options"].options
    front = np.moveaxis(x, -1, 1)
    flat = nn.unfold(x, **options)
    moved = nn.unfold(front, **options, data_format="NCHW")
    np.testing.assert_array_equal(moved, np.swapaxes(flat, 1, 2))
    whole = nn.fold(flat, (5, 4), **options)
    again = nn.fold(moved, (5, 4), **options, data_format="NCHW")
    np.testing.assert_array_equal(np.moveaxis(again, 1, -1), whole)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fold_is_the_transpose_of_unfold(rank):
    x = values((2, *(5, 4, 3)[:rank], 2), 1)
    options = {"kernel_size": 2, "dilation": 2, "padding": 1, "stride": 2}
    flat = nn.unfold(x, **options)
    y = values(flat.shape, 2)
    laid = nn.fold(y, x.shape[1:-1], **options)
    np.testing.assert_allclose((flat * y).sum(), (x * laid).sum(), rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pixel_shuffle_is_undone(rank):
    x = values((2, *(4, 2, 6)[:rank], 3), 1)
    deep = nn.pixel_unshuffle(x, 2)
    assert deep.shape == (2, *(2, 1, 3)[:rank], 3 * 2**rank)
    np.testing.assert_array_equal(nn.pixel_shuffle(deep, 2), x)


def test_unfold_keeps_infinities():
    x = np.array([1.0, np.inf, 2.0, 3.0]).reshape(1, 4, 1)
    np.testing.assert_array_equal(nn.unfold(x, 2)[0], [[1, np.inf], [np.inf, 2], [2, 3]])


LAYERS = {
    "pad_circular_2d": nn.Pad(((2, 1), (1, 3)), "circular"),
    "pad_constant_1d": nn.Pad(((2, 1),)),
    "pixel_shuffle": nn.PixelShuffle(2),
    "pixel_unshuffle": nn.PixelUnshuffle(3),
    "channel_shuffle": nn.ChannelShuffle(2),
    "unfold_options": nn.Unfold((2, 3), (2, 1), (1, 2), (1, 2)),
    "fold_options": nn.Fold((5, 4), (2, 3), (2, 1), (1, 2), (1, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer, x = LAYERS[name], operands(RESIZE[name])["x"]
    assert layer.init(random.key(0), x) == ({}, {})
    assert_layer_as_pytorch("resize", name, lambda x: layer({}, x), x)


def test_pad_layer():
    x = values((1, 3, 4, 2), 1)
    wide = nn.Pad((1, 2), value=5.0)({}, x)
    assert wide.shape == (1, 5, 8, 2)
    assert (wide[:, 0] == 5).all()
    front = nn.Pad((1, 2), value=5.0, data_format="NCHW")({}, np.moveaxis(x, -1, 1))
    np.testing.assert_array_equal(np.moveaxis(front, 1, -1), wide)
    assert nn.Pad(-1)({}, x).shape == (1, 1, 2, 2)


def test_flatten():
    x = np.arange(24).reshape(2, 3, 2, 2)
    assert nn.Flatten()({}, x).shape == (2, 12)
    assert nn.Flatten(0, 1)({}, x).shape == (6, 2, 2)
    assert nn.Flatten(-2)({}, x).shape == (2, 3, 4)
    np.testing.assert_array_equal(nn.Flatten()({}, x), x.reshape(2, 12))
    assert nn.Flatten()({}, np.zeros((2, 0, 3))).shape == (2, 0)


X = np.zeros((2, 5, 6, 4), np.float32)

ERRORS = {
    "mode": (lambda: nn.pad(X, 1, "mirror"), OptionError, "'mirror'"),
    "word": (lambda: nn.pad(X, "same"), OptionError, "'same'"),
    "number of pairs": (
        lambda: nn.pad(X, ((1, 1), (2, 2))),
        OptionError,
        r"\(\(1, 1\), \(2, 2\)\)",
    ),
    "reflection": (
        lambda: nn.pad(X, ((0, 0), (5, 0), (0, 0), (0, 0)), "reflect"),
        ShapeError,
        r"reflect padding of \(5, 0\) needs at least 6 elements, got axis 1 of float32\[2,5,6,4\]",
    ),
    "circle": (lambda: nn.pad(X, 3, "circular"), ShapeError, "needs at least 3 .* axis 0"),
    "too much taken": (lambda: nn.pad(X, -3), ShapeError, r"leave something, got \(-3, -3\)"),
    "layer's padding": (lambda: nn.Pad("same")({}, X), OptionError, "'same'"),
    "shuffle": (lambda: nn.pixel_shuffle(X, 3), ShapeError, r"3\*\*2, got 4"),
    "factor": (lambda: nn.pixel_shuffle(X, 0), OptionError, "got 0"),
    "unshuffle": (lambda: nn.pixel_unshuffle(X, 2), ShapeError, "multiples of 2"),
    "groups": (lambda: nn.channel_shuffle(X, 3), ShapeError, "multiple of 3 groups"),
    "unfold": (lambda: nn.unfold(X, 7), ShapeError, r"unfold: a window must fit .*\(7, 7\)"),
    "fold": (
        lambda: nn.fold(X[0], (5, 4), 2),
        ShapeError,
        r"fold: x must have the shape \(n, 12, 4 c\), got float32\[5,6,4\]",
    ),
    "fold's rank": (lambda: nn.fold(X[0], (5, 4, 3, 2), 2), ShapeError, r"\(5, 4, 3, 2\)"),
    "axis": (lambda: nn.Flatten(4)({}, X), AxisError, "got 4"),
    "order": (lambda: nn.Flatten(3, 1)({}, X), OptionError, "got 3 and 1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call()
