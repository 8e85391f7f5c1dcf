"""Pytrees: nested containers, taken apart into a list of leaves and a structure, and put together.

Containers are tuples, lists, dicts (in the order of their sorted keys), OrderedDicts, defaultdicts,
deques, named tuples, None (which has no leaves) and the classes registered here. All else is a
leaf. Names and signatures are those of `jax.tree`. What differs from JAX: a deque is a container,
dicts come back with their keys in the order in which they were given, and keys that cannot be
compared with each other are sorted by type instead of raising.

`flatten` and `unflatten` run in every call of a transformed function, so they add nothing to the
C++ of optree. Paths come from a walk in Python, for error text and the `*_with_path` functions.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import optree

from fstensor.errors import ArgumentError, TreeError

PyTreeDef = optree.PyTreeSpec
"""A structure: hashable, comparable, with `num_leaves`, `children()`, `compose(inner)`."""

IsLeaf: TypeAlias = Callable[..., bool] | None
_Class = TypeVar("_Class", bound=type)
_Kind = optree.PyTreeKind
_NAMESPACE = "fstensor"
_UNSET: Any = object()


# Paths


@dataclasses.dataclass(frozen=True, slots=True)
class DictKey:
    """A step into a dict: `['name']`."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceKey:
    """A step into a tuple, list or deque: `[0]`."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclasses.dataclass(frozen=True, slots=True)
class GetAttrKey:
    """A step into a named tuple or a dataclass: `.name`."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """A step into a class that was registered without keys: `[<flat index 0>]`."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyEntry: TypeAlias = Any  # one of the four above, or a class's own
KeyPath: TypeAlias = tuple[KeyEntry, ...]
_ENTRIES = (DictKey, SequenceKey, GetAttrKey, FlattenedIndexKey)


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """A path as text, as in `['layers'][0].weight`; with `simple`, the bare keys.

    >>> keystr((DictKey("layers"), SequenceKey(0)), simple=True, separator="/")
    'layers/0'
    """
    return separator.join(_simple_name(key) if simple else str(key) for key in keys)


def _simple_name(key: KeyEntry) -> str:
    match key:
        case DictKey(inner) | SequenceKey(inner) | GetAttrKey(inner) | FlattenedIndexKey(inner):
            return str(inner)
    return str(key)


# Apart and together


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of `tree`, from left to right, and its structure.

    Where `is_leaf(node)` holds, the node is a leaf, whatever it contains.
    """
    return optree.tree_flatten(tree, is_leaf, namespace=_NAMESPACE)


def unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of structure `treedef` with these leaves. Raises: TreeError for a wrong number."""
    leaves = leaves if isinstance(leaves, list) else list(leaves)
    try:
        return treedef.unflatten(leaves)
    except ValueError:
        if len(leaves) == treedef.num_leaves:
            raise  # a registered class refused its children
        raise TreeError(
            f"tree.unflatten: the structure has {treedef.num_leaves} leaves, got {len(leaves)}; "
            f"it is {_text(treedef)}"
        ) from None


def leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of `tree`, from left to right."""
    return optree.tree_leaves(tree, is_leaf, namespace=_NAMESPACE)


def structure(tree: Any, is_leaf: IsLeaf = None) -> PyTreeDef:
    """The structure of `tree`, without its leaves."""
    return optree.tree_structure(tree, is_leaf, namespace=_NAMESPACE)


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """The tree of `f(x, *xs)`, for each leaf `x` of `tree` and what stands there in `rest`.

    The other trees may go deeper than the first: `f` then receives their subtrees.
    Raises: TreeError where one of `rest` lacks the structure of `tree`.
    """
    first, treedef = flatten(tree, is_leaf)
    others = [
        _flatten_up_to(treedef, other, "tree.map: trees must match the first") for other in rest
    ]
    return treedef.unflatten(builtins.map(f, first, *others))


def reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _UNSET,
    is_leaf: IsLeaf = None,
) -> Any:
    """`functools.reduce` over the leaves of `tree`."""
    if initializer is _UNSET:
        return functools.reduce(function, leaves(tree, is_leaf))
    return functools.reduce(function, leaves(tree, is_leaf), initializer)


def all(tree: Any, *, is_leaf: IsLeaf = None) -> bool:
    """Whether every leaf of `tree` is true."""
    return builtins.all(leaves(tree, is_leaf))


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf = None) -> bool:
    """Whether each element is a leaf by itself."""
    return builtins.all(optree.tree_is_leaf(x, is_leaf, namespace=_NAMESPACE) for x in iterable)


def transpose(
    outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Turn a tree of trees inside out: outer of inner becomes inner of outer.

    Without `inner_treedef`, it is taken from the first subtree.
    Raises: TreeError unless the tree has the structure of outer composed with inner.

    >>> transpose(structure([0, 0]), None, [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    {'a': [1, 3], 'b': [2, 4]}
    """
    rule = "tree.transpose: the tree must have the outer structure, then the inner"
    if inner_treedef is None:
        subtrees = _flatten_up_to(outer_treedef, pytree_to_transpose, rule)
        if not subtrees:
            raise TreeError("tree.transpose: outer_treedef has no leaves; give inner_treedef, too")
        inner_treedef = structure(subtrees[0])
    all_leaves, treedef = flatten(pytree_to_transpose)
    expected = outer_treedef.compose(inner_treedef)
    if treedef != expected:
        mismatch = describe_mismatch(expected, pytree_to_transpose)
        raise TreeError(
            f"{rule}, {mismatch}; these are {_text(outer_treedef)} and {_text(inner_treedef)}"
        )
    width = inner_treedef.num_leaves
    return inner_treedef.unflatten(
        [outer_treedef.unflatten(all_leaves[i::width]) for i in range(width)]
    )


def broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf = None) -> Any:
    """The tree of the structure of `full_tree` where each leaf of `prefix_tree` fills its subtree.

    Raises: TreeError unless `prefix_tree` is a prefix of `full_tree`.

    >>> broadcast({"a": 1, "b": 2}, {"a": [0, 0], "b": 0})
    {'a': [1, 1], 'b': 2}
    """
    treedef = structure(full_tree)
    return treedef.unflatten(_spread("tree.broadcast", *flatten(prefix_tree, is_leaf), treedef))


def flatten_prefix(prefix: Any, tree_or_treedef: Any, what: str) -> list[Any]:
    """For each leaf of the tree, the leaf of `prefix` above it. None is such a leaf, too.

    Raises: TreeError, in the name of `what` (as in "vmap in_axes"), unless `prefix` is a prefix.
    """
    treedef = _structure_of(tree_or_treedef)
    if prefix is None or type(prefix) is int:
        return [prefix] * treedef.num_leaves
    return _spread(what, *flatten(prefix, _is_none), treedef)


def _is_none(x: Any) -> bool:
    return x is None


def _spread(what: str, leaves: list[Any], prefix: PyTreeDef, treedef: PyTreeDef) -> list[Any]:
    """The leaves of a prefix, each as often as `treedef` has leaves below it."""
    if prefix == treedef:
        return leaves
    counts: list[int] = []
    if _count_below(prefix, treedef, counts):
        return [leaf for leaf, n in zip(leaves, counts, strict=True) for _ in range(n)]
    found = _first_mismatch(prefix, treedef, prefix=True)
    assert found is not None
    got, expected = _describe_both(found.expected, found.got)
    raise TreeError(
        f"{what}: must be a prefix of the tree it belongs to, got {got} for {expected} "
        f"at {_where(found.path)}; the prefix is {_text(prefix)}, the tree is {_text(treedef)}"
    )


def _count_below(prefix: PyTreeDef, treedef: PyTreeDef, counts: list[int]) -> bool:
    """Collect how many leaves each leaf of `prefix` covers. False if it is no prefix."""
    if prefix.is_leaf():
        counts.append(treedef.num_leaves)
        return True
    return prefix.one_level() == treedef.one_level() and builtins.all(
        _count_below(below, subtree, counts)
        for below, subtree in zip(prefix.children(), treedef.children(), strict=True)
    )


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees with these structures."""
    return optree.treespec_tuple(treedefs, namespace=_NAMESPACE)


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the subtrees just below the root."""
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether nothing stands below the root: a leaf, or as in JAX an empty container or None."""
    return treedef.num_nodes == 1


# With paths


def flatten_with_path(
    tree: Any, is_leaf: IsLeaf = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """As `flatten`, with `(path, leaf)` for each leaf.

    With `is_leaf_takes_path`, it is called as `is_leaf(path, node)`.
    """
    pairs: list[tuple[KeyPath, Any]] = []
    verdicts: list[bool] = []

    def visit(path: KeyPath, node: Any) -> None:
        children = None
        if is_leaf is not None:
            verdicts.append(bool(is_leaf(path, node) if is_leaf_takes_path else is_leaf(node)))
        if is_leaf is None or not verdicts[-1]:
            children = _keyed_children(node)
        if children is None:
            pairs.append((path, node))
        else:
            for key, child in children:
                visit((*path, key), child)

    visit((), tree)
    if is_leaf is None:
        return pairs, structure(tree)
    # optree asks in the same order, so the verdicts are replayed instead of asking twice.
    replay = iter(verdicts)
    return pairs, structure(tree, lambda _: next(replay))


def leaves_with_path(
    tree: Any, is_leaf: IsLeaf = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The `(path, leaf)` of each leaf of `tree`, from left to right."""
    return flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: IsLeaf = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """As `map`, but `f` receives the path of the leaf first."""
    pairs, treedef = flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    others = [
        _flatten_up_to(treedef, other, "tree.map_with_path: trees must match the first")
        for other in rest
    ]
    return treedef.unflatten(
        f(path, leaf, *xs) for (path, leaf), *xs in zip(pairs, *others, strict=True)
    )


def _keyed_children(node: Any) -> list[tuple[KeyEntry, Any]] | None:
    """The children of `node` with their keys; None of a leaf."""
    if optree.tree_is_leaf(node, namespace=_NAMESPACE):
        return None
    children, one_level = flatten(node, lambda x: x is not node)
    with_keys = _FLATTEN_WITH_KEYS.get(type(node))
    if with_keys is not None:
        return list(with_keys(node)[0])
    return list(zip(_keys(one_level), children, strict=True))


def _keys(treedef: PyTreeDef) -> list[KeyEntry]:
    """The keys of the children of the root."""
    entries = treedef.entries()
    match treedef.kind:
        case _Kind.DICT | _Kind.ORDEREDDICT | _Kind.DEFAULTDICT:
            return [DictKey(entry) for entry in entries]
        case _Kind.NAMEDTUPLE:
            return [GetAttrKey(field) for field in treedef.type._fields]  # type: ignore[union-attr]
        case _Kind.CUSTOM:
            return [
                entry if isinstance(entry, _ENTRIES) else FlattenedIndexKey(i)
                for i, entry in enumerate(entries)
            ]
    return [SequenceKey(i) for i in range(len(entries))]


# Mismatches


class _Mismatch(NamedTuple):
    path: KeyPath
    expected: PyTreeDef
    got: PyTreeDef
    offset: int  # how many leaves of `got` come before


def describe_mismatch(expected: Any, got: Any, *, prefix: bool = False) -> str:
    """Where two trees or structures first differ; "" if nowhere.

    With `prefix`, whatever stands in place of a leaf of `expected` agrees with it.

    >>> describe_mismatch({"a": [1, 2]}, {"a": (1, 2)})
    "expected list of length 2 at ['a'], got tuple of length 2"
    """
    found = _first_mismatch(_structure_of(expected), _structure_of(got), prefix=prefix)
    if found is None:
        return ""
    there, here = _describe_both(found.expected, found.got)
    if found.got.is_leaf() and not isinstance(got, PyTreeDef):
        here = f"leaf of type {type(leaves(got)[found.offset]).__name__}"
    return f"expected {there} at {_where(found.path)}, got {here}"


def _first_mismatch(
    expected: PyTreeDef,
    got: PyTreeDef,
    *,
    prefix: bool,
    path: KeyPath = (),
    offset: int = 0,
) -> _Mismatch | None:
    if expected.is_leaf():
        return None if prefix or got.is_leaf() else _Mismatch(path, expected, got, offset)
    if expected.one_level() != got.one_level():
        return _Mismatch(path, expected, got, offset)
    for key, below, there in zip(_keys(expected), expected.children(), got.children(), strict=True):
        found = _first_mismatch(below, there, prefix=prefix, path=(*path, key), offset=offset)
        if found is not None:
            return found
        offset += there.num_leaves
    return None


def _flatten_up_to(treedef: PyTreeDef, tree: Any, rule: str) -> list[Any]:
    """What stands in `tree` at each leaf of `treedef`. Raises: TreeError, saying `rule`."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError:
        mismatch = describe_mismatch(treedef, tree, prefix=True)
        if not mismatch:
            raise  # a registered class failed to flatten
        raise TreeError(
            f"{rule}, {mismatch}; "
            f"the first is {_text(treedef)}, the other is {_text(structure(tree))}"
        ) from None


def _structure_of(tree_or_treedef: Any) -> PyTreeDef:
    is_treedef = isinstance(tree_or_treedef, PyTreeDef)
    return tree_or_treedef if is_treedef else structure(tree_or_treedef)


def _where(path: KeyPath) -> str:
    return keystr(path) or "the root"


def _text(treedef: PyTreeDef, limit: int = 300) -> str:
    """The structure as JAX prints it, cut to `limit` characters."""
    text = str(treedef).replace("PyTreeSpec(", "PyTreeDef(", 1)
    text = text.replace(f", namespace={_NAMESPACE!r})", ")").replace(
        "CustomTreeNode(", "CustomNode("
    )
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _describe_both(a: PyTreeDef, b: PyTreeDef) -> tuple[str, str]:
    """The roots in words, or in full where the words do not tell them apart."""
    if _describe(a) != _describe(b):
        return _describe(a), _describe(b)
    return _text(a.one_level() or a), _text(b.one_level() or b)


def _describe(treedef: PyTreeDef) -> str:
    if treedef.is_leaf():
        return "leaf"
    class_name = treedef.type.__name__ if treedef.type is not None else ""
    match treedef.kind:
        case _Kind.NONE:
            return "None"
        case _Kind.DICT | _Kind.ORDEREDDICT | _Kind.DEFAULTDICT:
            return f"{class_name} with keys {treedef.entries()}"
        case _Kind.CUSTOM:
            return f"{class_name} with {treedef.num_children} children"
    return f"{class_name} of length {treedef.num_children}"


# Registration

Flatten: TypeAlias = Callable[[Any], tuple[Iterable[Any], Any]]
FlattenWithKeys: TypeAlias = Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Any]]
Unflatten: TypeAlias = Callable[[Any, Any], Any]
_FLATTEN_WITH_KEYS: dict[type, FlattenWithKeys] = {}


def register_pytree_node(
    nodetype: type,
    flatten_func: Flatten,
    unflatten_func: Unflatten,
    flatten_with_keys_func: FlattenWithKeys | None = None,
) -> None:
    """Make `nodetype` a container.

    `flatten_func(node)` gives the children and whatever else the node holds, which must be hashable
    and comparable; `unflatten_func(rest, children)` makes a node of them. Children may be any
    objects there, not only arrays. `flatten_with_keys_func` gives `(key, child)` for each child.
    Raises: TreeError when the class is registered already.
    """
    _register(nodetype, flatten_func, unflatten_func)
    if flatten_with_keys_func is not None:
        _FLATTEN_WITH_KEYS[nodetype] = flatten_with_keys_func


def _register(
    nodetype: type, flatten_func: Callable[[Any], tuple[Any, ...]], unflatten_func: Unflatten
) -> None:
    try:
        optree.register_pytree_node(nodetype, flatten_func, unflatten_func, namespace=_NAMESPACE)
    except ValueError:
        name = nodetype.__name__
        raise TreeError(f"register_pytree_node: once for each class, got {name} again") from None


def registration(nodetype: type) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """How instances of a registered class are taken apart and put together; None for others."""
    found = optree.register_pytree_node.get(nodetype, namespace=_NAMESPACE)
    return None if found is None else (found.flatten_func, found.unflatten_func)


def register_pytree_node_class(cls: _Class) -> _Class:
    """Decorator: register a class by its `tree_flatten()` and its classmethod `tree_unflatten`."""
    register_pytree_node(cls, operator.methodcaller("tree_flatten"), cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: FlattenWithKeys,
    unflatten_func: Unflatten,
    flatten_func: Flatten | None = None,
) -> None:
    """As `register_pytree_node`, of a class that names its children.

    `flatten_func`, when given, serves wherever keys are not asked for, and is to be faster.
    """

    def flatten_func_of_keys(node: Any) -> tuple[Any, ...]:
        pairs, rest = flatten_with_keys(node)
        pairs = list(pairs)
        return [child for _, child in pairs], rest, tuple(key for key, _ in pairs)

    _register(nodetype, flatten_func or flatten_func_of_keys, unflatten_func)
    _FLATTEN_WITH_KEYS[nodetype] = flatten_with_keys


def register_pytree_with_keys_class(cls: _Class) -> _Class:
    """Decorator: register by `tree_flatten_with_keys()`, `tree_unflatten`, maybe `tree_flatten`."""
    plain = operator.methodcaller("tree_flatten") if hasattr(cls, "tree_flatten") else None
    with_keys = operator.methodcaller("tree_flatten_with_keys")
    register_pytree_with_keys(cls, with_keys, cls.tree_unflatten, plain)  # type: ignore[attr-defined]
    return cls


def register_static(cls: _Class) -> _Class:
    """Decorator: make instances, which must be hashable, part of the structure, without leaves."""
    _register(cls, lambda node: ((), node), lambda node, _: node)
    return cls


def static(**kwargs: Any) -> Any:
    """A dataclass field that belongs to the structure; arguments as of `dataclasses.field`."""
    metadata = {**kwargs.pop("metadata", {}), "static": True}
    return dataclasses.field(metadata=metadata, **kwargs)


def register_dataclass(
    nodetype: _Class,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> _Class:
    """Make a dataclass a container of its `data_fields`; also usable as a decorator.

    `meta_fields` belong to the structure and must be hashable. Without both, a field is meta when
    it is `static()`, else data. A node is rebuilt by its constructor, from all but `drop_fields`.
    Raises: TreeError unless the fields are just those that the constructor takes.
    """
    what = f"register_dataclass({nodetype.__name__})"
    fields = dataclasses.fields(nodetype) if dataclasses.is_dataclass(nodetype) else None
    if (data_fields is None) != (meta_fields is None):
        raise ArgumentError(f"{what}: data_fields and meta_fields go together, got only one")
    if data_fields is None or meta_fields is None:
        if fields is None:
            raise ArgumentError(f"{what}: must be a dataclass, unless its fields are given")
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
        data_fields = [f.name for f in fields if f.name not in (*meta_fields, *drop_fields)]
    if fields is not None:
        given = sorted((*data_fields, *meta_fields))
        wanted = sorted(f.name for f in fields if f.init and f.name not in drop_fields)
        if given != wanted:
            raise TreeError(
                f"{what}: data_fields and meta_fields must be the fields that the constructor "
                f"takes, each once, got {given}, not {wanted}; "
                f"drop_fields may name some to leave out"
            )
    _register_fields(nodetype, tuple(data_fields), tuple(meta_fields))
    return nodetype


def _register_fields(cls: type, data_fields: tuple[str, ...], meta_fields: tuple[str, ...]) -> None:
    data_of, meta_of = _getter(data_fields), _getter(meta_fields)
    keys = tuple(GetAttrKey(field) for field in data_fields)
    fields = (*data_fields, *meta_fields)

    def flatten_func(node: Any) -> tuple[Any, ...]:
        return data_of(node), meta_of(node), keys

    def unflatten_func(meta: tuple[Any, ...], data: Iterable[Any]) -> Any:
        return cls(**dict(zip(fields, (*data, *meta), strict=True)))

    _register(cls, flatten_func, unflatten_func)


def _getter(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads these attributes into a tuple."""
    if not fields:
        return lambda _: ()
    if len(fields) == 1:
        read = operator.attrgetter(fields[0])
        return lambda node: (read(node),)
    return operator.attrgetter(*fields)


# Functions as trees


@dataclasses.dataclass(frozen=True, slots=True)
class _Opaque:
    """A `functools.partial` within a Partial: wrapped, or Python would merge the two."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class Partial(functools.partial[Any]):
    """`functools.partial` as a tree: the bound arguments are its children, the function is static.

    >>> leaves(Partial(max, 1.0, default=2.0))
    [1.0, 2.0]
    """

    def __new__(cls, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Partial:
        inner = _Opaque(func) if isinstance(func, functools.partial) else func
        return super().__new__(cls, inner, *args, **kwargs)


_register(
    Partial,
    lambda node: ((node.args, node.keywords), node.func),
    lambda func, bound: Partial(func, *bound[0], **bound[1]),
)
