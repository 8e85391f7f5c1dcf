"""Convolutions and their layers, compared with PyTorch, and what they say when it does not fit."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import ShapeDtypeStruct, nn, random
from fstensor.errors import OptionError, ShapeError
from fstensor.test_util import check_grads
from tests.nn.spatial_cases import CONV, values
from tests.nn.spatial_golden import (
    assert_as_pytorch,
    assert_maps,
    assert_same_in_front,
    expected,
    operands,
)

KEY = random.key(0)


@pytest.mark.parametrize("name", CONV)
def test_as_pytorch(name):
    assert_as_pytorch("conv", name)


@pytest.mark.parametrize("name", CONV)
def test_channels_in_front(name):
    assert_same_in_front("conv", name)


@pytest.mark.parametrize(
    "name", ["1d_options", "2d_circular", "2d_depthwise", "3d", "transpose_2d_options"]
)
def test_vmap(name):
    assert_maps("conv", name)


LAYERS = {
    "1d_options": nn.Conv1d(4, 2, 2, 1, 2, 2),
    "1d_reflect": nn.Conv1d(2, 3, padding=4, padding_mode="reflect"),
    "2d_no_bias": nn.Conv2d(3, 1, bias=False),
    "2d_stride": nn.Conv2d(2, 3, (2, 1), (1, 2)),
    "2d_depthwise": nn.DepthwiseConv(3, 2, 2, 1),
    "3d_options": nn.Conv3d(4, (2, 2, 3), (1, 2, 1), 1, groups=2),
    "transpose_1d_options": nn.ConvTranspose1d(4, 3, 3, 2, 2, 2, 2),
    "transpose_2d_dilation": nn.ConvTranspose2d(2, (2, 3), (1, 2), 0, (2, 1), dilation=(3, 1)),
    "transpose_3d": nn.ConvTranspose3d(2, (2, 2, 3), (2, 1, 2), (0, 1, 1), (1, 0, 0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    given = operands(CONV[name])
    x = given.pop("x")
    made, _ = LAYERS[name].init(KEY, ShapeDtypeStruct(x.shape, np.float32))
    assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in given.items()}
    y = fst.jit(lambda params, x: LAYERS[name](params, x))(given, x)
    wanted = expected("conv", name)
    np.testing.assert_allclose(y, wanted["y"], rtol=1e-10, atol=1e-10)
    cotangent = values(y.shape, 9)
    slopes = fst.grad(lambda params: (LAYERS[name](params, x) * cotangent).sum())(given)
    for k, slope in slopes.items():
        np.testing.assert_allclose(slope, wanted[f"grad_{k}"], rtol=1e-10, atol=1e-9, err_msg=k)


@pytest.mark.parametrize("layer", [nn.LocalConv(2, 2), nn.SeparableConv(2, 3, 2, padding=1)])
def test_layers_of_their_own(layer):
    """Derivatives, and mapping over inputs, of what PyTorch does not have."""
    x = values((2, 4, 3, 2), 1)
    params, _ = layer.init(KEY, x)
    params = fst.tree.map(lambda p: values(p.shape, 5), params)
    check_grads(lambda params, x: layer(params, x), (params, x), order=2)
    stacked = np.stack([x, x[::-1] * 0.5])
    mapped = fst.jit(fst.vmap(layer, (None, 0)))(params, stacked)
    for k in (0, 1):
        np.testing.assert_allclose(mapped[k], layer(params, stacked[k]), rtol=1e-12, atol=1e-12)


def test_one_group_for_each_channel():
    spec = ShapeDtypeStruct((1, 5, 5, 6), np.float32)
    one, _ = nn.Conv2d(6, 3, groups=-1).init(KEY, spec)
    same, _ = nn.DepthwiseConv(3).init(KEY, spec)
    np.testing.assert_array_equal(one["kernel"], same["kernel"])
    assert one["kernel"].shape == (3, 3, 1, 6)


def test_separable_is_two_convolutions():
    x = values((2, 6, 5, 3), 1)
    layer = nn.SeparableConv(4, 3, multiplier=2, stride=2, padding="same")
    params, _ = layer.init(KEY, x)
    deep, point = params["depthwise"]["kernel"], params["pointwise"]
    assert deep.shape == (3, 3, 1, 6)
    between = nn.conv(x, deep, stride=2, padding="same", groups=3)
    wanted = np.asarray(between) @ np.asarray(point["kernel"])[0, 0] + np.asarray(point["bias"])
    np.testing.assert_allclose(layer(params, x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_local_kernels(data_format):
    """The same kernel everywhere is a convolution; one place's kernel acts there alone."""
    x = values((2, 5, 6, 3), 1)
    layer = nn.LocalConv(4, (3, 2), stride=(1, 2), padding=1, dilation=(2, 1), data_format="NHWC")
    params, _ = layer.init(KEY, x)
    assert params["kernel"].shape == (3, 4, 18, 4)
    assert params["bias"].shape == (3, 4, 4)
    kernel = values((3, 2, 3, 4), 2)
    flat = kernel.transpose(2, 0, 1, 3).reshape(18, 4)
    everywhere = np.broadcast_to(flat, (3, 4, 18, 4))
    wanted = nn.conv(x, kernel, stride=(1, 2), padding=1, dilation=(2, 1))
    given = {"kernel": everywhere, "bias": np.zeros((3, 4, 4))}
    if data_format == "NCHW":
        layer = nn.LocalConv(
            4, (3, 2), stride=(1, 2), padding=1, dilation=(2, 1), data_format="NCHW"
        )
        y = np.moveaxis(layer(given, np.moveaxis(x, -1, 1)), 1, -1)
    else:
        y = layer(given, x)
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


def test_local_kernels_are_drawn_with_the_fan_of_one_window():
    params, _ = nn.LocalConv(32, 3).init(KEY, ShapeDtypeStruct((1, 18, 18, 8), np.float32))
    assert abs(float(np.std(params["kernel"])) * np.sqrt(9 * 8) - 1) < 0.02
    assert not np.array_equal(params["kernel"][0, 0], params["kernel"][0, 1])


def test_fan_in_is_window_times_channels_of_a_group():
    for groups in (1, 4):
        layer = nn.Conv2d(256, 3, groups=groups)
        params, _ = layer.init(KEY, ShapeDtypeStruct((1, 8, 8, 32), np.float32))
        deviation = float(np.std(params["kernel"])) * np.sqrt(9 * 32 / groups)
        assert abs(deviation - 1) < 0.02


def test_same_padding_with_strides():
    x = values((1, 7, 8, 2), 1)
    kernel = values((3, 4, 2, 3), 2)
    assert nn.conv(x, kernel, stride=(2, 3), padding="same").shape == (1, 4, 3, 3)
    assert nn.conv_transpose(x, kernel, stride=(2, 5), padding="same").shape == (1, 14, 40, 3)


def test_pairs():
    """A pair for each axis; negative ones cut."""
    x, kernel = values((1, 6, 5, 2), 1), values((2, 3, 2, 3), 2)
    y = nn.conv(x, kernel, padding=((1, 2), (-1, 0)))
    wide = np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)))[:, :, 1:]
    np.testing.assert_allclose(y, nn.conv(wide, kernel), rtol=1e-12, atol=1e-12)


def test_integers_of_numpy():
    x, kernel = values((1, 6, 5, 2), 1), values((2, 3, 2, 3), 2)
    y = nn.conv(x, kernel, stride=np.int64(2), padding=np.int64(1))
    np.testing.assert_array_equal(y, nn.conv(x, kernel, stride=2, padding=1))


def test_empty_batch():
    y = nn.conv(np.zeros((0, 5, 5, 2)), np.zeros((3, 3, 2, 4)))
    assert y.shape == (0, 3, 3, 4)


@pytest.mark.parametrize("stride", [1, 2])
def test_native(stride):
    def loss(x, kernel):
        return (nn.conv(x, kernel, stride=stride, padding=1) ** 2).sum()

    x, kernel = np.ones((2, 8, 8, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    report = fst.jit(fst.grad(loss, (0, 1))).lower(x, kernel).report()
    assert "host" not in report, report


X, KERNEL = np.zeros((2, 5, 6, 4), np.float32), np.zeros((3, 3, 4, 2), np.float32)

ERRORS = {
    "rank of kernel": (
        lambda: nn.conv(X, KERNEL[0]),
        ShapeError,
        r"conv: the kernel must be .*got float32\[3,4,2\] for x float32\[2,5,6,4\]",
    ),
    "channels": (lambda: nn.conv(X, KERNEL[:, :, :3]), ShapeError, r"float32\[3,3,3,2\]"),
    "groups": (lambda: nn.conv(X, KERNEL[:, :, :2], groups=-2), OptionError, "groups .* got -2"),
    "features": (
        lambda: nn.conv(X, np.zeros((3, 3, 1, 6)), groups=4),
        ShapeError,
        "4 groups .*6",
    ),
    "rank": (lambda: nn.conv1d(X, KERNEL), ShapeError, r"conv1d: x must have 3 axes, got"),
    "no spatial axes": (lambda: nn.conv(X[0, 0], KERNEL), ShapeError, r"float32\[6,4\]"),
    "window": (
        lambda: nn.conv(X, np.zeros((6, 3, 4, 2), np.float32)),
        ShapeError,
        r"conv: the window must fit",
    ),
    "bias": (lambda: nn.conv(X, KERNEL, np.zeros(3)), ShapeError, r"bias must have .*\[3\]"),
    "stride": (lambda: nn.conv(X, KERNEL, stride=0), OptionError, "stride .*got 0"),
    "strides": (lambda: nn.conv(X, KERNEL, stride=(1, 2, 3)), OptionError, r"\(1, 2, 3\)"),
    "padding": (lambda: nn.conv(X, KERNEL, padding="full"), OptionError, "'full'"),
    "paddings": (lambda: nn.conv(X, KERNEL, padding=(1, 2, 3)), OptionError, r"\(1, 2, 3\)"),
    "padding triples": (lambda: nn.conv(X, KERNEL, padding=((1, 2, 3), 1)), OptionError, "pair"),
    "padding fraction": (lambda: nn.conv(X, KERNEL, padding=0.5), OptionError, "got 0.5"),
    "padding_mode": (
        lambda: nn.conv(X, KERNEL, padding=1, padding_mode="mirror"),
        OptionError,
        "'mirror'",
    ),
    "reflection": (
        lambda: nn.conv(X, KERNEL, padding=5, padding_mode="reflect"),
        ShapeError,
        "at least 6 elements",
    ),
    "data_format": (lambda: nn.conv(X, KERNEL, data_format="CHWN"), OptionError, "'CHWN'"),
    "format's rank": (lambda: nn.conv(X, KERNEL, data_format="NWC"), ShapeError, "the axes NWC"),
    "output_padding": (
        lambda: nn.conv_transpose(X, KERNEL, stride=2, output_padding=2),
        OptionError,
        r"output_padding .*\(2, 2\)",
    ),
    "nothing left": (lambda: nn.conv_transpose(X, KERNEL, padding=5), ShapeError, "leave"),
    "rank of layer": (
        lambda: nn.Conv1d(2, 3).init(KEY, X),
        ShapeError,
        r"Conv1d: x must have 3 axes, got float32\[2,5,6,4\]",
    ),
    "groups of layer": (
        lambda: nn.Conv2d(2, 3, groups=3).init(KEY, X),
        ShapeError,
        "Conv2d: channels must fall into 3 groups",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call()
