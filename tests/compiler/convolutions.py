"""Convolutions for tests of compiled ones, and how these are compared with the NumPy executor."""

import numpy as np

import fstensor as fs
from fstensor import config, jit, lax
from fstensor.compiler.llvm.target import AVX2, AVX512, NEON, SSE2
from tests.compiler.guarded import in_guarded_memory
from tests.tolerances import assert_close

TARGETS = {"avx512": AVX512, "avx2": AVX2, "sse2": SSE2, "neon": NEON}
NHWC = ("NHWC", "HWIO", "NHWC")
NHWC_TURNED = ("NHWC", "HWOI", "NHWC")
NCHW = ("NCHW", "OIHW", "NCHW")


def numbers(shape, dtype=np.float32, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return in_guarded_memory(values.astype(dtype))


def run(f, *args, executor="llvm", threads=None):
    changes = {"executor": executor} | ({} if threads is None else {"threads": threads})
    with config.override(**changes):
        out = jit(lambda *xs: f(*xs))(*args)
        return [np.array(y) for y in fs.tree.leaves(out)]


def host_calls(f, *args):
    with config.override(executor="llvm"):
        return jit(lambda *xs: f(*xs)).lower(*args).report().count("host:")


def check(f, *args, factor=4.0, expect_native=True):
    assert not expect_native or not host_calls(f, *args)
    expected = run(f, *args, executor="numpy")
    for got, want in zip(run(f, *args), expected, strict=True):
        assert_close(got, want, factor=factor)


def conv(stride=1, padding="SAME", numbers=NHWC, **options):
    def f(x, w):
        strides = (stride,) * (x.ndim - 2) if isinstance(stride, int) else stride
        return lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=numbers, **options
        )

    return f


PARAMETERS = {
    "one channel": ((3, 9, 11, 1), (3, 3, 1, 20), {}),
    "no multiples": ((2, 7, 8, 5), (3, 2, 5, 19), {}),
    "no padding": ((2, 8, 8, 16), (3, 3, 16, 32), {"padding": "VALID"}),
    "1x1": ((2, 6, 7, 8), (1, 1, 8, 40), {}),
    "1x1 strided": ((2, 6, 7, 8), (1, 1, 8, 4), {"stride": 2}),
    "strided": ((2, 12, 13, 6), (5, 5, 6, 10), {"stride": 2}),
    "strided by 3, 2": ((2, 12, 13, 6), (2, 3, 6, 10), {"stride": (3, 2)}),
    "7x7": ((1, 20, 20, 3), (7, 7, 3, 17), {"stride": 2, "padding": ((3, 3), (3, 3))}),
    "uneven padding": ((2, 6, 5, 4), (3, 3, 4, 4), {"padding": ((0, 4), (5, 1))}),
    "negative padding": ((2, 9, 9, 4), (3, 3, 4, 4), {"padding": ((-2, 1), (1, -3))}),
    "far padding": ((1, 2, 2, 3), (2, 2, 3, 4), {"padding": ((6, 7), (5, 5))}),
    "dilated kernel": ((2, 11, 10, 4), (3, 3, 4, 8), {"rhs_dilation": (2, 3)}),
    "dilated operand": (
        (2, 5, 6, 4), (3, 3, 4, 8), {"padding": ((1, 2), (2, 2)), "lhs_dilation": (2, 3)},
    ),
    "both dilated": (
        (2, 5, 6, 4), (3, 3, 4, 8),
        {"padding": ((3, 2), (2, 4)), "lhs_dilation": (2, 4), "rhs_dilation": (3, 2), "stride": 3},
    ),
    "dilated by more than the kernel": (
        (2, 4, 4, 3), (2, 2, 3, 5), {"padding": ((0, 1), (1, 0)), "lhs_dilation": (4, 3)},
    ),
    "groups": ((2, 6, 6, 8), (3, 3, 2, 12), {"feature_group_count": 4}),
    "depthwise": ((2, 6, 6, 10), (3, 3, 1, 10), {"feature_group_count": 10}),
    "depthwise, two each": ((2, 6, 6, 5), (3, 3, 1, 10), {"feature_group_count": 5}),
    "batch groups": ((4, 6, 6, 3), (3, 3, 3, 8), {"batch_group_count": 2}),
    "wide": ((1, 5, 5, 3), (3, 3, 3, 130), {}),
    "one output": ((2, 5, 6, 7), (3, 3, 7, 1), {}),
    "deep": ((1, 4, 4, 70), (3, 3, 70, 33), {}),
    "window as large as the operand": ((3, 6, 6, 4), (6, 6, 4, 9), {"padding": "VALID"}),
    "window larger than the result": ((5, 9, 9, 7), (8, 7, 7, 9), {"padding": ((1, 0), (0, 1))}),
    "one place": ((16, 3, 3, 8), (3, 3, 8, 8), {"padding": "VALID"}),
    "large batch of single places": ((30, 1, 1, 8), (1, 1, 8, 20), {}),
    "channels first": ((2, 5, 9, 8), (7, 5, 3, 3), {"numbers": NCHW}),
    "channels first, strided": ((2, 3, 16, 15), (8, 3, 5, 5), {"numbers": NCHW, "stride": 2}),
    "channels first, long rows": ((1, 2, 4, 70), (5, 2, 3, 3), {"numbers": NCHW}),
    "channels first, groups": (
        (2, 6, 5, 5), (4, 3, 3, 3), {"numbers": NCHW, "feature_group_count": 2},
    ),
    "channels first, depthwise": (
        (2, 37, 6, 19), (37, 1, 3, 3), {"numbers": NCHW, "feature_group_count": 37},
    ),
    "channels first, 1x1": ((2, 10, 5, 9), (7, 10, 1, 1), {"numbers": NCHW}),
    "channels first, 1x1, kernel in another order": (
        (2, 10, 5, 9), (10, 1, 1, 7), {"numbers": ("NCHW", "IHWO", "NCHW")},
    ),
    "strange layouts": ((6, 3, 2, 7), (4, 3, 3, 2), {"numbers": ("WNCH", "OWHI", "CHNW")}),
    "one axis": ((2, 40, 3), (5, 3, 8), {"numbers": ("NWC", "WIO", "NWC")}),
    "one axis, channels first": (
        (2, 3, 40), (8, 3, 5), {"numbers": ("NCW", "OIW", "NCW"), "stride": 3},
    ),
    "three axes": ((2, 4, 5, 6, 3), (2, 3, 3, 3, 9), {"numbers": ("NDHWC", "DHWIO", "NDHWC")}),
    "no axis": ((4, 5), (7, 5), {"numbers": ("NC", "OI", "NC")}),
}  # fmt: skip
