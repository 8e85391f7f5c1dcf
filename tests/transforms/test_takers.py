import collections
import dataclasses
import time

import numpy as np
import pytest

import fstensor as fst
from fstensor import tree
from fstensor.transforms.takers import taker

Pair = collections.namedtuple("Pair", "a b")


@tree.register_dataclass
@dataclasses.dataclass
class Layer:
    w: object
    size: int = tree.static(default=1)


ARGUMENTS = [
    ((), {}),
    ((1,), {}),
    ((1, 2, 3), {}),
    ((1,), {"x": 2}),
    (({"b": 1, "a": 2},), {}),
    (({"b": 1},), {}),
    (({},), {}),
    (({"b": {"c": 1}, "a": [2, (3,), None, {}]},), {"k": [4, 5]}),
    ((Pair(1, {"x": 2}), ()), {}),
    ((None, [None]), {}),
    ((Layer(1), [Layer({"w": 2}, 3)]), {}),
    (({1: "a", 2: {"b": 3}},), {}),
    ((collections.OrderedDict(b=1, a=[2]),), {}),
    ((collections.defaultdict(int, b=1, a=[2]), collections.deque([1, 2], 3)), {}),
    ((time.gmtime(0),), {}),
]


def changed(node):
    """Trees like this one but for one container."""
    if type(node) is dict:
        yield {**node, "new": 0}
        yield list(node.values())
        for k in node:
            yield {n: v for n, v in node.items() if n != k}
            yield {("other" if n == k else n): v for n, v in node.items()}
            for other in changed(node[k]):
                yield {**node, k: other}
    elif isinstance(node, Layer):
        yield Layer(node.w, node.size + 1)
        for other in changed(node.w):
            yield Layer(other, node.size)
    elif isinstance(node, collections.defaultdict):
        yield collections.defaultdict(list, node)
        yield dict(node)
    elif isinstance(node, (collections.OrderedDict, collections.deque, time.struct_time)):
        yield []
    elif isinstance(node, (tuple, list)):
        yield [*node, 0]
        yield (0, *node)
        yield {"a": 1}
        if isinstance(node, Pair):
            yield tuple(node)
        elif node:
            yield type(node)(list(node)[1:])
        for i, x in enumerate(node):
            for other in changed(x):
                new = [*node[:i], other, *node[i + 1 :]]
                yield Pair(*new) if isinstance(node, Pair) else type(node)(new)
    elif node is None:
        yield 0


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_leaves_are_those_of_flatten(arguments):
    take = taker(*arguments)
    assert list(take(*arguments)) == tree.leaves(arguments)
    other = tree.map(lambda x: f"{x}!", arguments)
    assert list(take(*other)) == tree.leaves(other)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_other_structures_are_refused(arguments):
    take = taker(*arguments)
    args, kwargs = arguments
    others = [(a, kwargs) for a in changed(args) if isinstance(a, tuple)]
    others += [(args, k) for k in changed(kwargs) if isinstance(k, dict)]
    others = [o for o in others if tree.structure(o) != tree.structure(arguments)]
    assert others
    for other in others:
        assert take(*other) is None, other


def test_keys_may_come_in_any_order():
    take = taker(({"a": 1, "b": 2},), {})
    assert take(({"b": 2, "a": 1},), {}) == (1, 2)


def test_a_container_in_place_of_a_leaf_counts_as_one():
    assert taker((1, 2), {})((1, [2, 3]), {}) == (1, [2, 3])


@pytest.mark.parametrize("size", [1000, 3000])
def test_large_structures(size):
    take = taker(([0] * size,), {})
    assert take(([1] * size,), {}) == (1,) * size
    assert take(([1] * (size - 1),), {}) is None
    assert take(((1,) * size,), {}) is None


def test_jit_tells_structures_apart():
    f = fst.jit(lambda t: tree.map(lambda x: x + 1, t))
    trees = [{"a": 1.0, "b": 2.0}, {"a": 1.0}, {"a": {"b": 1.0}}, [1.0, 2.0], (1.0,), None, {}]
    trees += [collections.OrderedDict(a=1.0, b=2.0), Layer(1.0, 2), Layer(1.0, 3)]
    trees = [tree.map(np.float32, t) for t in trees]
    trees = [tree.map(fst.numpy.asarray, t) for t in trees]
    for _ in range(3):
        for t in trees:
            out = f(t)
            assert tree.structure(out) == tree.structure(t)
            assert tree.all(tree.map(lambda x, y: x == y + 1, out, t))
