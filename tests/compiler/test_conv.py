"""Native convolutions and reductions over windows, against the NumPy executor."""

import numpy as np
import pytest

import fstensor as fs
from fstensor import config, dtypes, jit, lax
from fstensor import numpy as fnp
from fstensor.array import from_buffer
from fstensor.compiler import pipeline
from fstensor.compiler.llvm import conv as conv_module
from fstensor.compiler.llvm import conv_plan
from fstensor.compiler.llvm.conv_rows import write_rows
from tests.compiler.convolutions import (
    NCHW,
    NHWC,
    NHWC_TURNED,
    PARAMETERS,
    TARGETS,
    check,
    conv,
    host_calls,
    numbers,
    run,
)

pytestmark = pytest.mark.usefixtures("guarded_memory")

# These are read in place, row by row.
BY_ROWS = {
    "depthwise": ((2, 5, 40, 20), (3, 3, 1, 20), {"feature_group_count": 20}),
    "depthwise, strided": (
        (2, 11, 23, 16), (5, 3, 1, 16), {"feature_group_count": 16, "stride": 2},
    ),
    "depthwise, dilated": (
        (1, 12, 30, 33), (3, 3, 1, 33), {"feature_group_count": 33, "rhs_dilation": (2, 3)},
    ),
    "depthwise, strided and dilated": (
        (1, 12, 30, 17), (3, 2, 1, 17),
        {"feature_group_count": 17, "rhs_dilation": (3, 3), "stride": 2},
    ),
    "depthwise, far padding": (
        (1, 3, 20, 16), (3, 3, 1, 16), {"feature_group_count": 16, "padding": ((4, 1), (6, 3))},
    ),
    "depthwise, three axes": (
        (2, 4, 5, 20, 17), (2, 3, 3, 1, 17),
        {"numbers": ("NDHWC", "DHWIO", "NDHWC"), "feature_group_count": 17},
    ),
    "depthwise, one axis": (
        (2, 50, 24), (3, 1, 24), {"numbers": ("NWC", "WIO", "NWC"), "feature_group_count": 24},
    ),
    "channels first, depthwise": (
        (2, 3, 6, 28), (3, 1, 3, 3), {"numbers": NCHW, "feature_group_count": 3},
    ),
    "channels first, depthwise, long rows": (
        (1, 2, 4, 450), (2, 1, 3, 3), {"numbers": NCHW, "feature_group_count": 2},
    ),
    "few outputs": ((2, 20, 9, 30), (3, 20, 3, 3), {"numbers": NCHW}),
    "few outputs in groups": (
        (2, 8, 9, 30), (6, 4, 3, 3), {"numbers": NCHW, "feature_group_count": 2},
    ),
    "few outputs, uneven padding": (
        (2, 5, 9, 40), (2, 5, 3, 3), {"numbers": NCHW, "padding": ((-2, 1), (-3, 4))},
    ),
    "few outputs, no padding": ((2, 5, 9, 90), (2, 5, 3, 3), {"numbers": NCHW, "padding": "VALID"}),
    "few outputs, dilated operand": (
        (1, 6, 9, 40), (3, 6, 4, 4),
        {"numbers": NCHW, "padding": ((2, 2), (2, 2)), "lhs_dilation": (2, 2)},
    ),
    "few outputs, channels last": ((2, 9, 30, 64), (3, 3, 2, 64), {"numbers": NHWC_TURNED}),
    "few outputs, channels last, uneven": (
        (2, 9, 13, 85), (5, 3, 2, 85),
        {"numbers": NHWC_TURNED, "padding": ((-2, 1), (4, 3)), "stride": 2},
    ),
    "one output, channels last": ((2, 5, 21, 70), (3, 3, 70, 1), {"rhs_dilation": (1, 2)}),
    "few outputs, channels last, dilated operand": (
        (1, 6, 11, 40), (6, 6, 2, 40),
        {"numbers": NHWC_TURNED, "padding": ((2, 2), (2, 2)), "lhs_dilation": (2, 2)},
    ),
    "few outputs, one axis": (
        (2, 3, 60), (2, 3, 5), {"numbers": ("NCW", "OIW", "NCW"), "padding": ((4, 0),)},
    ),
}  # fmt: skip


def long_epilogue(f):
    return lambda x, w: fnp.exp(-fnp.abs(fnp.tanh(f(x, w)) * 0.5 + 0.25))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, dtypes.bfloat16])
@pytest.mark.parametrize("name", BY_ROWS)
def test_conv_by_rows(monkeypatch, name, dtype):
    x_shape, w_shape, options = BY_ROWS[name]
    f = conv(**options)
    written = []
    monkeypatch.setattr(conv_module, "write_rows", lambda *args: written.append(write_rows(*args)))
    # Which outputs are few depends on the vectors; LLVM takes apart those that are too wide here.
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS["avx512"])
    args = numbers(x_shape, dtype, 1), numbers(w_shape, dtype, 2)
    check(f, *args)
    assert written
    if dtype != dtypes.bfloat16:
        check(long_epilogue(f), *args)


@pytest.mark.parametrize("name", BY_ROWS)
def test_grad_conv_by_rows(name):
    x_shape, w_shape, options = BY_ROWS[name]
    f = conv(**options)
    args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
    check(fs.grad(lambda x, w: fnp.sum(fnp.sin(f(x, w))), argnums=(0, 1)), *args, factor=40)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name",
    ["depthwise, strided", "depthwise, far padding", "channels first, depthwise, long rows",
     "few outputs", "few outputs, channels last"],
)  # fmt: skip
def test_conv_by_rows_for_targets(monkeypatch, name, target):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS[target])
    x_shape, w_shape, options = BY_ROWS[name]
    f = conv(**options)
    args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
    check(f, *args)
    check(long_epilogue(f), *args)


@pytest.mark.parametrize("name", ["depthwise", "few outputs in groups"])
def test_rows_on_threads_give_equal_bits(name):
    x_shape, w_shape, options = BY_ROWS[name]
    args = numbers((5, *x_shape[1:]), np.float32, 1), numbers(w_shape, np.float32, 2)
    f = conv(**options)
    (alone,) = run(f, *args, threads=1)
    for threads in (2, 3, 7):
        (together,) = run(f, *args, threads=threads)
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PARAMETERS)
def test_conv(name, dtype):
    x_shape, w_shape, options = PARAMETERS[name]
    check(conv(**options), numbers(x_shape, dtype, 1), numbers(w_shape, dtype, 2))


@pytest.mark.parametrize("name", PARAMETERS)
def test_grad_conv(name):
    x_shape, w_shape, options = PARAMETERS[name]
    f = conv(**options)
    args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)

    def loss(x, w):
        return fnp.sum(fnp.sin(f(x, w)))

    check(fs.grad(loss, argnums=(0, 1)), *args, factor=40)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", ["no multiples", "both dilated", "wide", "channels first", "strange layouts"]
)
def test_conv_for_targets(monkeypatch, name, target):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS[target])
    x_shape, w_shape, options = PARAMETERS[name]
    f = conv(**options)
    args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
    check(fs.grad(lambda x, w: fnp.sum(f(x, w) ** 2), argnums=(0, 1)), *args, factor=40)


@pytest.mark.parametrize("dtype", [np.float16, dtypes.bfloat16])
@pytest.mark.parametrize("preferred", [None, np.float32])
@pytest.mark.parametrize("name", ["no multiples", "channels first", "no padding"])
def test_conv_of_16_bits(name, preferred, dtype):
    x_shape, w_shape, options = PARAMETERS[name]
    f = conv(**options, preferred_element_type=preferred)
    check(f, numbers(x_shape, dtype, 1), numbers(w_shape, dtype, 2), factor=2)


@pytest.mark.parametrize("layout", [NHWC, NCHW])
@pytest.mark.parametrize("what", ["forward", "by lhs", "by rhs"])
def test_threads_give_equal_bits(what, layout):
    shape, kernel = (9, 14, 14, 6), (3, 3, 6, 24)
    if layout is NCHW:
        shape, kernel = (9, 6, 14, 14), (24, 6, 3, 3)
    f = conv(numbers=layout)
    x, w = numbers(shape, np.float32, 1), numbers(kernel, np.float32, 2)
    computed = {
        "forward": f,
        "by lhs": fs.grad(lambda x, w: fnp.sum(f(x, w) ** 2)),
        "by rhs": fs.grad(lambda x, w: fnp.sum(f(x, w) ** 2), argnums=1),
    }[what]
    (alone,) = run(computed, x, w, threads=1)
    for threads in (2, 3):
        (together,) = run(computed, x, w, threads=threads)
        np.testing.assert_array_equal(alone, together)


def test_kernel_gradient_of_few_sums_is_cut_into_chunks():
    f = conv()
    x, w = numbers((50, 12, 12, 1), np.float32, 1), numbers((3, 3, 1, 20), np.float32, 2)
    check(fs.grad(lambda x, w: fnp.sum(f(x, w) ** 2), argnums=1), x, w, factor=40)


@pytest.fixture
def small_bands(monkeypatch):
    monkeypatch.setattr(conv_plan, "_BAND_BYTES", 4096)
    conv_plan.plan_convolution.cache_clear()
    yield
    conv_plan.plan_convolution.cache_clear()


@pytest.mark.usefixtures("small_bands")
def test_image_is_cut_into_bands():
    for layout, shape, kernel in (
        (NHWC, (1, 41, 30, 6), (3, 3, 6, 20)),
        (NCHW, (1, 6, 41, 30), (20, 6, 3, 3)),
        (("NWC", "WIO", "NWC"), (1, 300, 6), (3, 6, 20)),
    ):
        x, w = numbers(shape, np.float32, 1), numbers(kernel, np.float32, 2)
        for options in ({}, {"stride": 2}, {"padding": [(3, 5)] * (len(shape) - 2)}):
            check(conv(numbers=layout, **options), x, w)


def test_epilogue_is_fused():
    def f(x, w, b, residual):
        y = conv()(x, w) + b
        return fnp.maximum(y, 0) * 2 + residual, y

    x, w = numbers((2, 6, 6, 5), np.float32, 1), numbers((3, 3, 5, 18), np.float32, 2)
    b, residual = numbers((18,), np.float32, 3), numbers((2, 6, 6, 18), np.float32, 4)
    check(f, x, w, b, residual)
    with config.override(executor="llvm"):
        report = jit(f).lower(x, w, b, residual).report()
    assert report == "native: 1 kernels in one call"


def test_epilogue_of_dilated_operand_and_channels_first():
    def f(x, w, b):
        y = lax.conv_general_dilated(
            x, w, (1, 1), ((1, 2), (2, 1)), lhs_dilation=(2, 2), dimension_numbers=NCHW
        )
        places = lax.broadcasted_iota(np.float32, y.shape, 3)
        return fnp.maximum(y + b[:, None, None], 0) + places

    args = [numbers(s, np.float32, n) for n, s in enumerate(((2, 5, 6, 7), (9, 5, 3, 3), (9,)))]
    check(f, *args)


def test_update_of_parameters_is_fused():
    def f(x, w, ct):
        gradient = fs.vjp(lambda w: conv()(x, w), w)[1](ct)[0]
        return w - 0.1 * gradient

    x, w = numbers((4, 6, 6, 5), np.float32, 1), numbers((3, 3, 5, 18), np.float32, 2)
    ct = numbers((4, 6, 6, 18), np.float32, 3)
    check(f, x, w, ct, factor=20)
    with config.override(executor="llvm"):
        assert jit(f).lower(x, w, ct).report() == "native: 1 kernels in one call"


def test_conv_of_rearranged_operands():
    def f(x, w):
        return conv()(x.transpose((0, 2, 3, 1))[:, ::-1], w[::-1, :, :, 1:])

    check(f, numbers((2, 5, 6, 7), np.float32, 1), numbers((3, 3, 5, 9), np.float32, 2))


def test_nan_and_infinity_stay_where_windows_meet_them():
    x = np.zeros((1, 6, 6, 2), np.float32)
    x[0, 0, 0, 0], x[0, 5, 5, 1] = np.nan, np.inf
    check(conv(), from_buffer(x), numbers((3, 3, 2, 5)))


def test_conv_in_loop():
    def f(x, w):
        return lax.fori_loop(0, 3, lambda i, x: fnp.tanh(conv()(x, w)), x)

    check(f, numbers((2, 5, 5, 4)), numbers((3, 3, 4, 4)), factor=20, expect_native=False)


def test_random_convolutions():
    rng = np.random.default_rng(3)
    letters = "NCHW"
    for _ in range(20):
        layouts = ["".join(rng.permutation(list(x))) for x in (letters, "OIHW", letters)]
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        by_batch = groups > 1 and rng.random() < 0.4
        window = rng.integers(1, 5, 2)
        spread, base, stride = (rng.integers(1, 4, 2) for _ in range(3))
        sizes = rng.integers(1, 9, 2)
        inputs, outputs = int(rng.integers(1, 6)), groups * int(rng.integers(1, 30))
        dims = {"N": int(rng.integers(1, 5)) * (groups if by_batch else 1),
                "C": inputs * (1 if by_batch else groups),
                "O": outputs, "I": inputs}  # fmt: skip
        pads = []
        for k in range(2):
            reach = (window[k] - 1) * spread[k] + 1
            length = (sizes[k] - 1) * base[k] + 1
            low = int(rng.integers(-1, 4))
            pads.append((low, max(int(rng.integers(0, 4)), int(reach - length - low))))
        x_shape = [{**dims, "H": sizes[0], "W": sizes[1]}[c] for c in layouts[0]]
        w_shape = [{**dims, "H": window[0], "W": window[1]}[c] for c in layouts[1]]
        f = conv(
            tuple(map(int, stride)), pads, tuple(layouts),
            lhs_dilation=tuple(map(int, base)), rhs_dilation=tuple(map(int, spread)),
            **{"batch_group_count" if by_batch else "feature_group_count": groups},
        )  # fmt: skip
        args = numbers(x_shape, np.float32, 1), numbers(w_shape, np.float32, 2)
        if min(f(*args).shape):
            check(f, *args)
            check(fs.grad(lambda *a, f=f: fnp.sum(f(*a) ** 2), argnums=(0, 1)), *args, factor=40)


# Windows

WINDOWS = {
    "2x2": ((2, 6, 8, 5), {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1)}),
    "2x2 with a rest": ((2, 7, 7, 20), {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1)}),
    "3x3 by 2": (
        (2, 8, 10, 5), {"window": (1, 3, 3, 1), "strides": (1, 2, 2, 1), "padding": "SAME"},
    ),
    "3x3 by 2 with a rest": (
        (2, 7, 9, 5), {"window": (1, 3, 3, 1), "strides": (1, 2, 2, 1), "padding": "SAME"},
    ),
    "3x3 by 1": ((2, 6, 5, 4), {"window": (1, 3, 3, 1), "padding": "SAME"}),
    "channels first": ((2, 3, 6, 20), {"window": (1, 1, 2, 2), "strides": (1, 1, 2, 2)}),
    "strides beyond the window": ((2, 9, 9, 3), {"window": (1, 2, 2, 1), "strides": (1, 3, 3, 1)}),
    "dilated": (
        (2, 9, 12, 3),
        {"window": (1, 2, 3, 1), "strides": (1, 1, 2, 1), "window_dilation": (1, 3, 2, 1)},
    ),
    "padded": (
        (1, 6, 6, 3),
        {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1),
         "padding": ((0, 0), (1, 3), (2, 0), (0, 0))},
    ),
    "cut": (
        (1, 8, 8, 3),
        {"window": (1, 2, 3, 1), "strides": (1, 2, 1, 1),
         "padding": ((0, 0), (-1, 1), (1, -2), (0, 0))},
    ),
    "dilated operand": (
        (1, 5, 4, 3),
        {"window": (1, 3, 2, 1), "padding": "VALID", "base_dilation": (1, 2, 3, 1)},
    ),
    "one axis": ((40,), {"window": (5,), "strides": (2,)}),
    "all": ((2, 5, 5, 3), {"window": (1, 5, 5, 1)}),
}  # fmt: skip


def window_args(window, strides=None, padding="VALID", **options):
    return {
        "window_dimensions": window, "window_strides": strides, "padding": padding, **options,
    }  # fmt: skip


REDUCTIONS = {"sum": (0, lax.add), "max": (-np.inf, lax.max), "min": (np.inf, lax.min)}


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("name", WINDOWS)
def test_reduce_window(name, kind):
    shape, options = WINDOWS[name]
    start, combine = REDUCTIONS[kind]

    def f(x):
        return lax.reduce_window(x, start, combine, **window_args(**options))

    x = numbers(shape)
    check(f, x)
    is_native = kind == "sum" or "base_dilation" not in options
    gradient = fs.grad(lambda x: fnp.sum(f(fnp.maximum(x, 0)) ** 2))
    check(gradient, x, factor=10, expect_native=is_native)
    check(lambda x, t: fs.jvp(f, (x,), (t,)), x, numbers(shape, seed=5))


@pytest.mark.parametrize("name", ["2x2", "2x2 with a rest", "3x3 by 2", "3x3 by 1", "dilated"])
@pytest.mark.parametrize("values", ["ties", "nan", "infinite"])
def test_gradient_of_max_pool_chooses_as_impl(name, values):
    shape, options = WINDOWS[name]
    rng = np.random.default_rng(7)
    pick = {"ties": [0.0, -0.0, 1.0], "nan": [np.nan, 1.0, 2.0], "infinite": [-np.inf, np.inf, 0.0]}
    x = from_buffer(rng.choice(np.array(pick[values], np.float32), shape))

    def f(x):
        return lax.reduce_window(x, -np.inf, lax.max, **window_args(**options))

    ct = numbers(f(x).shape, seed=3)
    check(lambda x, ct: fs.vjp(f, x)[1](ct), x, ct)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.float16, np.float64, bool])
def test_reduce_window_dtypes(dtype):
    rng = np.random.default_rng(1)
    x = from_buffer(rng.integers(0, 100, (2, 6, 6, 5)).astype(dtype))
    for start, combine in (
        (0, lax.add), (dtypes.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else 0, lax.max),
    ):  # fmt: skip
        start = np.asarray(start, dtype)
        check(
            lambda x, start=start, combine=combine: lax.reduce_window(
                x, start, combine, (1, 3, 2, 1), (1, 2, 2, 1), "SAME"
            ),
            x,
        )


def test_windows_of_many_elements_stay_on_the_host():
    def f(x):
        return lax.reduce_window(x, 0.0, lax.add, (20, 20), (1, 1), "VALID")

    x = numbers((30, 30))
    assert host_calls(f, x) == 1
    check(f, x, expect_native=False)


def test_relu_is_fused_with_gradient_of_max_pool():
    def f(x, ct):
        pool = {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1)}

        def relu_then_pool(x):
            return lax.reduce_window(fnp.maximum(x, 0), -np.inf, lax.max, **window_args(**pool))

        return fs.vjp(relu_then_pool, x)[1](ct)[0]

    x, ct = numbers((2, 6, 8, 20)), numbers((2, 3, 4, 20), seed=1)
    check(f, x, ct)
    with config.override(executor="llvm"):
        assert jit(f).lower(x, ct).report() == "native: 1 kernels in one call"


@pytest.mark.parametrize("target", TARGETS)
def test_windows_for_targets(monkeypatch, target):
    monkeypatch.setattr(pipeline, "host_target", lambda: TARGETS[target])
    for name in ("2x2", "3x3 by 2 with a rest", "channels first"):
        shape, options = WINDOWS[name]

        def loss(x, options=options):
            y = lax.reduce_window(fnp.sin(x), -np.inf, lax.max, **window_args(**options))
            return fnp.sum(y**2)

        check(fs.grad(loss), numbers(shape), factor=10)
