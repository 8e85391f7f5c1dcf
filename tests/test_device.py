import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import device, dtypes, random
from fstensor.array import ConcreteArray
from fstensor.errors import DeviceError
from tests import fake_cupy
from tests.ops.cases import CASES
from tests.ops.harness import outputs
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


@pytest.fixture
def gpu(monkeypatch):
    """A pretended device "cuda:0"."""
    monkeypatch.setattr(device, "_cupy", fake_cupy.Module)


def host(x):
    return device.move(x._buffer, device.CPU)


def test_cpu():
    assert fst.devices("cpu") == fst.devices(backend="cpu") == ["cpu"]
    x = fnp.asarray(X)
    assert x.device == "cpu"
    assert x.devices() == {"cpu"}
    assert x.device.platform == "cpu"
    assert x.to_device("cpu") is x or x.to_device("cpu").device == "cpu"


def test_names(gpu):
    assert device.canonical_device("cuda") == "cuda:0"
    assert device.canonical_device("gpu:0") == "cuda:0"
    assert device.canonical_device("cuda:0").id == 0
    for name in ("tpu", "cuda:x", ""):
        with pytest.raises(DeviceError, match="no device"):
            device.canonical_device(name)


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    assert fst.devices() == ["cpu"]
    with pytest.raises(DeviceError, match=r"CuPy is not installed.*fstensor\[cuda12\]"):
        fst.device_put(X, "cuda:0")


def test_device_put_and_get(gpu):
    tree = fst.device_put({"x": X, "n": 2}, "cuda:0")
    assert tree["x"].device == "cuda:0"
    assert tree["n"].device == "cuda:0"
    back = fst.device_get(tree)
    assert isinstance(back["x"], np.ndarray)
    np.testing.assert_array_equal(back["x"], X)
    assert fst.device_put(tree["x"], "cpu").device == "cpu"
    fst.block_until_ready(tree)


def test_transforms_on_a_device(gpu):
    x = fst.device_put(X, "cuda:0")
    y = fst.grad(lambda x: fnp.sum(fnp.sin(x) * 2.0))(x)
    assert y.device == "cuda:0"
    assert_close(host(y), 2 * np.cos(X))
    z = fst.jit(fst.vmap(lambda x: x * 3.0 + 1.0))(x)
    assert z.device == "cuda:0"
    assert_close(host(z), X * 3 + 1)
    assert "Array(" in repr(z)
    assert_close(np.asarray(z), X * 3 + 1)


def test_default_device(gpu):
    with fst.default_device("cuda:0"):
        assert fnp.zeros(3).device == "cuda:0"
        assert fnp.arange(3).device == "cuda:0"
    assert fnp.zeros(3).device == "cpu"
    with pytest.raises(RuntimeError), fst.default_device("cuda:0"):
        raise RuntimeError
    assert fnp.zeros(3).device == "cpu"


def test_random_numbers_on_a_device(gpu):
    key = random.key(3)
    expected = np.asarray(random.uniform(key, (5,)))
    with fst.default_device("cuda:0"):
        bits = random.bits(key, (5,))
        x = random.uniform(key, (5,))
        again = fst.jit(lambda: random.uniform(random.fold_in(random.key(3), 1), (5,)))()
    assert bits.device == "cuda:0"
    assert x.device == "cuda:0"
    assert again.device == "cuda:0"
    np.testing.assert_array_equal(host(x), expected)
    assert fst.device_put(key, "cuda:0").device == "cpu", "keys stay on the host"


def test_operands_on_two_devices(gpu):
    x = fst.device_put(X, "cuda:0")
    with pytest.raises(DeviceError, match=r"float32\[3\] on cuda:0 and float32\[3\] on cpu"):
        x + fnp.asarray(X)
    assert (x + fnp.asarray(1.0)).device == "cuda:0", "scalars follow"


# CuPy has no such dtype, or structured ones such as that of random keys.
ON_HOST_ONLY = {"bfloat16", "key<fry>"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name) for c in CASES if c.primitive.name != "device_put" and c.operands],
)
def test_rules_work_through_their_array_module(gpu, case):
    dtype = case.dtypes[0]
    args = case.arguments(dtype)
    names = {dtypes.name(a.dtype) for a in args}
    if names & ON_HOST_ONLY:
        pytest.skip(f"CuPy has no dtype {names & ON_HOST_ONLY}")
    there = [ConcreteArray(fake_cupy.ndarray(a), fst.typeof(a)) for a in args]
    expected = outputs(case.primitive, case.primitive.bind(*args))
    got = outputs(case.primitive, case.primitive.bind(*there))
    for y, want in zip(got, expected, strict=True):
        assert y.device == ("cpu" if dtypes.is_key(y.dtype) else "cuda:0")
        assert_close(host(y), want._buffer, factor=case.factor)
