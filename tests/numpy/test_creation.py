import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import dtypes, errors
from tests.numpy.compare import check, values


class TestAsarray:
    @pytest.mark.parametrize(
        ("given", "dtype", "weak"),
        [
            (True, "bool", False),
            (1, "int32", True),
            (1.0, "float32", True),
            (1j, "complex64", True),
            (np.float32(1), "float32", False),
            (np.int64(1), "int64", False),
            (np.ones(2), "float64", False),
            ([1, 2], "int32", False),
            ([1, 2.5], "float32", False),
            ([True, 1], "int32", False),
            ([1j], "complex64", False),
            ([], "float32", False),
            ([[], []], "float32", False),
            ([np.ones(2), np.ones(2)], "float64", False),
            ([np.int8(1), 2], "int8", False),
            ((1, (2)), "int32", False),
            (range(3), "int32", False),
        ],
    )
    def test_dtypes(self, given, dtype, weak):
        for function in (fnp.asarray, fnp.array):
            x = function(given)
            assert (x.dtype.name, x.weak_type) == (dtype, weak)
            np.testing.assert_array_equal(np.asarray(x), np.array(given).astype(dtype))

    def test_given_dtype(self):
        assert fnp.asarray([1, 2], "float16").dtype == np.float16
        assert fnp.asarray(1, fnp.int8).dtype == np.int8
        assert not fnp.asarray(1.0, float).weak_type
        assert fnp.asarray(np.ones(2), "bfloat16").dtype == dtypes.bfloat16
        assert fnp.array(0.1, "float64") == 0.1
        assert fnp.asarray(np.arange(3), "float64").dtype == np.float64

    def test_64_bits_are_never_narrowed(self):
        assert fnp.asarray(np.arange(3)).dtype == np.int64
        with pytest.raises(OverflowError):
            fnp.asarray([2**40])

    def test_default_of_64_bits(self):
        with fst.config.override(default_dtype_bits=64):
            assert fnp.asarray([1]).dtype == np.int64
            assert fnp.zeros(1).dtype == fnp.linspace(0, 1).dtype == np.float64

    def test_writable_arrays_are_copied(self):
        x = np.ones(3)
        arrays = [fnp.asarray(x), fnp.array(x), fnp.asarray(x, copy=True)]
        shared = fnp.asarray(x, copy=False)
        x[0] = 5
        assert [float(a[0]) for a in arrays] == [1, 1, 1]
        assert float(shared[0]) == 5

    def test_read_only_arrays_are_shared_unless_copied(self):
        x = np.ones(3)
        x.flags.writeable = False
        assert np.shares_memory(np.asarray(fnp.asarray(x)), x)
        assert not np.shares_memory(np.asarray(fnp.array(x)), x)

    def test_copy_false_where_a_copy_is_needed(self):
        with pytest.raises(errors.OptionError, match="copy=False takes an array"):
            fnp.asarray([1], copy=False)
        with pytest.raises(errors.OptionError, match="cannot convert"):
            fnp.asarray(np.ones(1), "int32", copy=False)

    def test_an_array_is_its_own_copy(self):
        x = fnp.ones(2)
        assert fnp.asarray(x) is x

    def test_lists_of_tracers(self):
        def matrix(x):
            return fnp.array([[x, 2.0], [0.0, x**2]])

        assert fst.jit(matrix)(3.0).tolist() == [[3, 2], [0, 9]]
        assert float(fst.grad(lambda x: matrix(x).sum())(3.0)) == 7
        assert fst.vmap(matrix)(fnp.ones(4)).shape == (4, 2, 2)

    def test_unequal_lengths(self):
        with pytest.raises(errors.ShapeError, match="equal lengths"):
            fnp.asarray([[1], [1, 2]])
        with pytest.raises(errors.ShapeError, match="one shape"):
            fnp.asarray([fnp.ones(1), fnp.ones(2)])

    def test_what_is_no_array(self):
        for x in (object(), None, {"a": 1}):
            with pytest.raises(errors.FstensorError, match="asarray"):
                fnp.asarray(x)
        with pytest.raises(errors.FstensorError):
            fnp.asarray(["a"])

    def test_options(self):
        assert fnp.array(1.0, ndmin=2).shape == (1, 1)
        with pytest.raises(errors.OptionError, match="order must be None or 'K'"):
            fnp.asarray([1], order="F")
        assert fnp.asarray([1], device="cpu").device == "cpu"
        with pytest.raises(errors.DeviceError):
            fnp.asarray([1], device="tpu")


class TestFilled:
    @pytest.mark.parametrize("shape", [(), 3, (2, 3), [2], (0, 2)])
    def test_shapes_and_dtypes(self, shape):
        for name in ("zeros", "ones"):
            check(getattr(fnp, name)(shape), getattr(np, name)(shape), "float32")
            check(getattr(fnp, name)(shape, "int8"), getattr(np, name)(shape), "int8")
            check(getattr(fnp, name)(shape, bool), getattr(np, name)(shape, bool), "bool")
        check(fnp.empty(shape), np.zeros(shape), "float32")
        check(fnp.full(shape, 7), np.full(shape, 7), "int32")

    def test_full_broadcasts(self):
        check(fnp.full((2, 3), np.arange(3)), np.full((2, 3), np.arange(3)), "int64")
        check(fnp.full((2,), 0.1, "float64"), np.full((2,), 0.1), "float64")

    def test_like(self):
        x = values((2, 3), "int8")
        check(fnp.zeros_like(x), np.zeros_like(x), "int8")
        check(fnp.ones_like(x, "float64"), np.ones_like(x, "float64"), "float64")
        check(fnp.full_like(x, 3, shape=(2,)), np.full_like(x, 3, shape=(2,)), "int8")
        check(fnp.empty_like(x), np.zeros_like(x), "int8")
        assert fnp.zeros_like(1.0).weak_type
        assert fnp.ones_like(fst.ShapeDtypeStruct((2,), "int32")).dtype == np.int32

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="zeros: sizes must not be negative"):
            fnp.zeros((2, -1))
        with pytest.raises(errors.ArgumentError, match="ones: shape must be made of integers"):
            fnp.ones((2.0,))
        with pytest.raises(errors.ShapeError, match="broadcast_to"):
            fnp.full((2,), np.ones(3))

    def test_programs(self):
        assert "a:f32[3] = broadcast_in_dim 0.0:f32[]" in str(
            fst.make_jaxpr(lambda: fnp.zeros(3))()
        )


class TestRanges:
    @pytest.mark.parametrize(
        "args", [(5,), (2, 7), (2, 9, 3), (5, 0, -2), (0,), (3, 1), (0.5, 3), (0, 1, 0.25), (-3.5,)]
    )
    def test_arange(self, args):
        expected = np.arange(*args)
        dtype = "int32" if expected.dtype.kind == "i" else "float32"
        check(fnp.arange(*args), expected, dtype)

    def test_arange_dtypes(self):
        assert fnp.arange(3, dtype="float64").dtype == np.float64
        assert fnp.arange(np.int64(3)).dtype == np.int64
        assert "iota" in str(fst.make_jaxpr(lambda: fnp.arange(3))())
        check(fnp.arange(start=1, stop=4), np.arange(1, 4), "int32")

    def test_arange_of_a_traced_bound(self):
        with pytest.raises(errors.ConcretizationTypeError):
            fst.jit(fnp.arange)(3)
        with pytest.raises(errors.OptionError, match="step must not be 0"):
            fnp.arange(0, 3, 0)

    @pytest.mark.parametrize("endpoint", [True, False])
    @pytest.mark.parametrize("num", [0, 1, 2, 7])
    def test_linspace(self, num, endpoint):
        check(fnp.linspace(-1, 3.5, num, endpoint), np.linspace(-1, 3.5, num, endpoint), "float32")
        starts, stops = values((2, 1), "float64"), values((3,), "float64")
        for axis in (0, -1, 1):
            check(
                fnp.linspace(starts, stops, num, endpoint, axis=axis),
                np.linspace(starts, stops, num, endpoint, axis=axis),
                "float64",
            )

    def test_linspace_is_exact_at_the_ends(self):
        x = fnp.linspace(0.1, 0.7, 100)
        assert (float(x[0]), float(x[-1])) == (np.float32(0.1), np.float32(0.7))

    def test_linspace_step_and_integers(self):
        _, step = fnp.linspace(0, 1, 5, retstep=True)
        assert float(step) == 0.25
        check(fnp.linspace(0, 9, 4, dtype="int32"), np.linspace(0, 9, 4, dtype="int32"), "int32")

    def test_logspace_and_geomspace(self):
        check(fnp.logspace(0, 2, 5), np.logspace(0, 2, 5), "float32")
        check(fnp.logspace(0, 2, 5, base=2.0), np.logspace(0, 2, 5, base=2.0), "float32")
        check(fnp.geomspace(1, 1000, 4), np.geomspace(1, 1000, 4), "float32", factor=20)
        check(fnp.geomspace(-1.0, -8, 4), np.geomspace(-1.0, -8, 4), "float32", factor=20)


class TestMatrices:
    @pytest.mark.parametrize("args", [(3,), (2, 4), (4, 2, 1), (3, 3, -1), (0,), (2, 3, 9)])
    def test_eye_and_tri(self, args):
        check(fnp.eye(*args), np.eye(*args), "float32")
        check(fnp.tri(*args), np.tri(*args), "float32")
        check(fnp.eye(*args, dtype=bool), np.eye(*args, dtype=bool), "bool")

    def test_identity(self):
        check(fnp.identity(3), np.identity(3), "float32")

    @pytest.mark.parametrize("indexing", ["xy", "ij"])
    @pytest.mark.parametrize("sparse", [True, False])
    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_meshgrid(self, count, sparse, indexing):
        vectors = [np.arange(n, dtype=np.float32) for n in (2, 3, 4)][:count]
        got = fnp.meshgrid(*vectors, sparse=sparse, indexing=indexing)
        check(got, np.meshgrid(*vectors, sparse=sparse, indexing=indexing), "float32")

    def test_indices(self):
        check(fnp.indices((2, 3)), np.indices((2, 3)), "int32")
        check(
            list(fnp.indices((2, 3), sparse=True)), list(np.indices((2, 3), sparse=True)), "int32"
        )


def test_copy_astype_view():
    x = fnp.array([1.5, -2.5])
    assert fnp.copy(x).tolist() == [1.5, -2.5]
    assert fnp.astype(x, "int32").tolist() == [1, -2]
    assert fnp.astype(x, None).dtype == np.float32
    assert x.view("int32").tolist() == np.float32([1.5, -2.5]).view("int32").tolist()
    assert x.to_device("cpu").device == "cpu"


@pytest.mark.parametrize("copy", [fnp.copy, lambda x: x.copy()])
def test_copy_stays_when_the_array_is_donated(copy):
    x = fnp.array([1.5, -2.5])
    kept = copy(x)
    fst.jit(lambda x: 2 * x, donate_argnums=0)(x)
    assert x.is_deleted()
    assert kept.tolist() == [1.5, -2.5]


def test_copy_of_a_traced_array():
    assert fst.grad(lambda x: fnp.copy(x) * x)(3.0).item() == 6


def test_from_dlpack():
    x = np.arange(3.0)
    shared, copied = fnp.from_dlpack(x, copy=False), fnp.from_dlpack(x)
    x[0] = 7
    assert (float(shared[0]), float(copied[0])) == (7, 0)


def test_dtype_names():
    for name in ("bool_", "int4", "int8", "uint64", "bfloat16", "float8_e4m3fn", "complex128"):
        assert fnp.dtype(getattr(fnp, name)) in (np.dtype(getattr(dtypes, name)),)
    assert fnp.finfo(fnp.bfloat16).bits == 16
    assert fnp.iinfo("int8").max == 127
    assert fnp.result_type(fnp.int8, 1.0) == np.float32
    assert fnp.issubdtype(fnp.bfloat16, fnp.floating)
    assert fnp.isdtype(fnp.float32, "real floating")
    assert fnp.can_cast("int8", "int16")
    assert fnp.promote_types("int8", "uint8") == np.int16
