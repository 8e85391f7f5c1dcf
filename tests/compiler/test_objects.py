import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler.llvm import objects


def matches(leaves, avals):
    return objects.matcher()(leaves, avals)


def are_plain(*arrays):
    native = objects.plainness(objects.FEWEST)(arrays)
    assert objects.plainness(1)(arrays) == native
    return native


def test_places_are_found_here():
    assert objects.tuples_are_known()
    assert objects.matcher()
    assert objects._native_plainness()


def test_arrays_match_their_avals():
    leaves = tuple(fnp.ones(n) for n in range(50))
    avals = tuple(x.aval for x in leaves)
    assert matches((), ())
    assert matches(leaves, avals)
    assert not matches(leaves, avals[::-1])
    assert not matches((*leaves[:-1], fnp.ones(49, fnp.int32)), avals)


@pytest.mark.parametrize("other", [1.0, None, "x", (), np.ones(3), object(), fst.Array])
def test_other_objects_do_not_match(other):
    x = fnp.ones(3)
    assert not matches((x, other), (x.aval, x.aval))


def test_tracers_and_deleted_arrays_do_not_match():
    x = fnp.ones(3)
    seen = []
    fst.make_jaxpr(lambda t: seen.append(matches((t,), (x.aval,))))(x)
    assert seen == [False]
    assert matches((x,), (x.aval,))
    x.delete()
    assert not matches((x,), (fnp.ones(3).aval,))


WHOLE = np.zeros((4, 6), np.float32)


@pytest.mark.parametrize(
    "array",
    [
        WHOLE,
        WHOLE[:, 1:3],
        WHOLE.T,
        WHOLE[::-1],
        np.zeros(9, np.uint8)[1:].view(np.float32),
        np.zeros((0, 3)),
        np.array(1.0),
        np.broadcast_to(WHOLE[0], (4, 6)),
    ],
)
def test_plain_arrays_are_told_from_others(array):
    plain = array.flags.c_contiguous and array.flags.aligned
    assert are_plain(array) == plain
    assert are_plain(WHOLE, array, WHOLE) == plain
    assert are_plain()


def test_places_that_are_not_found():
    probes = [object(), "x"]
    assert objects._place(probes, [1, 2], 16) is None


def test_blocks_hold_addresses():
    given = (object(), "x", WHOLE)
    assert list(objects.block_of(4)(given)) == [*map(id, given), None]


def test_without_known_places_python_does_the_same(monkeypatch):
    monkeypatch.setattr(objects, "tuples_are_known", lambda: False)
    given = (object(), "x", WHOLE)
    assert list(objects.block_of(4)(given)) == [*map(id, given), None]
    assert objects.matcher.__wrapped__() is None
    assert objects._native_plainness.__wrapped__() is None
