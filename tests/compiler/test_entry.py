import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler import threads
from fstensor.compiler.llvm import engine, entry
from fstensor.core.aval import ShapedArray

# Adds the first argument's elements to the second's, three of float32 each, and writes the number
# of threads and the last word to the third's, two of int64.
_ADD = """
define void @add_three(ptr %block, i64 %thread, i64 %threads) {
entry:
  %is_first = icmp eq i64 %thread, 0
  br i1 %is_first, label %work, label %end
work:
  %a = load ptr, ptr %block
  %b_at = getelementptr ptr, ptr %block, i64 1
  %b = load ptr, ptr %b_at
  %c_at = getelementptr ptr, ptr %block, i64 2
  %c = load ptr, ptr %c_at
  %x = load <3 x float>, ptr %a, align 4
  %y = load <3 x float>, ptr %b, align 4
  %z = fadd <3 x float> %x, %y
  store <3 x float> %z, ptr %b, align 4
  store i64 %threads, ptr %c
  %last_at = getelementptr ptr, ptr %block, i64 3
  %last = load i64, ptr %last_at
  %c1 = getelementptr i64, ptr %c, i64 1
  store i64 %last, ptr %c1
  ret void
end:
  ret void
}
"""


def target(team=0, last=7):
    code = engine.compile_module(_ADD)
    return entry.Target(code.address("add_three"), team, last, code)


def read_only(*values):
    x = np.array(values, np.float32)
    x.flags.writeable = False
    return x


X = read_only(1, 2, 3)


def operands():
    return fnp.asarray(X), np.ones(3, np.float32), np.zeros(2, np.int64)


def test_a_builtin_of_buffers():
    _, y, z = operands()
    enter = entry.of_buffers([ShapedArray((3,), np.float32)], 2, target())
    assert enter(X, y, z) is True
    assert y.tolist() == [2, 3, 4]
    assert z.tolist() == [1, 7]


def test_a_builtin_of_arrays():
    x, y, z = operands()
    enter = entry.of_arrays([x.aval], 2, target())
    assert enter(x, y, z) is True
    assert y.tolist() == [2, 3, 4]
    assert z.tolist() == [1, 7]


def test_a_builtin_for_a_team():
    x, y, z = operands()
    with fst.config.override(threads=2):
        enter = entry.of_arrays([x.aval], 2, target(threads.team().state, 11))
        assert enter(x, y, z)
    assert y.tolist() == [2, 3, 4]
    assert z.tolist() == [2, 11]


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_another_number_of_arguments(count):
    x, y, z = operands()
    enter = entry.of_arrays([x.aval], 2, target())
    assert enter(*[x, y, z, z][:count]) is False
    assert y.tolist() == [1, 1, 1]


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
def test_plain_buffers_are_told_from_others(array):
    def enter(*buffers):
        avals = [ShapedArray(b.shape, b.dtype) for b in buffers]
        nothing = entry.Target(0, 0, 0, None)
        return entry.of_buffers(avals, 0, nothing)(*buffers)

    plain = array.flags.c_contiguous and array.flags.aligned
    assert enter(array) == plain
    assert enter(WHOLE, array, WHOLE) == plain
    assert enter()


def matches(leaves, avals):
    return entry.of_arrays(avals)(*leaves)


def test_arrays_match_their_avals():
    leaves = [fnp.ones(n) for n in range(50)]
    avals = [x.aval for x in leaves]
    assert matches([], [])
    assert matches(leaves, avals)
    assert not matches(leaves, avals[::-1])
    assert not matches([*leaves[:-1], fnp.ones(49, fnp.int32)], avals)


@pytest.mark.parametrize("other", [1.0, None, "x", (), np.ones(3), object(), fst.Array])
def test_other_objects_do_not_match(other):
    x = fnp.ones(3)
    assert not matches([x, other], [x.aval, x.aval])


def test_tracers_and_deleted_arrays_do_not_match():
    x = fnp.ones(3)
    seen = []
    fst.make_jaxpr(lambda t: seen.append(matches([t], [x.aval])))(x)
    assert seen == [False]
    assert matches([x], [x.aval])
    x.delete()
    assert not matches([x], [fnp.ones(3).aval])


def test_nothing_is_held_after_a_call():
    x, y, z = operands()
    enter = entry.of_arrays([x.aval], 2, target())
    before = sys.getrefcount(x._buffer), sys.getrefcount(y), sys.getrefcount(True)
    for _ in range(1000):
        assert enter(x, y, z)
        enter(y, x, z)
    after = sys.getrefcount(x._buffer), sys.getrefcount(y), sys.getrefcount(True)
    assert before[:2] == after[:2]
    assert abs(before[2] - after[2]) < 100


def test_a_builtin_keeps_what_it_calls():
    class Kept:
        pass

    kept = Kept()
    watched = weakref.ref(kept)
    enter = entry.of_buffers([], 0, entry.Target(0, 0, 0, kept))
    del kept
    assert watched() is not None
    assert enter()
    del enter
    gc.collect()
    assert watched() is None


def test_a_builtin_outlives_what_it_was_defined_by():
    nothing = entry.Target(0, 0, 0, None)
    enter = entry.of_buffers([], 0, nothing)
    others = []
    for _ in range(20):
        entry._definition.cache_clear()  # as if another thread had made one, too
        others.append(entry.of_buffers([], 0, nothing))
    gc.collect()
    assert all(f() is True and f.__name__ == "enter" for f in [enter, *others])


def test_an_array_deleted_while_its_program_runs():
    """The buffer is held for as long, whatever others do meanwhile."""
    x = fnp.asarray(np.random.default_rng(0).standard_normal(200_000).astype(np.float32))
    f = fst.jit(lambda x: fnp.sum(fnp.sin(fnp.exp(fnp.cos(x)))))
    expected = f(x)
    for _ in range(20):
        given = fnp.array(np.asarray(x).copy())
        f(given)
        deleter = threading.Thread(target=given.delete)
        deleter.start()
        try:
            result = f(given)
        except fst.errors.DeletedArrayError:
            result = expected
        deleter.join()
        assert result == expected
