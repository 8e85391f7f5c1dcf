import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fstensor.numpy as fnp
from fstensor.core import aval as aval_module
from fstensor.core.aval import ShapedArray

FLOAT = np.dtype(np.float32)


def test_equal_avals_are_one_object():
    x = ShapedArray((2, 3), FLOAT)
    assert ShapedArray((2, 3), np.dtype("f4"), False) is x
    assert ShapedArray((2, np.int64(3)), FLOAT) is x
    assert x.update() is x
    assert fnp.ones((2, 3), np.float32).aval is x
    assert fnp.sin(fnp.ones((2, 3), np.float32)).aval is x


def test_avals_that_differ_are_not():
    x = ShapedArray((2, 3), FLOAT)
    others = [
        ShapedArray((3, 2), FLOAT),
        ShapedArray((2, 3), np.dtype(np.float64)),
        ShapedArray((2, 3), np.dtype(">f4")),
        ShapedArray((2, 3), FLOAT, True),
    ]
    assert len({x, *others}) == 5
    assert x not in others


def test_sizes_are_python_integers():
    x = ShapedArray((np.int64(31), True), FLOAT, np.bool_(True))
    assert [type(n) for n in x.shape] == [int, int]
    assert x.weak_type is True


def test_copies_are_the_same_object():
    x = ShapedArray((2, 3), FLOAT, True)
    for made in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert made is x


def test_avals_that_nobody_uses_are_forgotten():
    gc.collect()
    before = len(aval_module._known)
    made = [ShapedArray((7919, n), FLOAT) for n in range(100)]
    assert len(aval_module._known) == before + 100
    del made
    gc.collect()
    assert len(aval_module._known) == before


def test_threads_get_the_same_objects():
    def make(_):
        return [ShapedArray((104729, n), FLOAT) for n in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(make, range(8))
    for other in others:
        assert all(x is y for x, y in zip(first, other, strict=True))
