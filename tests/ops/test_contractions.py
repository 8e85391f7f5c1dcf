"""Functions of contractions, convolutions and windows that are made of more than one operation."""

import operator

import numpy as np
import pytest

import fstensor as fst
from fstensor import errors, lax
from fstensor import numpy as fnp
from tests.tolerances import assert_close

X = np.random.default_rng(0).standard_normal((2, 7, 6, 3)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((3, 2, 3, 5)).astype(np.float32)


def caught(error, function, *args, **kwargs):
    with pytest.raises(error) as info:
        function(*args, **kwargs)
    return info.value.args[0]


class TestDot:
    def test_dot_and_batch_matmul(self):
        a, b = X[0], np.swapaxes(X[0], 1, 2)
        assert_close(lax.dot(a[0], b[0]), a[0] @ b[0])
        assert_close(lax.dot(a[0], b[0][:, 0]), a[0] @ b[0][:, 0])
        assert_close(lax.batch_matmul(a, b), a @ b)

    def test_negative_axes(self):
        numbers = (((-1,), (-2,)), ((-3,), (0,)))
        assert_close(lax.dot_general(X[0], np.swapaxes(X[0], 1, 2), numbers), X[0] @ X[0].mT)

    def test_strided_operands(self):
        """BLAS reads views; what it could not read is copied first."""
        a = np.arange(48, dtype=np.float32).reshape(6, 8)[::2, ::2]
        ones = fnp.broadcast_to(fnp.float32(1), (4, 5))
        assert_close(lax.dot(a, ones), a @ np.ones((4, 5), np.float32))

    @pytest.mark.parametrize(
        ("shapes", "numbers", "text"),
        [
            (
                ((2, 3), (4, 5)),
                (((1,), (0,)), ((), ())),
                "dot_general: contracting sizes must match, got float32[2,3] and float32[4,5] "
                "(3 != 4)",
            ),
            (
                ((2, 3), (4, 3)),
                (((1,), (1,)), ((0,), (0,))),
                "dot_general: batch sizes must match, got float32[2,3] and float32[4,3] (2 != 4)",
            ),
            (
                ((2, 3), (2, 3)),
                (((0, 1), (0,)), ((), ())),
                "dot_general: contracting axes must come in pairs, got (0, 1) for float32[2,3] "
                "and (0,) for float32[2,3]",
            ),
        ],
    )
    def test_sizes_that_differ(self, shapes, numbers, text):
        operands = [np.zeros(s, np.float32) for s in shapes]
        assert caught(errors.ShapeError, lax.dot_general, *operands, numbers) == text

    def test_other_mistakes(self):
        x = np.zeros((2, 2), np.float32)
        missing = (((2,), (0,)), ((), ()))
        assert "must exist and differ" in caught(errors.AxisError, lax.dot_general, x, x, missing)
        numbers = (((1,), (0,)), ((), ()))
        assert "dtypes must be equal" in caught(
            errors.DtypeError, lax.dot_general, x, x.astype(int), numbers
        )
        text = caught(
            errors.DtypeError, lax.dot_general, x, x, numbers, preferred_element_type="float16"
        )
        assert "must be at least as wide as the operands" in text
        assert "must be vectors or matrices" in caught(errors.ShapeError, lax.dot, X, X)
        assert "one rank of at least 2" in caught(errors.ShapeError, lax.batch_matmul, x, X)

    def test_batch_makes_one_contraction(self):
        """No loop, and no batch axis where one operand is shared."""
        numbers = (((1,), (0,)), ((), ()))
        matmul = fst.vmap(lambda x, y: lax.dot_general(x, y, numbers), (0, None))
        text = str(fst.make_jaxpr(matmul)(np.zeros((5, 2, 3)), np.zeros((3, 4))))
        assert text.count("dot_general") == 1
        assert "(([2], [0]), ([], []))" in text


class TestConv:
    @pytest.mark.parametrize("padding", ["SAME", "VALID", [(1, 2), (0, 1)]])
    @pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 2)])
    @pytest.mark.parametrize("options", [{}, {"rhs_dilation": (2, 1)}, {"transpose_kernel": True}])
    @pytest.mark.parametrize("consistent", [False, True])
    def test_conv_transpose(self, padding, strides, options, consistent):
        jax = pytest.importorskip("jax")
        kernel = np.swapaxes(W, 2, 3) if options.get("transpose_kernel") else W
        options = {**options, "use_consistent_padding": consistent}
        expected = jax.lax.conv_transpose(X, kernel, strides, padding, **options)
        got = lax.conv_transpose(X, kernel, strides, padding, **options)
        assert_close(got, expected, factor=4)

    def test_conv_transpose_is_the_transpose(self):
        layout = ("NHWC", "HWIO", "NHWC")

        def forward(x):
            kernel = np.swapaxes(W, 2, 3)
            return lax.conv_general_dilated(x, kernel, (2, 3), "SAME", dimension_numbers=layout)

        y = np.random.default_rng(2).standard_normal((2, 7, 6, 3)).astype(np.float32)
        (pulled,) = fst.linear_transpose(forward, np.zeros((2, 14, 18, 5), np.float32))(y)
        kernel = np.swapaxes(W, 2, 3)
        got = lax.conv_transpose(y, kernel, (2, 3), "SAME", transpose_kernel=True)
        assert_close(got, pulled, factor=4)

    @pytest.mark.parametrize("layout", [None, ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NHWC")])
    @pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", "VALID"])
    def test_patches(self, layout, padding):
        jax = pytest.importorskip("jax")
        args = (X, (2, 3), (1, 2), padding)
        expected = jax.lax.conv_general_dilated_patches(*args, dimension_numbers=layout)
        got = lax.conv_general_dilated_patches(*args, dimension_numbers=layout)
        assert_close(got, expected)

    def test_kinds_of_padding(self):
        assert lax.padtype_to_pads((7, 6), (3, 4), (2, 1), "VALID") == [(0, 0), (0, 0)]
        assert lax.padtype_to_pads((7, 6), (3, 4), (2, 1), "SAME") == [(1, 1), (1, 2)]
        assert lax.padtype_to_pads((7, 6), (3, 4), (2, 1), "SAME_LOWER") == [(1, 1), (2, 1)]
        assert "'FULL'" in caught(errors.OptionError, lax.padtype_to_pads, (7,), (3,), (1,), "FULL")

    def test_conv_of_every_spelling(self):
        x, w = X.transpose(0, 3, 1, 2), W.transpose(3, 2, 0, 1)
        expected = lax.conv_general_dilated(x, w, (1, 2), "SAME")
        assert_close(lax.conv(x, w, (1, 2), "SAME"), expected)
        assert_close(lax.conv_with_general_padding(x, w, (1, 2), "SAME", None, None), expected)
        layout = ("NHWC", "HWIO", "NHWC")
        last = lax.conv_general_dilated(X, W, (1, 2), "SAME", dimension_numbers=layout)
        assert_close(last, np.asarray(expected).transpose(0, 2, 3, 1))

    def test_large_operands_are_laid_out_in_blocks(self):
        x = np.random.default_rng(0).standard_normal((4, 3, 40, 300)).astype(np.float32)
        w = np.random.default_rng(1).standard_normal((2, 3, 5, 5)).astype(np.float32)
        whole = lax.conv(x, w, (1, 1), "VALID")
        for order in ((0, 1, 2, 3), (1, 2, 3, 0)):  # features last, then the batch last
            stored = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
            rows = [lax.conv(stored[:, :, i : i + 5], w, (1, 1), "VALID") for i in range(36)]
            assert_close(lax.conv(stored, w, (1, 1), "VALID"), fnp.concatenate(rows, 2), factor=4)
        assert whole.shape == (4, 2, 36, 296)

    def test_mistakes(self):
        x, w = np.zeros((2, 3, 5), np.float32), np.zeros((4, 2, 3), np.float32)
        conv = lax.conv_general_dilated
        assert caught(errors.ShapeError, conv, x, w, (1,), "VALID") == (
            "conv_general_dilated: input features must match, got float32[2,3,5] and "
            "float32[4,2,3] (3 != 2 in each of 1 groups)"
        )
        assert "sizes being positive" in caught(errors.OptionError, conv, x, w, (0,), "VALID")
        assert "window_strides" in caught(errors.OptionError, conv, x, w, (1, 1), [(0, 0)])
        assert "three strings of 3 letters" in caught(
            errors.OptionError, conv, x, w, (1,), "VALID", dimension_numbers=("NCH", "OIH", "NC")
        )
        assert "padding must be given in numbers" in caught(
            errors.OptionError, conv, x, w, (1,), "SAME", lhs_dilation=(2,)
        )
        assert "must leave something" in caught(
            errors.ShapeError, conv, x[:, :2], w, (1,), [(-3, -3)]
        )


class TestReduceWindow:
    def test_init_value_counts_once(self):
        jax = pytest.importorskip("jax")
        x = X[0, :, :, 0]
        for ours, theirs in ((lax.add, jax.lax.add), (lax.max, jax.lax.max)):
            expected = jax.lax.reduce_window(x, np.float32(0.5), theirs, (2, 3), (1, 2), "SAME")
            got = lax.reduce_window(x, 0.5, ours, (2, 3), (1, 2), "SAME")
            assert_close(got, expected)

    @pytest.mark.parametrize(
        ("computation", "name"),
        [
            (lax.add, "reduce_window_sum"),
            (lambda x, y: y + x, "reduce_window_sum"),
            (operator.add, "reduce_window_sum"),
            (fnp.maximum, "reduce_window_max"),
            (lax.min, "reduce_window_min"),
        ],
    )
    def test_known_computations(self, computation, name):
        init = {"sum": 0.0, "max": -np.inf, "min": np.inf}[name[-3:]]
        pool = lambda x: lax.reduce_window(x, init, computation, (1, 2, 2, 1))
        (eqn,) = fst.make_jaxpr(pool)(X).eqns
        assert eqn.primitive.name == name

    def test_any_computation(self):
        x = X[0, :, :, 0]
        product = lax.reduce_window(x, 1.0, lax.mul, (2, 2), padding=[(1, 0), (0, 1)])
        padded = np.pad(x, [(1, 0), (0, 1)], constant_values=1)
        expected = padded[:-1, :-1] * padded[1:, :-1] * padded[:-1, 1:] * padded[1:, 1:]
        assert_close(product, expected)
        norm = lax.reduce_window(x, 0.0, lambda a, b: (a * a + b * b) ** 0.5, (2, 2), (2, 2))
        blocks = x[:6].reshape(3, 2, 3, 2)
        assert_close(norm, np.sqrt((blocks**2).sum((1, 3))), factor=4)

    def test_bools(self):
        x = X[0, :, :, 0] > 0
        expected = x[:-1] | x[1:]
        assert_close(lax.reduce_window(x, False, lax.bitwise_or, (2, 1)), expected)

    def test_second_derivative_of_pooling(self):
        def energy(x):
            return fnp.sum(lax.reduce_window(x, -np.inf, lax.max, (2,), (2,)) ** 3)

        hessian = fst.hessian(energy)(fnp.array([1.0, 3.0, 2.0, -1.0]))
        assert_close(hessian, np.diag([0, 18, 12, 0]).astype(np.float32))

    def test_mistakes(self):
        pool = lax.reduce_window
        assert "needs a size, window and stride for each axis" in caught(
            errors.OptionError, pool, X, 0.0, lax.add, (2, 2)
        )
        assert "init_value must be a scalar" in caught(
            errors.ShapeError, pool, X, np.zeros(2, np.float32), lax.add, (1, 2, 2, 1)
        )
        with pytest.raises(errors.TracerBoolConversionError):
            pool(X, -np.inf, max, (1, 2, 2, 1))


class TestReduce:
    def test_known_computations(self):
        summed = lambda x: lax.reduce(x, 0.0, lax.add, (1, 2))
        (eqn,) = fst.make_jaxpr(summed)(X).eqns
        assert str(eqn.primitive.name) == "reduce_sum"
        assert_close(lax.reduce(X, 2.0, lax.max, (0, 3)), np.maximum(X.max((0, 3)), 2))

    def test_any_computation(self):
        def hypot(a, b):
            return (a * a + b * b) ** 0.5

        for count in (1, 2, 5, 6):
            x = np.abs(X[:, :count])
            expected = np.sqrt((x**2).sum(1))
            assert_close(lax.reduce(x, 0.0, hypot, (1,)), expected, factor=4)
        assert_close(lax.reduce(X[:, :0], 3.0, hypot, (1,)), np.full((2, 6, 3), 3, np.float32))

    def test_order_is_kept(self):
        """The computation need not commute: here it composes x -> a x + b."""
        a, b = X[0, :, 0, 0], X[0, :, 1, 0]

        def compose(f, g):
            return f[0] * g[0], f[1] * g[0] + g[1]

        got = lax.reduce((a, b), (1.0, 0.0), compose, (0,))
        slope, offset = 1.0, 0.0
        for p, q in zip(a, b, strict=True):
            slope, offset = slope * p, offset * p + q
        assert_close(got[0], np.float32(slope), factor=4)
        assert_close(got[1], np.float32(offset), factor=4)

    def test_mistakes(self):
        assert "one structure" in caught(errors.TreeError, lax.reduce, (X, X), 0.0, lax.add, (0,))
        assert caught(errors.ShapeError, lax.reduce_max, np.zeros((0, 3), np.float32), (0,)) == (
            "reduce_max: needs at least one element along each reduced axis, got float32[0,3] over "
            "axes (0,); an empty set has no largest or smallest element"
        )
        assert "must hold every index" in caught(
            errors.DtypeError, lax.argmax, np.zeros(300), 0, "int8"
        )


class TestTies:
    """Where several elements are equal, slopes are those of JAX."""

    VALUES = np.array([1, 1, 0, 2, 2, 2, 1, 3, 3], np.float32)

    @pytest.mark.parametrize("name", ["cummax", "cummin"])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_cumulative(self, name, reverse):
        jax = pytest.importorskip("jax")
        weights = np.arange(1, 10, dtype=np.float32)

        def of(module, x):
            return (getattr(module, name)(x, reverse=reverse) * weights).sum()

        expected = jax.grad(lambda x: of(jax.lax, x))(self.VALUES)
        assert_close(fst.grad(lambda x: of(lax, x))(self.VALUES), expected)

    def test_reduce_max(self):
        got = fst.grad(lambda x: lax.reduce_max(x, (0,)))(self.VALUES)
        assert_close(got, np.array([0, 0, 0, 0, 0, 0, 0, 0.5, 0.5], np.float32))

    def test_pooling_takes_the_first(self):
        x = np.array([[1, 2, 2], [2, 2, 0]], np.float32)
        pool = lambda x: lax.reduce_window(x, -np.inf, lax.max, (2, 2)).sum()
        assert_close(fst.grad(pool)(x), np.array([[0, 2, 0], [0, 0, 0]], np.float32))


def test_products_of_zeros_have_finite_derivatives():
    x = fnp.array([2.0, 0.0, 3.0, 0.0])
    product = lambda x: lax.reduce_prod(x, (0,))
    assert_close(fst.grad(product)(x), np.zeros(4, np.float32))
    expected = np.zeros((4, 4), np.float32)
    expected[1, 3] = expected[3, 1] = 6
    assert_close(fst.hessian(product)(x), expected)


def test_logarithm_of_sums_of_infinities():
    x = np.array([-np.inf, -np.inf, 0.0, 0.0, np.inf], np.float32)
    slope = fst.grad(lambda x: lax.cumlogsumexp(x)[3])(x)
    assert_close(slope, np.array([0, 0, 0.5, 0.5, 0], np.float32))
