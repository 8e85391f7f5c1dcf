"""Layers made of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from fstensor import lax, random
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.nn.layer import Layer, Net, Params, State, applied, made
from fstensor.transforms.checkpoint import checkpoint
from fstensor.transforms.vmap import vmap


@final
class Lambda(Layer):
    """A function of the inputs, as a layer without parameters."""

    function: Callable[..., Any]

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        return self.function(*inputs, **options)


@final
class Identity(Layer):
    """The input itself."""

    def forward(self, net: Net, x: Any) -> Any:
        return x


@final
class Sequential(Layer):
    """Layers one after the other, each of the outputs of the one before.

    `Sequential(a, b)` names them "0" and "1"; `Sequential(hidden=a, out=b)` as it says. Functions
    are layers without parameters, as in `Sequential(Linear(8), relu, Linear(2))`.
    Shapes: those of the layers. Raises: ArgumentError for what is no layer and no function.
    """

    layers: tuple[tuple[str, Layer], ...]

    def __init__(self, *layers: Any, **named: Any) -> None:
        numbered = [(str(n), layer) for n, layer in enumerate(layers)]
        found = [(name, as_layer(x)) for name, x in (*numbered, *named.items())]
        object.__setattr__(self, "layers", tuple(found))

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        if not self.layers:
            return inputs[0] if len(inputs) == 1 else inputs
        (name, first), *others = self.layers
        x = net.child(name, first)(*inputs, **options)
        for name, layer in others:
            x = net.child(name, layer)(x)
        return x


def as_layer(x: Any) -> Layer:
    """A layer itself; a function as one. Raises: ArgumentError for anything else."""
    if isinstance(x, Layer):
        return x
    if not callable(x) or isinstance(x, type):
        raise ArgumentError(f"Sequential: takes layers and functions, got {x!r}")
    return Lambda(x)


@final
class Parallel(Layer):
    """Layers side by side, all of the same inputs; the outputs as a tuple, or combined.

    combine: a function of all outputs, such as `lambda *ys: concatenate(ys, -1)`.
    """

    layers: tuple[tuple[str, Layer], ...]
    combine: Callable[..., Any] | None

    def __init__(
        self, *layers: Any, combine: Callable[..., Any] | None = None, **named: Any
    ) -> None:
        numbered = [(str(n), layer) for n, layer in enumerate(layers)]
        found = [(name, as_layer(x)) for name, x in (*numbered, *named.items())]
        object.__setattr__(self, "layers", tuple(found))
        object.__setattr__(self, "combine", combine)

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        outs = [net.child(name, layer)(*inputs, **options) for name, layer in self.layers]
        return tuple(outs) if self.combine is None else self.combine(*outs)


@final
class Residual(Layer):
    """x + layer(x) (He et al., 2016, eq. 1).

    shortcut: a layer for the first x, where shapes ask for one.
    """

    layer: Layer
    shortcut: Layer | None = None

    def forward(self, net: Net, x: Any, **options: Any) -> Any:
        y = net.layer(x, **options)
        return (x if self.shortcut is None else net.shortcut(x)) + y


@final
class Repeat(Layer):
    """A layer `times` times, each time with parameters of its own, as one loop.

    Parameters and state have a leading axis of that size, along which `scan` runs: the program is
    as long as that of one layer. Shapes: the layer's outputs are as its first input; further inputs
    go to each of them. Raises: OptionError for less than one time.
    """

    layer: Layer
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise OptionError(f"Repeat: must be at least once, got {self.times}")

    def forward(self, net: Net, x: Any, *others: Any, **options: Any) -> Any:
        if net.making:
            return self._made(net, x, *others, **options)
        params, state = net.bundle("layer", lambda key: ({}, {}))
        keys = net.random_keys(self.times)

        def step(x: Any, one: Any) -> tuple[Any, Any]:
            params, state, key = one
            return applied(
                self.layer, params, state, x, *others, key=key, train=net.training, **options
            )

        x, after = lax.scan(step, x, (params, state, keys), length=self.times)
        if state:
            net.assign("layer", after)
        return x

    def _made(self, net: Net, *inputs: Any, **options: Any) -> Any:
        def one(key: Array) -> tuple[Params, State]:
            return made(self.layer, key, *inputs, **options)[:2]

        net.bundle("layer", lambda key: vmap(one)(random.split(key, self.times)))
        # For its shape: what comes after may ask.
        return made(self.layer, random.key(0), *inputs, **options)[2]


@final
class Checkpoint(Layer):
    """A layer of which the backward pass computes anew what is within, rather than keeping it.

    See `fstensor.checkpoint`, whose `policy` says what is kept all the same; nothing for None.
    Outputs, gradients and state are those of the layer, and random masks are drawn again the same.
    """

    layer: Layer
    policy: Callable[..., bool] | None = None

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        if net.making:
            return net.layer(*inputs, **options)
        params, state = net.bundle("layer", lambda key: ({}, {}))
        keys = net.random_keys(1)

        # All that it takes and gives goes through arguments and results: so it can run twice.
        def run(params: Params, state: State | None, keys: Array | None, *inputs: Any) -> Any:
            key = None if keys is None else keys[0]
            return applied(
                self.layer, params, state, *inputs, key=key, train=net.training, **options
            )

        outputs, after = checkpoint(run, policy=self.policy)(params, state, keys, *inputs)
        if after:
            net.assign("layer", after)
        return outputs


@final
class Shared(Layer):
    """A layer that stands in several places of a network, with the same parameters in each.

    All that have one name, within the layer whose `init` is called, are one. Its parameters are
    in `params["shared"][name]`.
    """

    name: str
    layer: Layer

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        return net.shared(self.name, self.layer)(*inputs, **options)
