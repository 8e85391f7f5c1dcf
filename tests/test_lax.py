"""Functions of `fstensor.lax` that are made of others; the operations have tests of their own."""

import functools
import inspect
import types
from typing import ClassVar

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import device, errors, lax
from tests.numpy.compare import check, values

X = values((2, 3), "float32", 0.5, 2)


def test_reciprocal_and_select():
    check(lax.reciprocal(X), 1 / X, "float32")
    check(lax.select(X > 1, X, -X), np.where(X > 1, X, -X), "float32")
    check(lax.select(True, X, -X), X, "float32")
    with pytest.raises(errors.ShapeError, match="select_n"):
        lax.select(X > 1, X, X[0])


def test_stop_gradient():
    assert float(fst.grad(lambda x: x * lax.stop_gradient(x))(3.0)) == 3
    tree = lax.stop_gradient({"a": 1.0, "b": (2,)})
    assert (float(tree["a"]), int(tree["b"][0])) == (1, 2)


class TestFull:
    def test_full(self):
        check(lax.full((2, 3), 7), np.full((2, 3), 7), "int32")
        check(lax.full((2,), 0.1, "float64"), np.full(2, 0.1), "float64")
        check(lax.full((), fnp.float32(3), np.int8), np.int8(3), "int8")
        check(lax.full_like(X, 2), np.full_like(X, 2), "float32")
        check(lax.full_like(X, 2, "int8", (4,)), np.full(4, 2), "int8")

    def test_traced_value(self):
        check(fst.grad(lambda v: lax.full((2, 3), v).sum())(1.0), 6.0, "float32")


def test_iota_and_broadcast():
    check(lax.iota("int32", 4), np.arange(4), "int32")
    check(lax.broadcasted_iota("float32", (2, 3), 1), np.indices((2, 3))[1], "float32")
    check(lax.broadcast(X, (4, 1)), np.broadcast_to(X, (4, 1, 2, 3)), "float32")


def test_collapse():
    y = values((2, 3, 4), "float32")
    check(lax.collapse(y, 0, 2), y.reshape(6, 4))
    check(lax.collapse(y, 1), y.reshape(2, 12))
    check(lax.collapse(y, -2, -1), y)
    with pytest.raises(errors.AxisError, match="start_dimension <= stop_dimension"):
        lax.collapse(y, 2, 1)
    with pytest.raises(errors.AxisError):
        lax.collapse(y, 0, 4)


def test_scalars_take_the_dtype_of_the_other_operand():
    x = fnp.ones(2, "bfloat16")
    assert lax.add(x, 1.5).dtype == x.dtype
    assert lax.mul(2, x).dtype == x.dtype


def test_mul_with_a_dtype():
    x, y = values((3,), "int32"), values((3,), "float32")
    check(lax.mul(x, y, out_dtype="float64"), x * y.astype("float64"), "float64")
    check(lax.mul(2, y, out_dtype="float64"), 2 * y.astype("float64"), "float64")
    check(fst.jit(lambda x, y: lax.mul(x, y, out_dtype="float64"))(x, y), x * y, "float64")
    slope = fst.grad(lambda y: lax.mul(x, y, out_dtype="float64").sum())(y)
    check(slope, x.astype("float32"), "float32")
    with pytest.raises(errors.DtypeError, match="mul"):
        lax.mul(x, y)


def test_slice_in_dim():
    x = values((5, 7), "float64")
    for axis in (0, 1, -1):
        for start, limit, stride in ((0, None, 1), (1, 4, 1), (1, -1, 2), (-4, None, 3), (2, 2, 1)):
            key = [slice(None)] * 2
            key[axis] = slice(start, limit, stride)
            expected = x[tuple(key)]
            check(lax.slice_in_dim(x, start, limit, stride, axis), expected)
            f = functools.partial(
                lax.slice_in_dim, start_index=start, limit_index=limit, stride=stride, axis=axis
            )
            check(fst.jit(f)(x), expected)
            slope = np.zeros(x.shape)
            slope[tuple(key)] = 2 * expected
            check(fst.grad(lambda x, f=f: lax.square(f(x)).sum())(x), slope)
    rows = fst.vmap(lambda v: lax.slice_in_dim(v, 1, None, 2))(x)
    check(rows, x[:, 1::2])
    with pytest.raises(errors.AxisError):
        lax.slice_in_dim(x, 0, 1, axis=2)


def test_operations_do_not_promote():
    with pytest.raises(errors.DtypeError, match=r"add: dtypes must be equal, got float32\[2,3\]"):
        lax.add(X, X.astype("float64"))
    with pytest.raises(errors.ShapeError, match="add: shapes must agree"):
        lax.add(X, X[0])


class TestPrecision:
    X = values((1, 3, 6), "float32")
    W = values((4, 3, 2), "float32")
    FUNCTIONS: ClassVar = {
        "dot": lambda p: lax.dot(X, X.T, precision=p),
        "dot_general": lambda p: lax.dot_general(X, X, (((1,), (1,)), ((), ())), p),
        "batch_matmul": lambda p: lax.batch_matmul(X, X.T, p),
        "conv": lambda p: lax.conv(TestPrecision.X, TestPrecision.W, (1,), "SAME", p),
        "conv_general_dilated": lambda p: lax.conv_general_dilated(
            TestPrecision.X, TestPrecision.W, (1,), "SAME", precision=p
        ),
        "conv_with_general_padding": lambda p: lax.conv_with_general_padding(
            TestPrecision.X, TestPrecision.W, (1,), [(0, 1)], None, None, p
        ),
        "conv_transpose": lambda p: lax.conv_transpose(
            TestPrecision.X.mT, TestPrecision.W.transpose(2, 1, 0), (1,), "SAME", precision=p
        ),
        "conv_general_dilated_patches": lambda p: lax.conv_general_dilated_patches(
            TestPrecision.X, (2,), (1,), "SAME", precision=p
        ),
        "conv_general_dilated_local": lambda p: lax.conv_general_dilated_local(
            TestPrecision.X, values((2, 6, 5), "float32"), (1,), "VALID", (2,), precision=p
        ),
    }
    VALID = (
        None,
        *lax.Precision,
        *("default", "fastest", "bfloat16", "high", "bfloat16_3x", "tensorfloat32"),
        *("highest", "float32"),
        ("high", "highest"),
        (lax.Precision.HIGH, None),
    )

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_every_precision_is_satisfied(self, name):
        exact = np.asarray(self.FUNCTIONS[name](None))
        for precision in self.VALID:
            np.testing.assert_array_equal(self.FUNCTIONS[name](precision), exact)

    @pytest.mark.parametrize("wrong", ["FASTEST", 2, ("high",), ("high", "low"), "F32_F32_F32"])
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_other_values(self, name, wrong):
        with pytest.raises(errors.OptionError, match="precision must be None, a Precision"):
            self.FUNCTIONS[name](wrong)

    def test_accuracy(self):
        """The sums are those of float32, with the lowest precision too."""
        x = values((64, 512), "float32", seed=1)
        wide = x.astype(np.float64) @ x.T.astype(np.float64)
        got = np.asarray(lax.dot(x, x.T, precision="fastest"))
        assert np.abs(got - wide).max() < 1e-4 * np.abs(wide).max()


@pytest.mark.parametrize(
    ("layout", "padding", "options"),
    [
        (None, "SAME", {}),
        (None, [(1, 0), (0, 2)], {"rhs_dilation": (2, 1)}),
        (("NHWC", "HWIO", "NHWC"), "VALID", {}),
        (("NCHW", "HWOI", "CWHN"), [(1, 1), (1, 1)], {"lhs_dilation": (2, 1)}),
    ],
)
def test_convolution_with_local_kernels(layout, padding, options):
    specs = layout or ("NCHW", "OIHW", "NCHW")
    sizes = {"N": 2, "C": 3, "H": 5, "W": 4}
    x = values(tuple(sizes[c] for c in specs[0]), "float32")
    window, strides = (2, 3), (2, 1)
    patches = lax.conv_general_dilated_patches(
        x, window, strides, padding, dimension_numbers=layout, **options
    )
    places = {c: patches.shape[specs[2].index(c)] for c in "HW"}
    w = values(tuple({"O": 4, "I": 18, **places}[c] for c in specs[1]), "float32")
    args = (x, w, strides, padding, window)
    got = lax.conv_general_dilated_local(*args, dimension_numbers=layout, **options)
    expected = jax.lax.conv_general_dilated_local(
        *args, dimension_numbers=layout, precision="highest", **options
    )
    check(got, np.asarray(expected), "float32")
    with pytest.raises(errors.ShapeError, match="a kernel for each place"):
        lax.conv_general_dilated_local(x, w[:1, :1], *args[2:], dimension_numbers=layout, **options)


def test_equal_local_kernels_are_a_convolution():
    x, w = values((2, 3, 6), "float32"), values((4, 3, 2), "float32")
    local = np.broadcast_to(w.reshape(4, 6)[..., None], (4, 6, 5))
    f = lambda w: lax.conv_general_dilated_local(x, w, (1,), "VALID", (2,))
    check(f(local), np.asarray(lax.conv(x, w, (1,), "VALID")))
    slope = fst.grad(lambda w: (f(w) ** 2).sum())(local)
    shared = fst.grad(lambda w: (lax.conv(x, w, (1,), "VALID") ** 2).sum())(w)
    check(np.asarray(slope).sum(-1).reshape(4, 3, 2) + fnp.zeros(()), np.asarray(shared), factor=20)


class TestOptimizationBarrier:
    def test_tree(self):
        out = lax.optimization_barrier({"a": X, "b": (2, None)})
        check(out["a"], X)
        assert int(out["b"][0]) == 2
        assert out["b"][1] is None
        assert lax.optimization_barrier(()) == ()

    def test_is_kept_in_programs(self):
        f = lambda x: lax.optimization_barrier((x, x + 1))[0]
        assert "optimization_barrier" in str(fst.make_jaxpr(f)(X))
        slope = fst.make_jaxpr(fst.grad(lambda x: (f(x) * f(x)).sum()))(X)
        assert str(slope).count("optimization_barrier") >= 4  # forward and back, twice
        check(fst.jit(f)(X), X)

    def test_tangents_of_some(self):
        f = lambda x: lax.optimization_barrier((x, X))
        outs, tangents = fst.jvp(f, (X,), (2 * X,))
        check(list(outs), [X, X])
        check(list(tangents), [2 * X, np.zeros_like(X)])

    def test_batch_of_some(self):
        f = lambda x, y: lax.optimization_barrier((x, y))
        x, y = fst.vmap(f, in_axes=(1, None), out_axes=(1, None))(X, X)
        check([x, y], [X, X])


class TestReducePrecision:
    def test_halves_go_to_even(self):
        x = np.float32([1.125, 1.375, -1.125, 15.9, 300, -1e-9])
        check(lax.reduce_precision(x, 4, 2), np.float32([1, 1.5, -1, 16, np.inf, -0.0]))

    def test_tangents_are_rounded_like_jax(self):
        f = lambda n, x: n.reduce_precision(x, 5, 2) * 3
        _, got = fst.jvp(lambda x: f(lax, x), (X,), (X,))
        _, expected = jax.jvp(lambda x: f(jax.lax, x), (X,), (X,))
        check(got, np.asarray(expected))
        slope = fst.grad(lambda x: (lax.reduce_precision(x, 5, 2) * X).sum())(X)
        expected = jax.grad(lambda x: (jax.lax.reduce_precision(x, 5, 2) * X).sum())(X)
        check(slope, np.asarray(expected))

    def test_errors(self):
        for bits in ((0, 3), (3, -1)):
            with pytest.raises(errors.OptionError, match="exponent_bits must be positive"):
                lax.reduce_precision(X, *bits)
        with pytest.raises(errors.DtypeError, match="reduce_precision: takes a float dtype"):
            lax.reduce_precision(np.arange(3), 3, 3)


class TestRepeated:
    def test_tile(self):
        check(lax.tile(X, (2, 3)), np.tile(X, (2, 3)), "float32")
        check(lax.tile(X, (0, 1)), np.tile(X, (0, 1)))
        check(lax.tile(X, [1, 1]), X)
        check(lax.tile(X[0, 0], ()), X[0, 0])
        for reps in ((2,), (1, 2, 1), (1, -1)):
            with pytest.raises(errors.OptionError, match=r"tile: reps must have a number for each"):
                lax.tile(X, reps)

    def test_stack_and_unstack(self):
        for axis in (0, 1, -1):
            stacked = lax.stack([X, X + 1], axis)
            check(stacked, np.stack([X, X + 1], axis))
            check(list(lax.unstack(stacked, axis)), [X, X + 1])
        with pytest.raises(errors.ShapeError, match="stack: shapes must be equal"):
            lax.stack([X, X[:1]])
        with pytest.raises(errors.ShapeError, match="at least one"):
            lax.stack([])

    def test_broadcasts(self):
        assert lax.broadcast_shapes((3, 1), (2,), ()) == (3, 2)
        assert lax.broadcast_shapes((0, 1), (1, 4)) == (0, 4)
        assert lax.broadcast_shapes() == ()
        with pytest.raises(errors.ShapeError, match=r"got \(2,\) and \(3,\)"):
            lax.broadcast_shapes((2,), (3,))
        check(lax.broadcast_to_rank(X, 4), X[None, None])
        with pytest.raises(errors.ShapeError, match="rank must be at least 2"):
            lax.broadcast_to_rank(X, 1)
        check(lax.broadcast_like(X[0], X), np.broadcast_to(X[0], X.shape))
        with pytest.raises(errors.ShapeError, match="broadcast_in_dim"):
            lax.broadcast_like(X[:, 0], X)

    def test_empty_and_dtype(self):
        check(lax.empty((2, 0), "int8"), np.zeros((2, 0)), "int8")
        assert lax.dtype(X) == np.float32
        assert lax.dtype(1) == np.int32


def test_reshape_reads_axes_in_another_order():
    y = values((2, 3, 4), "float32")
    check(
        lax.reshape(y, (6, 4), dimensions=(1, 0, 2)), np.asarray(y).transpose(1, 0, 2).reshape(6, 4)
    )
    check(lax.reshape(y, (2, 3, 4), (0, 1, 2)), y)
    with pytest.raises(errors.ShapeError, match="permutation"):
        lax.reshape(y, (24,), (0, 1))


def test_approximate_top_k_is_exact():
    y = values((3, 40), "float32")
    for axis in (-1, 0, 1):
        ordered = np.sort(y, axis).take(range(y.shape[axis] - 1, -1, -1), axis)
        largest, places = lax.approx_max_k(y, 3, axis, recall_target=0.5)
        check(largest, ordered.take(range(3), axis))
        check(fnp.take_along_axis(y, places, axis), np.asarray(largest))
        smallest, places = lax.approx_min_k(y, 2, reduction_dimension=axis)
        check(smallest, np.sort(y, axis).take(range(2), axis))
        assert places.dtype == np.int32
    with pytest.raises(errors.OptionError, match=r"recall_target must be within \(0, 1\], got 0"):
        lax.approx_max_k(y, 3, recall_target=0)
    with pytest.raises(errors.DtypeError, match="approx_min_k: takes a float dtype"):
        lax.approx_min_k(np.arange(3), 1)


class TestPlatformDependent:
    def test_choice(self):
        add, sub = (lambda x: x + 1), (lambda x: x - 1)
        assert float(lax.platform_dependent(1.0, cpu=add, cuda=sub)) == 2
        assert float(lax.platform_dependent(1.0, tpu=sub, default=add)) == 2
        assert float(fst.grad(lambda x: lax.platform_dependent(x, cpu=lambda x: x * x))(3.0)) == 6
        with pytest.raises(errors.OptionError, match="needs a function for 'cpu' or a default"):
            lax.platform_dependent(1.0, tpu=add)

    def test_jit_chooses_anew_for_another_device(self, monkeypatch):
        f = fst.jit(lambda x: lax.platform_dependent(x, cpu=lax.sin, cuda=lax.cos))
        assert "sin" in str(fst.make_jaxpr(f)(X))
        check(f(X), np.sin(X))
        monkeypatch.setattr(device._default, "device", device.Device("cuda:0"))
        assert "cos" in str(f.lower(X).as_text())


# JAX's parameters that are not ours: where the result is placed on several devices, with which
# error an elementary function may be computed, and how an approximation may proceed.
LEFT_OUT = {
    "out_sharding",
    "sharding",
    "to",
    "accuracy",
    "reduction_input_size_override",
    "aggregate_to_topk",
}
OTHERWISE = {
    "random_gamma_grad": {"args", "x", "y"},  # JAX's takes *args
    "cond": {"operand"},  # its default stands for a missing argument, in JAX and here
    "switch": {"operand"},
    "scan": {"_split_transpose"},  # how XLA schedules the transpose
    "while_loop": {"max_steps"},  # ours
}


@pytest.mark.parametrize(
    "name", [n for n in lax.__all__ if isinstance(getattr(lax, n), types.FunctionType)]
)
def test_parameters_are_those_of_jax(name):
    own, theirs = getattr(lax, name), getattr(jax.lax, name)
    expected = inspect.signature(theirs).parameters
    got = inspect.signature(own).parameters
    allowed = LEFT_OUT | OTHERWISE.get(name, set())
    assert [p for p in expected if p not in allowed] == [p for p in got if p not in allowed]
    for p in got:
        if p in expected:
            same = got[p].default == expected[p].default
            assert same or name == "round" or p in allowed, p
            assert (
                got[p].kind == expected[p].kind or expected[p].kind is expected[p].POSITIONAL_ONLY
            )


def test_python_floats_are_converted_directly():
    assert lax.convert_element_type(1.3, np.float64).item() == 1.3
    assert lax.convert_element_type(1.3, np.complex128).item() == 1.3
    assert lax.convert_element_type(1.7, np.int32).item() == 1
