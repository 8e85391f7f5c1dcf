import io
import pickle

import ml_dtypes
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import ALL, values

NARROW = [
    "float16", "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int4", "uint2",
]  # fmt: skip


@pytest.mark.parametrize("dtype", [*ALL, *NARROW])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_round_trip(tmp_path, dtype, shape):
    x = fnp.asarray(values(shape, "float32", 0.5, 1.5)).astype(dtype)
    fnp.save(tmp_path / "x", x)
    back = fnp.load(tmp_path / "x.npy")
    assert back.aval == x.aval
    assert back.tobytes() == x.tobytes()
    transposed = io.BytesIO()
    fnp.save(transposed, x.T)
    transposed.seek(0)
    assert fnp.load(transposed).tobytes() == x.T.tobytes()


def test_exchange_with_numpy():
    x = np.arange(6.0).reshape(2, 3)
    file = io.BytesIO()
    fnp.save(file, fnp.asarray(x))
    file.seek(0)
    np.testing.assert_array_equal(np.load(file), x)
    file = io.BytesIO()
    np.save(file, x.astype(ml_dtypes.bfloat16))
    file.seek(0)
    assert fnp.load(file).dtype == fnp.bfloat16


def test_nothing_is_unpickled():
    for content in (np.array([object()]), {"a": 1}):
        file = io.BytesIO()
        if isinstance(content, dict):
            pickle.dump(content, file)
        else:
            np.save(file, content, allow_pickle=True)
        file.seek(0)
        with pytest.raises(ValueError, match="allow_pickle"):
            fnp.load(file)


def test_mistakes():
    with pytest.raises(errors.DtypeError, match=r"random\.key_data"):
        fnp.save(io.BytesIO(), fst.random.key(0))
    with pytest.raises(errors.ConcretizationTypeError):
        fst.jit(lambda x: fnp.save(io.BytesIO(), x))(1.0)
    file = io.BytesIO()
    np.savez(file, x=1)
    file.seek(0)
    with pytest.raises(errors.ArgumentError, match="got an archive"):
        fnp.load(file)
    file = io.BytesIO()
    np.save(file, np.array(["a"]))
    file.seek(0)
    with pytest.raises(errors.DtypeError, match="load: takes numbers"):
        fnp.load(file)
