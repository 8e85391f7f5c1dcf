"""Pytrees, against `jax.tree` and `jax.tree_util`."""

import collections
import dataclasses
import functools
import operator
import pickle
from typing import Any

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fstensor import tree, tree_util
from fstensor.errors import ArgumentError, TreeError

Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    name: str = tree.static(default="dense")


tree.register_dataclass(Layer)
jax.tree_util.register_dataclass(Layer)


class Bag:
    """A class registered without keys; what it holds besides its children is `label`."""

    def __init__(self, children, label="bag"):
        self.children = tuple(children)
        self.label = label

    def __eq__(self, other):
        return (self.children, self.label) == (other.children, other.label)

    __hash__ = None


for library in (tree, jax.tree_util):
    library.register_pytree_node(
        Bag, lambda bag: (bag.children, bag.label), lambda label, children: Bag(children, label)
    )


class Record(Bag):
    """The same, registered with keys, and a flatten function that leaves them out."""


class Named(Bag):
    """The same, registered with keys alone."""


for library, key in ((tree, tree.GetAttrKey), (jax.tree_util, jax.tree_util.GetAttrKey)):

    def with_keys(node, key=key):
        return [(key(f"c{i}"), child) for i, child in enumerate(node.children)], node.label

    library.register_pytree_with_keys(
        Record,
        with_keys,
        lambda label, children: Record(children, label),
        lambda node: (node.children, node.label),
    )
    library.register_pytree_with_keys(
        Named, with_keys, lambda label, children: Named(children, label)
    )


@tree.register_static
@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mode:
    training: bool = True


def containers(children):
    names = st.sampled_from(["a", "b", "c", "d"])
    dicts = st.dictionaries(names, children, max_size=3)
    few = st.lists(children, max_size=3)
    return st.one_of(
        few,
        few.map(tuple),
        dicts,
        dicts.map(collections.OrderedDict),
        dicts.map(lambda d: collections.defaultdict(int, d)),
        st.builds(Point, children, children),
        st.builds(Layer, children, children, st.sampled_from(["dense", "conv"])),
        st.builds(Bag, few),
        st.builds(Record, few),
        st.builds(Named, few),
        st.just(Mode()),
    )


leaf_values = st.one_of(st.integers(0, 9), st.text("xyz", max_size=2))
trees = st.recursive(st.one_of(leaf_values, st.none()), containers, max_leaves=12)


def message(caught):
    return caught.value.args[0]


# Apart and together


@given(trees)
def test_flatten_takes_leaves_in_the_order_of_jax(x):
    leaves, treedef = tree.flatten(x)
    jax_treedef = jax.tree.structure(x)
    assert leaves == tree.leaves(x) == jax.tree.leaves(x)
    assert treedef == tree.structure(x)
    assert treedef.num_leaves == jax_treedef.num_leaves
    assert treedef.num_nodes == jax_treedef.num_nodes
    assert tree.treedef_is_leaf(treedef) == jax.tree_util.treedef_is_leaf(jax_treedef)
    assert len(tree.treedef_children(treedef)) == len(jax_treedef.children())


@given(trees)
def test_unflatten_undoes_flatten(x):
    leaves, treedef = tree.flatten(x)
    assert tree.unflatten(treedef, leaves) == x
    assert tree.unflatten(treedef, iter(leaves)) == x
    assert tree.structure(tree.unflatten(treedef, [None if v is None else 0 for v in leaves])) == (
        treedef
    )


@given(trees, trees)
def test_structures_are_equal_where_those_of_jax_are(x, y):
    same = jax.tree.structure(x) == jax.tree.structure(y)
    assert (tree.structure(x) == tree.structure(y)) is same
    assert (tree.describe_mismatch(x, y) == "") is same
    if same:
        assert hash(tree.structure(x)) == hash(tree.structure(y))


@given(trees, st.integers(0, 3))
def test_is_leaf_stops_where_that_of_jax_does(x, size):
    def is_leaf(node):
        return isinstance(node, list | tuple) and len(node) == size

    assert tree.leaves(x, is_leaf) == jax.tree.leaves(x, is_leaf)
    assert tree.map(lambda v: [v], x, is_leaf=is_leaf) == jax.tree.map(
        lambda v: [v], x, is_leaf=is_leaf
    )
    assert tree.leaves_with_path(x, is_leaf) == to_ours(jax.tree.leaves_with_path(x, is_leaf))


def test_what_is_not_registered_is_a_leaf():
    class Unknown:
        pass

    leaf = Unknown()
    assert tree.leaves([leaf, "text", {1, 2}, range(3)]) == [leaf, "text", {1, 2}, range(3)]
    assert tree.all_leaves([leaf, 1, "a"])
    assert not tree.all_leaves([1, None])
    assert not tree.all_leaves([1, ()])


def test_none_is_an_empty_node():
    assert tree.leaves([None, 1, {"a": None}]) == [1]
    assert tree.map(lambda v: v + 1, [None, 1]) == [None, 2]
    assert tree.leaves([None, 1], is_leaf=lambda v: v is None) == [None, 1]
    assert tree.map(lambda a, b: (a, b), [1, 2], [None, 3]) == [(1, None), (2, 3)]


def test_dicts_are_taken_by_sorted_keys_and_come_back_as_given():
    x = {"b": 1, "a": 2}
    assert tree.leaves(x) == [2, 1]
    assert list(tree.map(lambda v: v, x)) == ["b", "a"]
    assert tree.structure(x) == tree.structure({"a": 0, "b": 0})
    assert tree.leaves(collections.OrderedDict(b=1, a=2)) == [1, 2]


def test_where_containers_depart_from_jax():
    deque = collections.deque([1, 2])
    assert tree.leaves(deque) == [1, 2]
    assert jax.tree.leaves(deque) == [deque]
    mixed = {"b": 1, 2: 3, "a": 5}  # keys that Python cannot sort
    assert tree.leaves(mixed) == [3, 5, 1]
    with pytest.raises(ValueError, match="Comparator raised exception"):
        jax.tree.leaves(mixed)


def test_structures_can_be_pickled_and_composed():
    treedef = tree.structure({"a": [1, (2, None)], "b": Point(3, 4)})
    assert pickle.loads(pickle.dumps(treedef)) == treedef
    assert tree.treedef_tuple([treedef, tree.structure(0)]) == tree.structure(
        ({"a": [1, (2, None)], "b": Point(3, 4)}, 0)
    )
    assert tree.structure([0, 0]).compose(tree.structure({"a": 0})) == tree.structure(
        [{"a": 0}, {"a": 0}]
    )


def test_unflatten_with_a_wrong_number_of_leaves():
    for leaves in ([1], iter([1, 2, 3])):
        with pytest.raises(TreeError) as caught:
            tree.unflatten(tree.structure({"a": 0, "b": 0}), leaves)
        assert message(caught).startswith("tree.unflatten: the structure has 2 leaves, got ")
        assert message(caught).endswith("; it is PyTreeDef({'a': *, 'b': *})")
        assert isinstance(caught.value, ValueError)


def test_errors_of_a_class_that_refuses_its_children_pass_through():
    class Picky:
        def __init__(self, x):
            if x == 0:
                raise ValueError("not zero")
            self.x = x

    tree.register_pytree_node(Picky, lambda p: ((p.x,), None), lambda _, children: Picky(*children))
    with pytest.raises(ValueError, match=r"^not zero$"):
        tree.unflatten(tree.structure(Picky(1)), [0])
    with pytest.raises(ValueError, match=r"^not zero$"):
        tree.map(lambda v: v - 1, Picky(1))


# Maps and reductions


@given(trees)
def test_map_agrees_with_jax(x):
    assert tree.map(lambda v: (v, "seen"), x) == jax.tree.map(lambda v: (v, "seen"), x)
    deeper = tree.map(lambda v: [v, {"a": v}], x)
    pair = tree.map(lambda v, w, u: (v, w, u), x, deeper, x)
    assert pair == jax.tree.map(lambda v, w, u: (v, w, u), x, deeper, x)


@given(trees, trees)
def test_map_raises_where_jax_does(x, y):
    # Ours maps between kinds of dict by their keys, where JAX wants the same kind.
    def kinds(v):
        return type(v) in (dict, collections.OrderedDict, collections.defaultdict)

    nodes = [n for t in (x, y) for _, n in walk(t) if kinds(n)]
    if len({type(n) for n in nodes}) > 1 or any(type(n) is collections.OrderedDict for n in nodes):
        return
    try:
        expected = jax.tree.map(lambda v, w: (v, w), x, y)
    except (ValueError, AttributeError):  # the latter is JAX failing to print some of its keys
        with pytest.raises(TreeError, match=r"^tree.map: trees must match the first, expected "):
            tree.map(lambda v, w: (v, w), x, y)
    else:
        assert tree.map(lambda v, w: (v, w), x, y) == expected


def walk(x):
    """All nodes of a tree, with their depth."""
    found = []

    def note(path, node):
        found.append((len(path), node))
        return False

    tree.leaves_with_path(x, note, is_leaf_takes_path=True)
    return found


def test_reductions():
    x = {"a": 1, "b": [2, None, 3]}
    assert tree.reduce(operator.add, x) == 6
    assert tree.reduce(operator.add, x, 10) == 16
    assert tree.reduce(operator.add, [], None) is None
    assert tree.reduce(operator.add, [[1], [2]], [], is_leaf=lambda v: v in ([1], [2])) == [1, 2]
    with pytest.raises(TypeError, match="empty iterable"):
        tree.reduce(operator.add, [])
    assert tree.all(x)
    assert tree.all([])
    assert not tree.all([1, 0])
    assert tree.all([[], 0], is_leaf=lambda v: v == 0) is False


TWO_TREES = [
    (
        {"a": [1]},
        {"a": (1,)},
        "expected list of length 1 at ['a'], got tuple of length 1",
    ),
    (
        {"a": 1, "b": 2},
        {"a": 1},
        "expected dict with keys ['a', 'b'] at the root, got dict with keys ['a']",
    ),
    (
        {"a": 1, "b": (2,)},
        {"a": 1, "b": 3.0},
        "expected tuple of length 1 at ['b'], got leaf of type float",
    ),
    ([{"a": None}], [{"a": 1}], "expected None at [0]['a'], got leaf of type int"),
    (
        Point(1, (2,)),
        Point(1, (2, 3)),
        "expected tuple of length 1 at .y, got tuple of length 2",
    ),
    (
        Layer(1, [2]),
        Layer(1, []),
        "expected list of length 1 at .bias, got list of length 0",
    ),
    (
        Named([0, {}]),
        Named([0, []]),
        "expected dict with keys [] at .c1, got list of length 0",
    ),
    (
        Bag([0, {}]),
        Bag([0, []]),
        "expected dict with keys [] at [<flat index 1>], got list of length 0",
    ),
    (
        Layer(1, 2, "conv"),
        Layer(1, 2),
        "expected PyTreeDef(CustomNode(Layer[('conv',)], [*, *])) at the root, "
        "got PyTreeDef(CustomNode(Layer[('dense',)], [*, *]))",
    ),
    (Bag([1]), [1], "expected Bag with 1 children at the root, got list of length 1"),
]


@pytest.mark.parametrize(("x", "y", "text"), TWO_TREES)
def test_mismatches_name_the_first_path_and_both_sides(x, y, text):
    assert tree.describe_mismatch(x, y) == text
    without_leaf = text.replace("leaf of type int", "leaf").replace("leaf of type float", "leaf")
    assert tree.describe_mismatch(tree.structure(x), tree.structure(y)) == without_leaf
    with pytest.raises(TreeError) as caught:
        tree.map(lambda a, b: a, x, y)
    assert message(caught).startswith(f"tree.map: trees must match the first, {text}; the first is")
    with pytest.raises(TreeError) as caught:
        tree.map_with_path(lambda p, a, b: a, x, y)
    assert message(caught).startswith(f"tree.map_with_path: trees must match the first, {text}; ")


def test_describe_mismatch_of_a_prefix():
    assert tree.describe_mismatch([0, 0], [0, {"a": 1}]) == (
        "expected leaf at [1], got dict with keys ['a']"
    )
    assert tree.describe_mismatch([0, 0], [0, {"a": 1}], prefix=True) == ""
    assert tree.describe_mismatch({"a": 0}, {"a": 1}) == ""


def test_errors_show_both_structures_but_not_at_any_length():
    with pytest.raises(TreeError) as caught:
        tree.map(lambda a, b: a, {"a": [1]}, {"a": (1,)})
    assert message(caught).endswith(
        "; the first is PyTreeDef({'a': [*]}), the other is PyTreeDef({'a': (*,)})"
    )
    with pytest.raises(TreeError) as caught:
        tree.map(lambda a, b: a, list(range(10_000)), 0)
    assert len(message(caught)) < 600


# Inside out, and prefixes


@given(trees, trees)
def test_transpose_agrees_with_jax(outer, inner):
    numbers = iter(range(10_000))
    x = tree.map(lambda _: tree.map(lambda _: next(numbers), inner), outer)
    ours = tree.structure(outer), tree.structure(inner)
    jaxs = jax.tree.structure(outer), jax.tree.structure(inner)
    if tree.leaves(outer) and tree.leaves(inner):  # where there are none, JAX fails to unflatten
        expected = jax.tree.transpose(*jaxs, x)
        assert tree.transpose(*ours, x) == expected
        assert tree.transpose(ours[0], None, x) == expected
        assert tree.transpose(ours[1], ours[0], expected) == x


def test_transpose_errors():
    outer = tree.structure([0, 0])
    with pytest.raises(TreeError) as caught:
        tree.transpose(outer, tree.structure({"a": 0}), [{"a": 1}, {"a": [2]}])
    assert message(caught) == (
        "tree.transpose: the tree must have the outer structure, then the inner, "
        "expected leaf at [1]['a'], got list of length 1; "
        "these are PyTreeDef([*, *]) and PyTreeDef({'a': *})"
    )
    with pytest.raises(TreeError) as caught:
        tree.transpose(tree.structure([]), None, [])
    assert message(caught) == (
        "tree.transpose: outer_treedef has no leaves; give inner_treedef, too"
    )
    with pytest.raises(TreeError, match="expected list of length 2 at the root, got list of lengt"):
        tree.transpose(outer, None, [1, 2, 3])


@given(trees, st.data())
def test_prefixes_are_broadcast_as_in_jax(prefix, data):
    full = tree.map(lambda _: data.draw(trees), prefix)
    assert tree.broadcast(prefix, full) == jax.tree.broadcast(prefix, full)
    leaves, treedef = tree.flatten(prefix)
    expected = []
    for leaf, subtree in zip(leaves, treedef.flatten_up_to(full), strict=True):
        expected += [leaf] * len(tree.leaves(subtree))
    assert tree.flatten_prefix(prefix, full, "test") == expected
    assert tree.flatten_prefix(prefix, tree.structure(full), "test") == expected


def test_none_in_a_prefix_stands_for_a_subtree():
    args = (1, {"a": [2, 3], "b": (4,)}, None)
    assert tree.flatten_prefix(None, args, "in_axes") == [None] * 4
    assert tree.flatten_prefix(0, args, "in_axes") == [0] * 4
    assert tree.flatten_prefix((0, None, None), args, "in_axes") == [0, None, None, None]
    assert tree.flatten_prefix((0, {"a": None, "b": 1}, 2), args, "in_axes") == [0, None, None, 1]
    assert tree.flatten_prefix((0, {"b": (None,), "a": 1}, None), args, "in_axes") == [
        0,
        1,
        1,
        None,
    ]


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ((0, 0, 0), "got tuple of length 3 for tuple of length 2 at the root; "),
        ([0, 0], "got list of length 2 for tuple of length 2 at the root; "),
        ((0, {"b": None}), "got dict with keys ['b'] for dict with keys ['a', 'b'] at [1]; "),
        (([1], 0), "got list of length 1 for leaf at [0]; "),
    ],
)
def test_what_is_not_a_prefix_raises(prefix, text):
    with pytest.raises(TreeError) as caught:
        tree.flatten_prefix(prefix, (1, {"a": [2], "b": 3}), "vmap in_axes")
    rule = "vmap in_axes: must be a prefix of the tree it belongs to, "
    assert message(caught).startswith(f"{rule}{text}the prefix is PyTreeDef(")
    assert message(caught).endswith(", the tree is PyTreeDef((*, {'a': [*], 'b': *}))")


def test_broadcast_errors():
    with pytest.raises(TreeError) as caught:
        tree.broadcast({"a": 1, "b": None}, {"a": [1, 2], "b": 3})
    assert message(caught).startswith(
        "tree.broadcast: must be a prefix of the tree it belongs to, got None for leaf at ['b']; "
    )


def test_prefixes_want_the_same_kind_of_dict():
    # Their orders differ, so that taking one for the other would swap the leaves.
    full = collections.OrderedDict(b=1, a=2)
    for function in (tree.broadcast, lambda *trees: tree.flatten_prefix(*trees, "test")):
        with pytest.raises(TreeError, match=r"got dict with keys .* for OrderedDict with keys"):
            function({"a": 1, "b": 2}, full)
    assert tree.map(lambda v, w: (v, w), {"a": 1, "b": 2}, full) == {"a": (1, 2), "b": (2, 1)}


# Paths

OURS = {
    jax.tree_util.DictKey: lambda k: tree.DictKey(k.key),
    jax.tree_util.SequenceKey: lambda k: tree.SequenceKey(k.idx),
    jax.tree_util.GetAttrKey: lambda k: tree.GetAttrKey(k.name),
    jax.tree_util.FlattenedIndexKey: lambda k: tree.FlattenedIndexKey(k.key),
}


def to_ours(pairs):
    return [(tuple(OURS[type(k)](k) for k in path), leaf) for path, leaf in pairs]


@given(trees)
def test_paths_agree_with_jax(x):
    pairs, treedef = tree.flatten_with_path(x)
    jax_pairs = jax.tree.leaves_with_path(x)
    assert pairs == tree.leaves_with_path(x) == to_ours(jax_pairs)
    assert treedef == tree.structure(x)
    for (path, _), (jax_path, _) in zip(pairs, jax_pairs, strict=True):
        assert tree.keystr(path) == jax.tree_util.keystr(jax_path)
        assert repr(path) == repr(jax_path)
        for options in ({"simple": True}, {"simple": True, "separator": "/"}, {"separator": "|"}):
            assert tree.keystr(path, **options) == jax.tree_util.keystr(jax_path, **options)


@given(trees, st.integers(0, 3))
def test_is_leaf_may_take_the_path(x, depth):
    def is_leaf(path, node):
        return len(path) == depth

    ours = tree.flatten_with_path(x, is_leaf, is_leaf_takes_path=True)
    jaxs = jax.tree.flatten_with_path(x, is_leaf, is_leaf_takes_path=True)
    assert ours[0] == to_ours(jaxs[0])
    assert ours[1].num_nodes == jaxs[1].num_nodes
    assert tree.unflatten(ours[1], [leaf for _, leaf in ours[0]]) == x


def test_map_with_path():
    x = {"a": [1, 2], "b": Point(3, None)}
    assert tree.map_with_path(lambda path, v, w: f"{tree.keystr(path)}={v + w}", x, x) == {
        "a": ["['a'][0]=2", "['a'][1]=4"],
        "b": Point("['b'].x=6", None),
    }
    deep = tree.map_with_path(
        lambda path, v: (len(path), v),
        x,
        is_leaf=lambda path, v: len(path) == 1,
        is_leaf_takes_path=True,
    )
    assert deep == {"a": (1, [1, 2]), "b": (1, Point(3, None))}


def test_keys_of_a_deque_and_of_own_making():
    assert [tree.keystr(p) for p, _ in tree.leaves_with_path(collections.deque([1]))] == ["[0]"]
    assert tree.keystr(("own", 5), simple=True, separator=".") == "own.5"


# Registration


def test_classes_register_once():
    for again in (
        lambda: tree.register_pytree_node(Bag, len, max),
        lambda: tree.register_static(Bag),
    ):
        with pytest.raises(TreeError) as caught:
            again()
        assert message(caught) == "register_pytree_node: once for each class, got Bag again"
        assert isinstance(caught.value, ValueError)
    with pytest.raises(TreeError, match="got list again"):
        tree.register_pytree_node(list, lambda x: (x, None), lambda _, x: list(x))


def test_register_pytree_node_class():
    @tree.register_pytree_node_class
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def tree_flatten(self):
            return (self.a,), self.b

        @classmethod
        def tree_unflatten(cls, rest, children):
            return cls(*children, rest)

    doubled = tree.map(lambda v: 2 * v, Pair(1, "b"))
    assert (doubled.a, doubled.b) == (2, "b")
    assert tree.leaves_with_path(Pair(1, 2)) == [((tree.FlattenedIndexKey(0),), 1)]


def test_register_pytree_with_keys_class():
    @tree.register_pytree_with_keys_class
    class Pair:
        def __init__(self, a):
            self.a = a

        def tree_flatten_with_keys(self):
            return ((tree.DictKey("a"), self.a),), None

        @classmethod
        def tree_unflatten(cls, rest, children):
            return cls(*children)

    assert tree.map(lambda v: 2 * v, Pair(1)).a == 2
    assert tree.leaves_with_path(Pair(1)) == [((tree.DictKey("a"),), 1)]


def test_keys_may_be_given_beside_the_flatten_function():
    class Slot(Bag):
        pass

    tree.register_pytree_node(
        Slot,
        lambda slot: (slot.children, None),
        lambda _, children: Slot(children),
        lambda slot: ([(tree.GetAttrKey("only"), slot.children[0])], None),
    )
    assert tree.leaves_with_path([Slot([1])])[0][0] == (
        tree.SequenceKey(0),
        tree.GetAttrKey("only"),
    )


def test_static_classes_are_structure():
    leaves, treedef = tree.flatten([Mode(), 1])
    assert leaves == [1]
    assert tree.unflatten(treedef, [2]) == [Mode(), 2]
    assert treedef != tree.structure([Mode(training=False), 1])


def test_dataclass_fields_may_be_chosen():
    @functools.partial(
        tree.register_dataclass, data_fields=["a"], meta_fields=["b"], drop_fields=["c"]
    )
    @dataclasses.dataclass
    class Chosen:
        a: Any
        b: Any
        c: Any = None

    assert tree.leaves(Chosen(1, 2, 3)) == [1]
    assert tree.map(lambda v: v + 1, Chosen(1, 2, 3)) == Chosen(2, 2, None)
    assert tree.structure(Chosen(1, 2)) != tree.structure(Chosen(1, 3))


def test_dataclasses_without_data_or_of_one_field():
    @tree.register_dataclass
    @dataclasses.dataclass
    class Empty:
        name: str = tree.static(default="e", metadata={"unit": "m"})

    @tree.register_dataclass
    @dataclasses.dataclass(slots=True, kw_only=True)
    class Single:
        value: Any

    assert tree.leaves(Empty()) == []
    assert dataclasses.fields(Empty)[0].metadata == {"unit": "m", "static": True}
    assert tree.map(lambda v: v, Empty("x")) == Empty("x")
    assert tree.map(lambda v: v + 1, Single(value=1)) == Single(value=2)


def test_register_dataclass_errors():
    @dataclasses.dataclass
    class Three:
        a: int
        b: int
        c: int = dataclasses.field(default=0, init=False)

    class Plain:
        pass

    wrong = (
        "register_dataclass(Three): data_fields and meta_fields must be the fields that the "
        "constructor takes, each once, got {}, not ['a', 'b']; "
        "drop_fields may name some to leave out"
    )
    for arguments, given_fields in (
        ((), ["a", "b", "c"]),
        ((["a"], []), ["a"]),
        ((["a", "b"], ["b"]), ["a", "b", "b"]),
    ):
        with pytest.raises(TreeError) as caught:
            tree.register_dataclass(Three, *arguments)
        assert message(caught) == wrong.format(given_fields)
    with pytest.raises(ArgumentError) as caught:
        tree.register_dataclass(Three, ["a"])
    assert message(caught) == (
        "register_dataclass(Three): data_fields and meta_fields go together, got only one"
    )
    with pytest.raises(ArgumentError) as caught:
        tree.register_dataclass(Plain)
    assert message(caught) == (
        "register_dataclass(Plain): must be a dataclass, unless its fields are given"
    )


# Partial


def test_partial_is_a_tree_of_its_bound_arguments():
    partial = tree.Partial(operator.add, 1)
    assert partial(2) == 3
    assert tree.leaves(partial) == [1]
    assert tree.map(lambda v: v + 1, partial)(2) == 4
    assert isinstance(partial, functools.partial)
    assert tree.structure(partial) == tree.structure(tree.Partial(operator.add, 5))
    assert tree.structure(partial) != tree.structure(tree.Partial(operator.sub, 5))
    ours = tree.leaves_with_path(tree.Partial(max, 1, default=2))
    assert ours == to_ours(jax.tree.leaves_with_path(jax.tree_util.Partial(max, 1, default=2)))


def test_partial_of_a_partial_keeps_the_inner_one_static():
    inner = functools.partial(operator.sub, 10)
    for function in (inner, tree.Partial(operator.sub, 10)):
        outer = tree.Partial(function, 3)
        assert tree.leaves(outer) == [3]
        assert outer() == 7
        assert tree.map(lambda v: v + 1, outer)() == 6
    assert tree.structure(tree.Partial(inner, 3)) == tree.structure(tree.Partial(inner, 4))


# The older names


def test_tree_util_has_the_names_of_jax():
    for name in tree_util.__all__:
        assert hasattr(tree_util, name)
        assert hasattr(jax.tree_util, name)
    for name in ("flatten", "map", "all", "reduce", "transpose", "broadcast", "map_with_path"):
        assert getattr(tree_util, f"tree_{name}") is getattr(tree, name)
