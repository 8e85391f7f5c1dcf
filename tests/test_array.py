"""The Array class: operators, methods, properties, conversions, printing, protocols."""

import copy
import operator
import pickle

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import dtypes, errors

X = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]], np.float32)


@pytest.fixture
def x():
    return fnp.asarray(X)


def same(got, expected, dtype=None):
    assert isinstance(got, fst.Array)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-6)
    if dtype is not None:
        assert got.dtype == dtype


class TestOperators:
    ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv,
                  operator.mod, operator.lt, operator.le, operator.gt, operator.ge, operator.eq,
                  operator.ne)  # fmt: skip

    @pytest.mark.parametrize("op", ARITHMETIC, ids=lambda o: o.__name__)
    def test_arithmetic_and_comparison(self, op, x):
        y = X[::-1] + 0.5
        same(op(x, fnp.asarray(y)), op(X, y))
        same(op(x, y), op(X, y))
        same(op(y, x), op(y, X))
        same(op(x, 2.0), op(X, 2.0))
        same(op(2, x), op(2, X))
        same(fst.jit(op)(x, y), op(X, y))

    @pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor, operator.lshift,
                                    operator.rshift], ids=lambda o: o.__name__)  # fmt: skip
    def test_bits(self, op):
        a, b = np.array([1, 6, 12], np.int32), np.array([1, 2, 3], np.int32)
        same(op(fnp.asarray(a), b), op(a, b), np.int32)
        same(op(fnp.asarray(a), 2), op(a, 2), np.int32)
        same(op(9, fnp.asarray(b)), op(9, b), np.int32)

    def test_unary(self, x):
        same(-x, -X)
        same(+x, X)
        same(abs(x), abs(X))
        same(~(x > 0), ~(X > 0))
        same(~fnp.array([1, 2]), [-2, -3])
        same(round(x / 3, 1), np.round(X / 3, 1))
        same(round(x), X)

    def test_power_matmul_divmod(self, x):
        same(x**2, X**2)
        same(2.0**x, 2.0**X)
        same(x @ x.T, X @ X.T)
        same(X @ x.T, X @ X.T)
        same(divmod(x, 2)[1], divmod(X, 2)[1])
        same(divmod(7, x)[0], divmod(7, X)[0])
        with pytest.raises(errors.ArgumentError, match="three-argument"):
            pow(x, 2, 3)

    def test_what_is_no_operand(self, x):
        for other in ("a", None, [1.0], object()):
            with pytest.raises(TypeError):
                x + other
            with pytest.raises(TypeError):
                other - x
        assert (x == "a") is False
        assert (x != None) is True  # noqa: E711

    def test_program_is_jax_s(self):
        program = str(fst.make_jaxpr(lambda x: fnp.sin(x) * 2.0)(fnp.ones(3)))
        assert program == (
            "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b 2.0:f32[] in (c,) }"
        )
        assert "integer_pow[y=2]" in str(fst.make_jaxpr(lambda x: x**2)(1.0))


class TestProperties:
    def test_of_shape_and_dtype(self, x):
        assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes) == ((2, 3), 2, 6, 4, 24)
        assert x.dtype == np.float32
        assert not x.weak_type
        assert (x.device, x.devices()) == ("cpu", {"cpu"})

    def test_rearranged(self, x):
        same(x.T, X.T)
        same(x.mT, X.T)
        same((x + 1j).real, X)
        same((x + 1j).imag, np.ones_like(X))
        assert [float(v) for v in x.flat] == X.ravel().tolist()


METHODS = {
    "all": (), "any": (), "argmax": (1,), "argmin": (0,), "argsort": (1,), "clip": (-1, 2),
    "conj": (), "conjugate": (), "copy": (), "cumprod": (1,), "cumsum": (0,), "diagonal": (),
    "flatten": (), "max": (0,), "mean": (1,), "min": (1,), "nonzero": (), "prod": (0,),
    "ravel": (), "repeat": (2, 1), "reshape": (3, 2), "round": (), "squeeze": (), "std": (0,),
    "sum": (1,), "swapaxes": (0, 1), "trace": (), "transpose": (1, 0), "var": (1,), "tolist": (),
    "tobytes": (),
}  # fmt: skip


class TestMethods:
    @pytest.mark.parametrize("name", METHODS)
    def test_as_in_numpy(self, name, x):
        got, expected = (getattr(a, name)(*METHODS[name]) for a in (x, X))
        if name in ("tolist", "tobytes"):
            assert got == expected
        elif name == "nonzero":
            for g, e in zip(got, expected, strict=True):
                same(g, e)
        else:
            same(got, expected)

    def test_options(self, x):
        same(x.sum(axis=0, keepdims=True, dtype="float64"), X.sum(0, keepdims=True), np.float64)
        same(x.max(axis=1, keepdims=True, initial=4.5), X.max(1, keepdims=True, initial=4.5))
        same(x.mean(where=X > 0), X.mean(where=X > 0))
        same(x.std(ddof=1), X.std(ddof=1))
        same(x.ptp(axis=1), np.ptp(X, 1))
        same(x.dot(X.T), X.dot(X.T))
        same(x.sort(axis=0), np.sort(X, 0))
        same(x.sort(descending=True), -np.sort(-X))
        same(x[0].sort().searchsorted(2.0), np.sort(X[0]).searchsorted(2.0))
        same(x.take(np.array([0, 2]), axis=1), X.take([0, 2], axis=1))
        same(x.reshape((3, 2)), X.reshape(3, 2))
        same(x.reshape(-1), X.reshape(-1))
        same(x.transpose(), X.T)
        same(x.transpose((1, 0)), X.T)
        same(x.astype("int32"), X.astype("int32"), np.int32)
        same(x.view("uint32"), X.view("uint32"), np.uint32)
        assert x.item(1, 2) == -6.0
        assert x.block_until_ready() is x

    def test_under_a_transform(self, x):
        same(fst.grad(lambda x: x.reshape(-1).sum())(x), np.ones_like(X))
        same(fst.vmap(lambda r: r.max())(x), X.max(1))


class TestConversion:
    def test_to_python(self):
        one = fnp.array(1.5)
        assert (float(one), int(one), bool(one), complex(one)) == (1.5, 1, True, 1.5 + 0j)
        assert [10, 20, 30][fnp.array(1)] == 20
        assert list(range(fnp.array(3))) == [0, 1, 2]
        assert one.item() == 1.5

    def test_of_more_than_one_element(self, x):
        for convert in (bool, float, int):
            with pytest.raises((ValueError, TypeError)):
                convert(x)
        with pytest.raises(errors.ArgumentError, match="only integer scalars"):
            [0][fnp.array(1.0)]

    def test_length_iteration_membership(self, x):
        assert len(x) == 2
        assert [r.shape for r in x] == [(3,), (3,)]
        assert 5.0 in x
        assert 7.0 not in x
        for function in (len, iter):
            with pytest.raises(errors.ArgumentError, match="0-d array"):
                function(fnp.array(1.0))

    def test_of_tracers(self):
        cases = [(bool, errors.TracerBoolConversionError), (float, errors.ConcretizationTypeError),
                 (int, errors.ConcretizationTypeError),
                 (np.asarray, errors.TracerArrayConversionError),
                 (lambda x: [0][x], errors.TracerIntegerConversionError),
                 (lambda x: x.item(), errors.ConcretizationTypeError),
                 (pickle.dumps, errors.ConcretizationTypeError)]  # fmt: skip
        for convert, error in cases:
            with pytest.raises(error):
                fst.jit(convert)(1)

    def test_format(self, x):
        assert f"{fnp.array(1.25):.1f}" == "1.2"
        assert f"{fnp.array(3)}" == "3"
        with pytest.raises(TypeError):
            f"{x:.1f}"


class TestPrinting:
    def test_repr(self, x):
        assert repr(x) == (
            "Array([[ 1., -2.,  3.],\n       [ 4.,  5., -6.]], dtype=float32, shape=(2, 3))"
        )
        assert repr(fnp.asarray(2.0)) == "Array(2., dtype=float32, shape=(), weak_type=True)"
        assert "dtype=bfloat16" in repr(fnp.ones(2, "bfloat16"))
        assert "shape=(0, 2)" in repr(fnp.zeros((0, 2)))
        assert "..." in repr(fnp.zeros(10_000))

    def test_str(self, x):
        assert str(x) == str(X)
        assert str(fnp.array(2)) == "2"

    def test_of_a_tracer(self):
        seen = []
        fst.jit(lambda x: seen.append((repr(x), str(x))) or x)(np.ones(2, "float32"))
        assert "float32[2]" in seen[0][0]
        assert "float32[2]" in seen[0][1]

    def test_of_a_deleted_array(self):
        y = fnp.ones(2)
        y.delete()
        assert y.is_deleted()
        assert "deleted" in repr(y)
        with pytest.raises(errors.DeletedArrayError, match="was deleted"):
            y + 1


class TestCopies:
    def test_pickle(self, x):
        for y in (x, fnp.asarray(2.0), fnp.ones(2, "bfloat16"), fnp.zeros((0, 3), "int8")):
            z = pickle.loads(pickle.dumps(y))
            assert (z.dtype, z.shape, z.weak_type) == (y.dtype, y.shape, y.weak_type)
            assert z.tolist() == y.tolist()

    def test_copy(self, x):
        assert copy.copy(x) is x
        y = copy.deepcopy({"a": x})["a"]
        assert not np.shares_memory(np.asarray(x), np.asarray(y))
        same(y, X)


class TestProtocols:
    def test_array_is_a_read_only_view(self, x):
        view = np.asarray(x)
        assert np.shares_memory(view, np.asarray(x))
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
        own = np.array(x)
        own[0] = 7
        same(x, X)
        assert np.asarray(x, np.float64).dtype == np.float64

    def test_dlpack(self, x):
        view = np.from_dlpack(x)
        np.testing.assert_array_equal(view, X)
        assert not view.flags.writeable
        same(fnp.from_dlpack(np.arange(3.0)), [0, 1, 2], np.float64)
        assert x.__dlpack_device__() == (1, 0)
        # A consumer older than DLPack 1.0 would take the memory for writable, so it gets a copy.
        assert not np.shares_memory(_from_capsule(x.__dlpack__()), np.asarray(x))

    def test_random_keys_have_no_numbers(self):
        with pytest.raises(errors.ArgumentError, match="key_data"):
            np.asarray(fst.random.key(0))


def _from_capsule(capsule):
    class Older:
        def __dlpack__(self, **kwargs):
            return capsule

        def __dlpack_device__(self):
            return (1, 0)

    return np.from_dlpack(Older())


class TestImmutability:
    def test_assignment(self, x):
        with pytest.raises(errors.ImmutableArrayError, match=r"x\.at\[\.\.\.\]\.set"):
            x[0] = 1
        with pytest.raises(errors.ImmutableArrayError):
            del x[0]
        with pytest.raises(AttributeError):
            x.shape = (3, 2)

    def test_in_place_operators_bind_a_new_array(self, x):
        y = x
        y += 1
        same(x, X)
        same(y, X + 1)

    def test_at(self, x):
        same(x.at[0, 1].set(9.0), [[1, 9, 3], [4, 5, -6]])
        same(x.at[:, 0].add(1.0), [[2, -2, 3], [5, 5, -6]])
        same(x, X)

    def test_unhashable(self, x):
        with pytest.raises(TypeError, match="unhashable"):
            hash(x)

    def test_not_made_by_its_class(self):
        with pytest.raises(errors.ArgumentError, match=r"fstensor\.numpy\.array"):
            fst.Array()

    def test_instances(self, x):
        assert isinstance(x, fst.Array)
        seen = []
        fst.jit(lambda x: seen.append(isinstance(x, fst.Array)) or x)(1.0)
        assert seen == [True]
        assert not isinstance(X, fst.Array)


class TestPlacement:
    def test_device_put_and_get(self):
        tree = {"a": np.ones(2, np.float32), "b": (1, fnp.zeros(3))}
        placed = fst.device_put(tree)
        assert all(isinstance(x, fst.Array) for x in fst.tree.leaves(placed))
        assert placed["b"][1] is tree["b"][1]
        moved = fst.device_put(tree, "cpu")
        assert moved["a"].device == "cpu"
        back = fst.device_get(moved)
        assert isinstance(back["a"], np.ndarray)
        assert back["b"][0] == 1

    def test_device_put_copies_what_its_owner_could_change(self):
        n = np.ones(2)
        x = fst.device_put(n, "cpu")
        n[0] = 5
        assert x.tolist() == [1, 1]

    def test_under_transforms(self):
        assert float(fst.grad(lambda x: fst.device_put(x, "cpu") ** 2)(3.0)) == 6
        with pytest.raises(errors.TracerArrayConversionError):
            fst.jit(fst.device_get)(1.0)

    def test_mistakes(self):
        with pytest.raises(errors.DeviceError, match="no device 'tpu'"):
            fst.device_put(1.0, "tpu")
        for function in (fst.device_put, fst.device_get):
            with pytest.raises(errors.ArgumentError, match="leaf of type str"):
                function({"a": "text"})

    def test_block_until_ready(self):
        tree = {"a": fnp.ones(2), "b": 3}
        assert fst.block_until_ready(tree) is tree

    def test_disable_jit(self):
        seen = []

        @fst.jit
        def f(x):
            seen.append(isinstance(x, float))
            return x

        with fst.disable_jit():
            f(1.0)
            with fst.disable_jit(False):
                f(1.0)
        assert seen == [True, False]


def test_dtypes_beyond_numpy():
    for name in ("bfloat16", "float8_e4m3fn", "int4"):
        x = fnp.array([1, 2, 3], name)
        assert x.dtype == getattr(dtypes, name)
        assert [float(v) for v in x.astype("float32")] == [1, 2, 3]
    assert (fnp.ones(2, "bfloat16") * 2).dtype == dtypes.bfloat16
