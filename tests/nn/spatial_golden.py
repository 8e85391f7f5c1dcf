"""Comparisons with PyTorch of what tests/nn/spatial_cases.py lists."""

import functools
import math
from pathlib import Path

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import nn
from tests.nn.spatial_cases import FAMILIES, values

FORMATS = {3: "NCW", 4: "NCHW", 5: "NCDHW"}
# The functions that take one number of spatial axes only.
BY_RANK = {
    "conv": (nn.conv1d, nn.conv2d, nn.conv3d),
    "conv_transpose": (nn.conv_transpose1d, nn.conv_transpose2d, nn.conv_transpose3d),
    "avg_pool": (nn.avg_pool1d, nn.avg_pool2d, nn.avg_pool3d),
    "max_pool": (nn.max_pool1d, nn.max_pool2d, nn.max_pool3d),
    "lp_pool": (nn.lp_pool1d, nn.lp_pool2d, nn.lp_pool3d),
    "adaptive_avg_pool": (
        nn.adaptive_avg_pool1d,
        nn.adaptive_avg_pool2d,
        nn.adaptive_avg_pool3d,
    ),
    "adaptive_max_pool": (
        nn.adaptive_max_pool1d,
        nn.adaptive_max_pool2d,
        nn.adaptive_max_pool3d,
    ),
    "max_unpool": (nn.max_unpool1d, nn.max_unpool2d, nn.max_unpool3d),
}
_DIRECTORY = Path(__file__).parents[1] / "golden"


@functools.cache
def golden(family):
    """The arrays of a family, by the names of cases and their own."""
    with np.load(_DIRECTORY / f"{family}.npz") as file:
        flat, names = file["values"], file["names"].tolist()
    found, start = {}, 0
    for described in names:
        name, _, sizes = described.partition(":")
        shape = tuple(map(int, sizes.split()))
        stop = start + math.prod(shape)
        found[name] = flat[start:stop].reshape(shape)
        start = stop
    assert start == len(flat)
    return found


def expected(family, name):
    """The arrays of a case, by their names."""
    start = f"{name}/"
    found = golden(family).items()
    return {k.removeprefix(start): v for k, v in found if k.startswith(start)}


def function_of(case):
    """The function of a case, for its number of spatial axes."""
    if case.function in BY_RANK:
        return BY_RANK[case.function][len(case.shapes["x"]) - 3]
    return getattr(nn, case.function)


def operands(case, dtype="float64"):
    return {k: v.astype(dtype) for k, v in case.arrays().items()}


def assert_as_pytorch(family, name):
    """Values and gradients, in float64 and float32, and without `jit`."""
    case, wanted = FAMILIES[family][name], expected(family, name)
    function = function_of(case)
    cotangent = values(wanted["y"].shape, 9)

    def value(given):
        return function(**given, **case.options)

    def loss(given):
        y = value(given)
        return (y * cotangent.astype(y.dtype)).sum(), y

    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        gradients, y = fst.jit(fst.grad(loss, has_aux=True))(operands(case, dtype))
        for k, found in {"y": y, **{f"grad_{k}": g for k, g in gradients.items()}}.items():
            assert found.dtype == dtype
            # Relative to each element, and to the largest of an array.
            atol = tolerance * max(1, np.abs(wanted[k]).max(initial=0))
            np.testing.assert_allclose(found, wanted[k], rtol=tolerance, atol=atol, err_msg=k)
    np.testing.assert_allclose(value(operands(case)), wanted["y"], rtol=1e-10, atol=1e-10)


def assert_layer_as_pytorch(family, name, layer, x):
    """The value of a layer without parameters, a function of x, and its gradient."""
    wanted = expected(family, name)
    cotangent = values(wanted["y"].shape, 9)

    def loss(x):
        y = layer(x)
        return (y * cotangent).sum(), y

    slope, y = fst.jit(fst.grad(loss, has_aux=True))(x)
    np.testing.assert_allclose(y, wanted["y"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(slope, wanted["grad_x"], rtol=1e-10, atol=1e-10)


def assert_same_in_front(family, name):
    """With channels in front it is the same."""
    case = FAMILIES[family][name]
    function, given = getattr(nn, case.function), operands(case)
    wanted = function(**given, **case.options)
    x = np.moveaxis(given.pop("x"), -1, 1)
    y = function(x, **given, **case.options, data_format=FORMATS[wanted.ndim])
    np.testing.assert_allclose(fnp.moveaxis(y, 1, -1), wanted, rtol=1e-12, atol=1e-12)


def assert_maps(family, name):
    """`vmap` over all operands, and over the first alone, is the same as one call for each."""
    case = FAMILIES[family][name]
    function = functools.partial(getattr(nn, case.function), **case.options)
    names, given = zip(*operands(case).items(), strict=True)
    other = [np.roll(x, 1) * 0.7 for x in given]
    both = [np.stack(pair) for pair in zip(given, other, strict=True)]

    def call(*args):
        return function(**dict(zip(names, args, strict=True)))

    wanted = np.stack([call(*given), call(*other)])
    np.testing.assert_allclose(fst.jit(fst.vmap(call))(*both), wanted, rtol=1e-12, atol=1e-12)
    axes = (0, *[None] * (len(given) - 1))
    wanted = np.stack([call(*given), call(other[0], *given[1:])])
    mapped = fst.vmap(call, axes)(both[0], *given[1:])
    np.testing.assert_allclose(mapped, wanted, rtol=1e-12, atol=1e-12)
