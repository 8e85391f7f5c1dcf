"""What the standard lets a program ask: devices, dtypes, limits; and exchange of arrays."""

import array
import operator
import re

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from fstensor.config import config
from tests.array_api.standard import (
    ATTRIBUTES,
    COMPLEX,
    DTYPES,
    FLOATING,
    INTEGER,
    REAL_FLOATING,
    SIGNED,
    UNSIGNED,
    strict,
)

INFO = fnp.__array_namespace_info__()
KINDS = {
    "bool": ("bool",),
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGER,
    "real floating": REAL_FLOATING,
    "complex floating": COMPLEX,
    "numeric": INTEGER + FLOATING,
}


class TestNamespaceInfo:
    def test_capabilities(self):
        assert INFO.capabilities() == {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }
        assert fnp.zeros((1,) * 64).ndim == 64
        with pytest.raises(ValueError, match="64"):
            fnp.zeros((1,) * 65)

    def test_devices(self):
        assert isinstance(INFO.devices(), tuple)
        assert INFO.default_device() in INFO.devices()
        for device in INFO.devices():
            assert fnp.zeros(2, device=device).device == device

    @pytest.mark.parametrize("bits", [32, 64])
    def test_default_dtypes(self, bits):
        with config.override(default_dtype_bits=bits):
            for device in (None, *INFO.devices()):
                found = INFO.default_dtypes(device=device)
                assert found == {
                    "real floating": f"float{bits}",
                    "complex floating": f"complex{2 * bits}",
                    "integral": f"int{bits}",
                    "indexing": f"int{bits}",
                }
            assert fnp.zeros(2).dtype == found["real floating"]
            assert fnp.asarray([1j]).dtype == found["complex floating"]
            assert fnp.arange(2).dtype == found["integral"]
            assert fnp.argmax(fnp.zeros(2)).dtype == found["indexing"]

    def test_dtypes(self):
        assert set(INFO.dtypes()) == set(DTYPES)
        for kind, names in KINDS.items():
            assert set(INFO.dtypes(kind=kind)) == set(names)
            assert set(INFO.dtypes(kind=("bool", kind), device="cpu")) == {*names, "bool"}
        for name, dtype in INFO.dtypes().items():
            assert dtype == getattr(fnp, name)
        assert INFO.dtypes(kind=()) == {}
        with pytest.raises(ValueError, match="kind must be one of"):
            INFO.dtypes(kind="float")

    @pytest.mark.parametrize("device", ["tpu", "cpu:x"])
    def test_unknown_device(self, device):
        for ask in (INFO.dtypes, INFO.default_dtypes):
            with pytest.raises(errors.DeviceError, match="no device"):
                ask(device=device)


class TestArrayNamespace:
    def test_versions(self):
        for x in (fnp.zeros(2), fnp.asarray(1)):
            assert x.__array_namespace__() is fnp
            for version in ("2022.12", "2023.12", "2024.12", "2025.12"):
                assert x.__array_namespace__(api_version=version) is fnp
        with pytest.raises(ValueError, match="array API"):
            fnp.zeros(2).__array_namespace__(api_version="2020.01")

    def test_of_a_tracer(self):
        found = []
        fst.jit(lambda x: found.append(x.__array_namespace__()) or x)(1.0)
        assert found == [fnp]

    def test_attributes_of_a_tracer(self):
        """All but the device, which belongs to values."""
        found = {}

        def f(x):
            found.update({name: getattr(x, name) for name in ATTRIBUTES if name != "device"})
            return x.mT + x.T

        assert fst.jit(f)(np.ones((2, 2), np.float32)).shape == (2, 2)
        assert (found["shape"], found["ndim"], found["size"]) == ((2, 2), 2, 4)
        assert found["dtype"] == fnp.float32


class TestDtypes:
    @pytest.mark.parametrize("name", REAL_FLOATING + COMPLEX)
    def test_finfo(self, name):
        dtype = getattr(fnp, name)
        for argument in (dtype, fnp.zeros(2, dtype=dtype), name):
            got, expected = fnp.finfo(argument), strict.finfo(getattr(strict, name))
            for field in ("bits", "eps", "max", "min", "smallest_normal"):
                assert type(getattr(got, field)) is (int if field == "bits" else float)
                assert getattr(got, field) == getattr(expected, field)
            assert isinstance(got.dtype, np.dtype)
            assert got.dtype == fnp.real(fnp.zeros(2, dtype=dtype)).dtype
        with pytest.raises(TypeError, match="must be inexact"):
            fnp.finfo(fnp.int32)

    @pytest.mark.parametrize("name", INTEGER)
    def test_iinfo(self, name):
        dtype = getattr(fnp, name)
        for argument in (dtype, fnp.zeros(2, dtype=dtype), name):
            got, expected = fnp.iinfo(argument), strict.iinfo(getattr(strict, name))
            for field in ("bits", "max", "min"):
                assert type(getattr(got, field)) is int
                assert getattr(got, field) == getattr(expected, field)
            assert isinstance(got.dtype, np.dtype)
            assert got.dtype == dtype
        with pytest.raises(TypeError, match="must be an integer"):
            fnp.iinfo(fnp.float32)

    def test_limits_of_a_tracer(self):
        f = fst.jit(lambda x: x + fnp.finfo(x).eps)
        assert f(np.float16([1])).dtype == np.float16

    @pytest.mark.parametrize("name", DTYPES)
    def test_isdtype(self, name):
        dtype = getattr(fnp, name)
        for kind, names in KINDS.items():
            assert fnp.isdtype(dtype, kind) is (name in names)
            assert fnp.isdtype(dtype, (kind, dtype)) is True
            assert fnp.isdtype(fnp.zeros(1, dtype=dtype).dtype, (kind,)) is (name in names)
        for other in DTYPES:
            assert fnp.isdtype(dtype, getattr(fnp, other)) is (name == other)
        with pytest.raises(TypeError, match="kind must be"):
            fnp.isdtype(dtype, "floating")

    def test_promotion_while_the_default_is_32_bits(self):
        """As the standard's tables, but that no 64-bit dtype arises where none took part."""
        for family in (SIGNED + UNSIGNED[:3], UNSIGNED, FLOATING):
            for x in family:
                for y in family:
                    expected = np.promote_types(x, y)
                    got = fnp.result_type(getattr(fnp, x), getattr(fnp, y))
                    if expected == np.int64 and "int64" not in (x, y):
                        assert "uint32" in (x, y)
                        expected = np.int32
                    assert got == expected
                    assert (fnp.ones(2, dtype=x) + fnp.ones(2, dtype=y)).dtype == expected

    @pytest.mark.parametrize("name", SIGNED + UNSIGNED + FLOATING)
    def test_python_scalars_keep_the_dtype(self, name):
        x = fnp.ones(3, dtype=name)
        scalars = [1] if name in INTEGER else [1, 1.5] if name in REAL_FLOATING else [1, 1.5, 1j]
        for op in (operator.add, operator.sub, operator.mul):
            for scalar in scalars:
                assert op(x, scalar).dtype == op(scalar, x).dtype == name


class TestAstype:
    def test_copy_and_device(self):
        x = fnp.asarray([1.5, -2.0])
        for options in ({}, {"copy": True}, {"copy": False}, {"device": "cpu"}, {"device": None}):
            y = fnp.astype(x, fnp.int16, **options)
            assert (y.tolist(), y.dtype, y.device) == ([1, -2], np.int16, "cpu")
        assert fnp.astype(x, x.dtype, copy=False) is x
        assert fst.jit(lambda x: fnp.astype(x, fnp.bool, device="cpu"))(x).tolist() == [True, True]
        assert fnp.astype(fnp.asarray([0.0, np.nan]), fnp.bool).tolist() == [False, True]

    def test_complex_to_real_is_asked_for(self):
        assert fnp.astype(fnp.asarray([1 + 2j]), fnp.float32).tolist() == [1.0]


class TestAsarray:
    def test_copy(self):
        n = np.arange(3.0)
        for copy in (None, True):
            x = fnp.asarray(n, copy=copy)
            n[0] = 7
            assert x.tolist() == [0, 1, 2]
            n[0] = 0
        x = fnp.asarray(n, copy=False)
        assert np.shares_memory(np.asarray(x), n)
        assert fnp.asarray(x, copy=False) is x
        assert fst.jit(lambda x: fnp.asarray(x, copy=True) + 1)(x).tolist() == [1, 2, 3]
        for thing in (3.0, [1, 2], n.tolist()):
            with pytest.raises(ValueError, match="copy=False"):
                fnp.asarray(thing, copy=False)
        with pytest.raises(ValueError, match="copy=False cannot convert"):
            fnp.asarray(n, dtype=fnp.float32, copy=False)

    def test_device(self):
        x = fnp.asarray([1, 2], device="cpu")
        assert x.device == "cpu"
        assert fnp.asarray(x, device=x.device, copy=False).tolist() == [1, 2]
        with pytest.raises(ValueError, match="no device 'tpu'"):
            fnp.asarray(x, device="tpu")

    @pytest.mark.parametrize(
        "thing",
        [array.array("d", [1, 2]), memoryview(np.arange(1.0, 3)), bytearray([1, 2]),
         np.arange(1.0, 3).__array__()],
        ids=lambda x: type(x).__name__,
    )  # fmt: skip
    def test_buffers(self, thing):
        x = fnp.asarray(thing)
        assert x.tolist() == [1, 2]
        thing[0] = 9
        assert x.tolist() == [1, 2]

    def test_other_libraries(self):
        class Exporter:
            def __init__(self):
                self.values = np.arange(3)

            def __dlpack__(self, **kwargs):
                return self.values.__dlpack__(**kwargs)

            def __dlpack_device__(self):
                return self.values.__dlpack_device__()

        for thing in (Exporter(), strict.asarray([0, 1, 2])):
            x = fnp.asarray(thing)
            assert (x.tolist(), x.dtype) == ([0, 1, 2], np.int64)
        with pytest.raises(TypeError, match="takes arrays"):
            fnp.asarray(object())
        for text in ("12", b"12"):
            with pytest.raises(TypeError, match="takes arrays"):
                fnp.asarray(text)


class TestDLPack:
    X = np.arange(6.0).reshape(2, 3)[:, ::2]

    @pytest.mark.parametrize("name", DTYPES)
    def test_both_ways(self, name):
        x = fnp.asarray(np.ones((2, 3), name))
        for y in (fnp.from_dlpack(x), fnp.from_dlpack(np.from_dlpack(x)), fnp.from_dlpack(
            strict.from_dlpack(x))):  # fmt: skip
            assert isinstance(y, fst.Array)
            assert (y.dtype, y.shape) == (x.dtype, x.shape)
            np.testing.assert_array_equal(np.asarray(y), np.asarray(x))

    def test_arguments_of_from_dlpack(self):
        for options in ({}, {"copy": None}, {"copy": True}, {"device": "cpu", "copy": True}):
            own = self.X.copy()
            y = fnp.from_dlpack(own, **options)
            own[:] = 7
            np.testing.assert_array_equal(np.asarray(y), self.X)
        own = self.X.copy()
        for options in ({"copy": False}, {"copy": False, "device": "cpu"}):
            assert np.shares_memory(np.asarray(fnp.from_dlpack(own, **options)), own)
        x = fnp.asarray(own)
        same = fnp.from_dlpack(x, copy=False, device="cpu")
        assert np.shares_memory(np.asarray(same), np.asarray(x))
        with pytest.raises(ValueError, match="no device 'tpu'"):
            fnp.from_dlpack(own, device="tpu")

    def test_device(self):
        kind, index = fnp.zeros(2).__dlpack_device__()
        assert (kind, index) == (1, 0)
        assert type(index) is int

    @pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1), (2, 0)])
    def test_max_version(self, version):
        """Only capsules since version 1.0 can say that their memory is read-only."""
        x = fnp.asarray(self.X)
        capsule = x.__dlpack__(max_version=version)
        versioned = version is not None and version >= (1, 0)
        assert ("dltensor_versioned" in repr(capsule)) is versioned
        y = np.from_dlpack(Capsule(capsule))
        np.testing.assert_array_equal(y, self.X)
        assert np.shares_memory(y, np.asarray(x)) is versioned

    def test_copy(self):
        x = fnp.asarray(self.X)
        own = np.from_dlpack(Capsule(x.__dlpack__(copy=True, max_version=(1, 0))))
        assert not np.shares_memory(own, np.asarray(x))
        same = np.from_dlpack(Capsule(x.__dlpack__(copy=False, max_version=(1, 0))))
        assert np.shares_memory(same, np.asarray(x))
        with pytest.raises(BufferError):  # an old capsule cannot be marked as read-only
            x.__dlpack__(copy=False)

    def test_other_device(self):
        x = fnp.zeros(2)
        x.__dlpack__(dl_device=(1, 0))
        with pytest.raises(BufferError):
            x.__dlpack__(dl_device=(2, 0))
        with pytest.raises((RuntimeError, BufferError)):
            x.__dlpack__(stream=1)

    def test_of_a_tracer(self):
        for ask in (lambda x: x.__dlpack__(), lambda x: x.__dlpack_device__(), np.from_dlpack):
            with pytest.raises(errors.ConcretizationTypeError, match="DLPack"):
                fst.jit(ask)(1.0)


class Capsule:
    """What owns a capsule made before."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **kwargs):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


class TestToDevice:
    def test_cpu(self):
        x = fnp.ones(2)
        assert x.to_device(x.device).device == "cpu"
        assert x.to_device("cpu", stream=None).tolist() == [1, 1]
        with pytest.raises(ValueError, match="no device"):
            x.to_device("tpu")
        with pytest.raises(ValueError, match="stream must be None, got 1"):
            x.to_device("cpu", stream=1)

    def test_under_transforms(self):
        assert fst.grad(lambda x: x.to_device("cpu") ** 2)(3.0) == 6
        assert fst.jit(fst.vmap(lambda x: x.to_device("cpu")))(fnp.ones(2)).tolist() == [1, 1]


class TestPythonScalars:
    """0-d arrays become Python scalars, by the standard's table."""

    @pytest.mark.parametrize(
        ("value", "accepts"),
        [
            (True, (bool, int, float, complex)),
            (3, (bool, int, float, complex, operator.index)),
            (2.5, (bool, int, float, complex)),
            (1 + 2j, (bool, complex)),
        ],
    )
    def test_of_0_d_arrays(self, value, accepts):
        x = fnp.asarray(value)
        for convert in accepts:
            assert convert(x) == convert(value)
            assert type(convert(x)) is type(convert(value))
        for convert in {int, float, operator.index} - set(accepts):
            with pytest.raises(TypeError):
                convert(x)

    def test_special_values(self):
        assert bool(fnp.asarray(np.nan))
        assert not bool(fnp.asarray(-0.0))
        for value, error in ((np.nan, ValueError), (np.inf, OverflowError)):
            with pytest.raises(error):
                int(fnp.asarray(value))

    def test_of_larger_arrays(self):
        for convert in (bool, int, float, complex, operator.index):
            with pytest.raises((TypeError, ValueError)):
                convert(fnp.ones(2, dtype=int))


IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"]
OF_BITS = ["iand", "ior", "ixor", "ilshift", "irshift"]


@pytest.mark.parametrize("name", IN_PLACE + OF_BITS + ["imatmul"])
def test_in_place_operators_bind_a_new_array(name):
    op, plain = getattr(operator, name), getattr(operator, name[1:].rstrip("_"), None)
    plain = plain or getattr(operator, name[1:] + "_")
    dtype = "int32" if name in OF_BITS else "float32"
    x = fnp.ones((2, 2), dtype=dtype) + 4
    before = x
    for other in (fnp.ones((2, 2), dtype=dtype), *([] if name == "imatmul" else [2])):
        y = op(x, other)
        assert isinstance(y, fst.Array)
        np.testing.assert_array_equal(np.asarray(y), np.asarray(plain(x, other)))
        np.testing.assert_array_equal(np.asarray(before), 5)
        traced = fst.jit(lambda x, y: op(x, y))(x, other)
        np.testing.assert_allclose(np.asarray(traced), np.asarray(y), rtol=1e-6)


class TestTransposes:
    def test_mT(self):
        x = fnp.arange(24).reshape(2, 3, 4)
        np.testing.assert_array_equal(np.asarray(x.mT), np.asarray(x).mT)
        with pytest.raises(ValueError, match=re.escape("int32[3]")):
            _ = fnp.arange(3).mT

    def test_T(self):
        """The standard asks for it of matrices; of other ranks it is what NumPy's is."""
        x = fnp.arange(24).reshape(2, 3, 4)
        np.testing.assert_array_equal(np.asarray(x[0].T), np.asarray(x)[0].T)
        np.testing.assert_array_equal(np.asarray(x.T), np.asarray(x).T)
