"""Layers: what a network is made of, apart from its numbers.

A layer is a frozen dataclass of hyperparameters. Its numbers are pytrees beside it: `params`, which
are trained, and `state`, such as running means, both nested dicts with the names of the layers in
them. `init` makes them for inputs of some shapes; `apply` maps them and inputs to outputs and the
state afterwards. Both are pure functions.

A layer of one's own gives `forward`, for its parameters and its sublayers:

>>> import fstensor as fst
>>> from fstensor import nn
>>> class Classifier(nn.Layer):
...     hidden: nn.Linear = nn.Linear(32)
...     out: nn.Linear = nn.Linear(10)
...
...     def forward(self, net, x):
...         return net.out(nn.relu(net.hidden(x)))
>>> model = Classifier()
>>> params, state = model.init(fst.random.key(0), fst.ShapeDtypeStruct((8, 64), "float32"))
>>> fst.tree.map(lambda p: p.shape, params["hidden"])
{'kernel': (64, 32), 'bias': (32,)}
>>> model(params, fst.numpy.ones((8, 64))).shape
(8, 10)
"""

from __future__ import annotations

import dataclasses
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias, dataclass_transform, final

from fstensor import dtypes, random, tree
from fstensor.array import Array, DtypeLike
from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr, dce
from fstensor.errors import ArgumentError, ShapeError, TreeError
from fstensor.transforms.make_jaxpr import make_jaxpr

Params: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]
# What makes the first value of a parameter, of a key, a shape and a dtype.
Initializer: TypeAlias = Callable[[Array, tuple[int, ...], DtypeLike], Array]

# Where it is set, it runs layers: it gets each one, the path within its root, and what runs it.
watching: ContextVar[Callable[[Layer, str, Callable[[], Any]], Any] | None] = ContextVar(
    "watching", default=None
)


@dataclass_transform(frozen_default=True)
class Layer(ABC):
    """A part of a network. Subclasses become frozen dataclasses of their annotated fields."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        made: Any = dataclasses.dataclass(frozen=True)(cls)
        taken = [f.name for f in dataclasses.fields(made) if hasattr(Net, f.name)]
        if taken:
            raise ArgumentError(
                f"{cls.__name__}: a field cannot be named {taken[0]!r}, which means something else "
                "in forward; choose another name"
            )

    @abstractmethod
    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        """The outputs. `net` has the parameters, the state, and the sublayers by their names."""

    def init(self, key: Array, *inputs: Any, **options: Any) -> tuple[Params, State]:
        """Parameters and state for inputs like these.

        key: random; each parameter draws from a key of its own, made of `key` and its name.
        inputs: arrays or `ShapeDtypeStruct`s, or trees of them, of which shapes and dtypes count.
        options: keyword arguments of `forward`.
        Nothing is computed but the parameters. Raises: what `forward` raises for such inputs.
        """

        def traced(key: Array, *inputs: Any) -> tuple[Params, State]:
            return made(self, key, *inputs, **options)[:2]

        return _without_inputs(traced, key, inputs)

    def apply(
        self,
        params: Params,
        state: State,
        *inputs: Any,
        key: Array | None = None,
        train: bool = False,
        **options: Any,
    ) -> tuple[Any, State]:
        """The outputs, and the state afterwards.

        key: random, for layers such as Dropout while training. train: whether layers behave as in
        training: they drop, and normalize by the batch at hand.
        Raises: TreeError for parameters or state that lack something, ShapeError for those of other
            shapes, ArgumentError when a key is needed.
        """
        return applied(self, params, state, *inputs, key=key, train=train, **options)

    def __call__(
        self,
        params: Params,
        *inputs: Any,
        key: Array | None = None,
        train: bool = False,
        **options: Any,
    ) -> Any:
        """The outputs, of a layer that has no state. Raises: as `apply`; TreeError if it has."""
        return applied(self, params, None, *inputs, key=key, train=train, **options)[0]


def _without_inputs(
    traced: Callable[..., tuple[Params, State]], key: Array, inputs: Sequence[Any]
) -> tuple[Params, State]:
    """What a function of a key and inputs gives that depends on the inputs' shapes alone."""
    closed, shapes = make_jaxpr(traced, return_shape=True)(key, *inputs)
    needed = dce(closed.jaxpr)
    first, *others = needed.invars
    read = {a for e in needed.eqns for a in e.invars} | set(needed.outvars)
    if read & set(others):
        raise ArgumentError(
            "init: parameters and state must not depend on the values of inputs; "
            "make them of shapes and random keys"
        )
    alone = Jaxpr(needed.constvars, [first], needed.outvars, needed.eqns, needed.debug_info)
    leaves = ClosedJaxpr(alone, closed.consts).as_function()(key)
    made: tuple[Params, State] = tree.unflatten(tree.structure(shapes), leaves)
    return made


@final
class Net:
    """A layer while it runs: its parameters, its state, random keys, and its sublayers by name.

    `net.hidden(x)` runs the sublayer in the field `hidden`; of a field that holds several,
    `net.blocks[i](x)` runs one. A sublayer that runs twice has its parameters once.
    training: whether layers behave as in training. making: whether there are no parameters yet.
    """

    def __init__(
        self,
        layer: Layer,
        *,
        params: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        key: Array | None = None,
        train: bool = False,
        making: bool = False,
        path: str = "",
        root: Net | None = None,
    ) -> None:
        self.training = train
        self.making = making
        self._layer = layer
        self._params = {} if params is None else params
        self._state = state
        self._key = key
        self._path = path
        self._root = self if root is None else root
        self._made: Params = {}
        self._changed: State = {}
        self._children: dict[str, Net] = {}
        self._keys = 0

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        watch = watching.get()
        if watch is None:
            return self._layer.forward(self, *inputs, **options)
        return watch(self._layer, self._path, lambda: self._layer.forward(self, *inputs, **options))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._layer, name, None)
        if isinstance(value, Layer):
            return self.child(name, value)
        if isinstance(value, (tuple, list)) and any(isinstance(v, Layer) for v in value):
            return [self.child(f"{name}{i}", v) for i, v in enumerate(value)]
        raise AttributeError(f"{type(self._layer).__name__} has no sublayer {name!r}")

    def child(self, name: str, layer: Layer) -> Net:
        """The sublayer of a name, ready to run; its parameters and state go by that name."""
        found = self._children.get(name)
        if found is None:
            if name in self._made:
                raise ArgumentError(
                    f"{self._here()}: a parameter and a sublayer are named {name!r}"
                )
            found = self._children[name] = Net(
                layer,
                params=self._params.get(name, {}),
                state=None if self._state is None else self._state.get(name, {}),
                key=None if self._key is None else _named_key(self._key, name),
                train=self.training,
                making=self.making,
                path=f"{self._path}/{name}" if self._path else name,
                root=self._root,
            )
        return found

    def shared(self, name: str, layer: Layer) -> Net:
        """The layer of a name that is the same for all who ask, wherever they are in the network.

        Its parameters and state stand at the root, within "shared".
        """
        return self._root.child("shared", _Nothing()).child(name, layer)

    def param(
        self, name: str, init: Initializer, shape: Sequence[int], dtype: DtypeLike = None
    ) -> Array:
        """A parameter. When there are none yet, `init` makes it.

        dtype: of the one that is made; the default float for None. A given one may have any dtype.
        Raises: TreeError where there is none of this name, ShapeError where it has another shape.
        """
        shape = tuple(shape)
        if self.making:
            if name not in self._made:
                assert self._key is not None
                kind = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
                self._made[name] = init(_named_key(self._key, name), shape, kind)
            value: Array = self._made[name]
            return value
        found: Array | None = self._params.get(name)
        if found is None:
            there = ", ".join(map(repr, self._params)) or "none"
            raise TreeError(f"{self._here()}: params must have {name!r}, got {there}")
        if found.shape != shape:
            raise ShapeError(
                f"{self._here()}: {name} must have shape {shape} for these inputs, got {found.aval}"
            )
        return found

    def variable(self, name: str, make: Callable[[], Array]) -> Array:
        """A part of the state. When there is none yet, `make` makes it."""
        if self.making:
            if name not in self._changed:
                self._changed[name] = make()
            value: Array = self._changed[name]
            return value
        if self._state is None:
            raise TreeError(
                f"{self._here()}: it has state, so call apply(params, state, ...), which gives the "
                "outputs and the state afterwards"
            )
        found: Array | None = self._changed.get(name, self._state.get(name))
        if found is None:
            there = ", ".join(map(repr, self._state)) or "none"
            raise TreeError(f"{self._here()}: state must have {name!r}, got {there}")
        return found

    def assign(self, name: str, value: Array) -> None:
        """Give a part of the state a new value. While it is made, it keeps its first one."""
        if not self.making:
            self._changed[name] = value

    def bundle(
        self, name: str, make: Callable[[Array], tuple[Params, State]]
    ) -> tuple[Params, State | None]:
        """Parameters and state by a name, for a layer that runs what they belong to itself.

        make: makes them of a key when there are none yet. State is None where none was given.
        """
        if self.making and name not in self._made:
            assert self._key is not None
            self._made[name], self._changed[name] = make(_named_key(self._key, name))
        params = (self._made if self.making else self._params).get(name, {})
        given = self._state if self._state is None else self._state.get(name, {})
        return params, self._changed.get(name, given)

    def random_keys(self, count: int) -> Array | None:
        """Random keys, or None when none was given."""
        return None if self._key is None else random.split(self.random_key(), count)

    def random_key(self) -> Array:
        """A random key, another one each time. Raises: ArgumentError when none was given."""
        if self._key is None:
            raise ArgumentError(
                f"{self._here()}: needs random numbers while training; pass key=..., a random key"
            )
        self._keys += 1
        return random.fold_in(_named_key(self._key, "random"), self._keys)

    def made(self) -> tuple[Params, State]:
        """The parameters and the state that were made; layers without any are left out."""
        params = {k: v for k, v in self._made.items() if v != {}}
        state = {k: v for k, v in self._changed.items() if v != {}}
        for name, child in self._children.items():
            of_params, of_state = child.made()
            if of_params:
                params[name] = of_params
            if of_state:
                state[name] = of_state
        return params, state

    def state_afterwards(self) -> State:
        """The state that was given, with what has changed."""
        state = {**(self._state or {}), **self._changed}
        for name, child in self._children.items():
            after = child.state_afterwards()
            if after:
                state[name] = after
        return state

    def _here(self) -> str:
        """For messages: the layer, and where it stands."""
        kind = type(self._layer).__name__
        return f"{kind} at {self._path}" if self._path else kind


def _named_key(key: Array, name: str) -> Array:
    return random.fold_in(key, zlib.crc32(name.encode()))


@final
class _Nothing(Layer):
    """What shared layers stand in."""

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError("it only holds others")


def made(layer: Layer, key: Array, *inputs: Any, **options: Any) -> tuple[Params, State, Any]:
    """Within `forward`: the parameters, the state and the outputs of a layer that is made."""
    net = Net(layer, making=True, key=key)
    outputs = layer.forward(net, *inputs, **options)
    return *net.made(), outputs


def applied(
    layer: Layer,
    params: Params,
    state: State | None,
    *inputs: Any,
    key: Array | None,
    train: bool,
    **options: Any,
) -> tuple[Any, State]:
    """As `Layer.apply`, where there may be no state."""
    net = Net(layer, params=params, state=state, key=key, train=train)
    return net(*inputs, **options), net.state_afterwards()
