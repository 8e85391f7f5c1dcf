"""Layers that normalize, what passes through them or the weights of another layer.

The functions with their equations are in `fstensor.nn.norms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import numpy as fnp
from fstensor import random
from fstensor.array import Array
from fstensor.errors import TreeError
from fstensor.nn import initializers, norms
from fstensor.nn.layer import Initializer, Layer, Net, Params, applied, made


def _affine(
    net: Net,
    layer: LayerNorm | InstanceNorm | GroupNorm | BatchNorm,
    shape: Sequence[int],
) -> tuple[Array | None, Array | None]:
    """The scale and the bias of a layer that may have them."""
    if not layer.affine:
        return None, None
    scale = net.param("scale", layer.scale_init, shape)
    if isinstance(layer, (LayerNorm, GroupNorm)) and not layer.bias:
        return scale, None
    return scale, net.param("bias", layer.bias_init, shape)


def _running(net: Net, channels: int) -> tuple[Array, Array]:
    """The running means and variances in the state."""
    mean = net.variable("mean", lambda: fnp.zeros(channels))
    return mean, net.variable("var", lambda: fnp.ones(channels))


@final
class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over `axis` (Ba et al., 2016).

    affine: whether there is a scale; and a bias, unless `bias` is false.
    Shapes: any; scale and bias have those of x along `axis`. Nothing is shared between examples as
    long as `axis` leaves out theirs.
    """

    axis: int | tuple[int, ...] = -1
    epsilon: float = 1e-5
    affine: bool = True
    scale_init: Initializer = initializers.ones
    bias_init: Initializer = initializers.zeros
    bias: bool = True

    def forward(self, net: Net, x: Array) -> Array:
        axes = norms.axes_of("LayerNorm", self.axis, x.ndim)
        scale, bias = _affine(net, self, [x.shape[a] for a in axes])
        return norms.layer_norm(x, scale, bias, axis=axes, epsilon=self.epsilon)


@final
class RMSNorm(Layer):
    """x / sqrt(mean(x^2) + epsilon) * scale, over `axis` (Zhang and Sennrich, 2019, eq. 4).

    epsilon: the distance from 1 to the next number of the dtype for None.
    Shapes: any; scale has that of x along `axis`.
    """

    axis: int | tuple[int, ...] = -1
    epsilon: float | None = None
    affine: bool = True
    scale_init: Initializer = initializers.ones

    def forward(self, net: Net, x: Array) -> Array:
        axes = norms.axes_of("RMSNorm", self.axis, x.ndim)
        shape = [x.shape[a] for a in axes]
        scale = net.param("scale", self.scale_init, shape) if self.affine else None
        return norms.rms_norm(x, scale, axis=axes, epsilon=self.epsilon)


@final
class InstanceNorm(Layer):
    """Standardize each channel of each example (Ulyanov et al., 2016, eq. 4).

    track_running_stats: while training, the means over examples of their means and variances (with
    n - 1) move the running ones, as in `BatchNorm`; otherwise the running ones are used instead.
    Shapes: x (n, ..., channels), with the axis of channels in `axis`.
    """

    epsilon: float = 1e-5
    axis: int = -1
    affine: bool = False
    scale_init: Initializer = initializers.ones
    bias_init: Initializer = initializers.zeros
    momentum: float = 0.9
    track_running_stats: bool = False

    def forward(self, net: Net, x: Array) -> Array:
        (at,) = norms.axes_of("InstanceNorm", self.axis, x.ndim)
        scale, bias = _affine(net, self, (x.shape[at],))
        if self.track_running_stats:
            mean, var = _running(net, x.shape[at])
            if not net.training and not net.making:
                return norms.batch_norm(x, mean, var, scale, bias, epsilon=self.epsilon, axis=at)[0]
            if net.training:
                axes = tuple(a for a in range(1, x.ndim) if a != at)
                n = math.prod(x.shape[a] for a in axes)
                wide = x.astype(fnp.promote_types(x.dtype, "float32"))
                of_each = fnp.mean(wide, axes), fnp.var(wide, axes) * (n / max(n - 1, 1))
                for name, old, new in zip(("mean", "var"), (mean, var), of_each, strict=True):
                    net.assign(name, norms.moved(old, fnp.mean(new, 0), self.momentum))
        return norms.instance_norm(x, scale, bias, axis=at, epsilon=self.epsilon)


@final
class GroupNorm(Layer):
    """Standardize each group of neighboring channels of each example (Wu and He, 2018, eq. 7).

    affine, bias: as in `LayerNorm`.
    Shapes: x (n, ..., channels), with the axis of channels in `axis`.
    Raises: OptionError for groups that do not divide the channels.
    """

    groups: int
    epsilon: float = 1e-5
    axis: int = -1
    affine: bool = True
    scale_init: Initializer = initializers.ones
    bias_init: Initializer = initializers.zeros
    bias: bool = True

    def forward(self, net: Net, x: Array) -> Array:
        scale, bias = _affine(net, self, x.shape[self.axis :][:1])
        return norms.group_norm(x, self.groups, scale, bias, axis=self.axis, epsilon=self.epsilon)


@final
class LocalResponseNorm(Layer):
    """x / (k + alpha * mean of the squares of `size` channels around)^beta.

    As `nn.local_response_norm`, with PyTorch's alpha. Shapes: any.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    axis: int = -1

    def forward(self, net: Net, x: Array) -> Array:
        return norms.local_response_norm(
            x, self.size, self.alpha, self.beta, self.k, axis=self.axis
        )


@final
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel.

    While training, mean and variance are those of the batch, over all axes but that of channels,
    and the running ones move towards them: running = momentum * running + (1 - momentum) * new,
    with the variance divided by n - 1 as PyTorch does. Otherwise the running ones are used (Ioffe
    and Szegedy, 2015).
    axis_name: of a mapped axis, such as that of `vmap`, over which batches are taken together.
    track_running_stats: without, there is no state, and it is always as while training.
    Shapes: x (..., channels), with the axis of channels in `axis`.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis: int = -1
    affine: bool = True
    axis_name: str | tuple[str, ...] | None = None
    scale_init: Initializer = initializers.ones
    bias_init: Initializer = initializers.zeros
    track_running_stats: bool = True

    def forward(self, net: Net, x: Array) -> Array:
        (at,) = norms.axes_of("BatchNorm", self.axis, x.ndim)
        channels = x.shape[at]
        mean, var = _running(net, channels) if self.track_running_stats else (None, None)
        scale, bias = _affine(net, self, (channels,))
        y, mean_after, var_after = norms.batch_norm(
            x,
            mean,
            var,
            scale,
            bias,
            train=net.training and not net.making,
            momentum=self.momentum,
            epsilon=self.epsilon,
            axis=at,
            # What is made needs no mapped axis around.
            axis_name=None if net.making else self.axis_name,
        )
        if net.training and mean_after is not None and var_after is not None:
            net.assign("mean", mean_after)
            net.assign("var", var_after)
        return y


@final
class WeightNorm(Layer):
    """A layer with a weight of `magnitude` times the direction of its parameter `name`.

    (Salimans and Kingma, 2016, eq. 2.) At first the weight is as that of the layer alone.
    axis: along which the weight has magnitudes of its own; that of outputs for -1.
    Shapes: those of the layer. Raises: TreeError for a layer without such a parameter.
    """

    layer: Layer
    name: str = "kernel"
    axis: int | tuple[int, ...] = -1

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        def weight(direction: Array) -> Array:
            axes = norms.axes_of("WeightNorm", self.axis, direction.ndim)
            magnitude = net.param(
                "magnitude",
                lambda key, shape, dtype: norms.weight_magnitude(direction, axes).astype(dtype),
                [direction.shape[a] for a in axes],
            )
            return norms.weight_norm(direction, magnitude, axis=axes)

        return _with_weight(net, self.layer, self.name, weight, inputs, options)


@final
class SpectralNorm(Layer):
    """A layer with its parameter `name` divided by the largest singular value of that.

    (Miyato et al., 2018, algorithm 1.) The state has what power iteration found, u and v, and while
    training each run iterates `steps` times more; otherwise they are used as they are.
    axis: of the rows of the matrix; outputs for -1.
    Shapes: those of the layer. Raises: TreeError for a layer without such a parameter.
    """

    layer: Layer
    name: str = "kernel"
    steps: int = 1
    epsilon: float = 1e-12
    axis: int = -1

    def forward(self, net: Net, *inputs: Any, **options: Any) -> Any:
        def weight(raw: Array) -> Array:
            first = self._first(net.random_key(), raw) if net.making else []
            u = net.variable("u", lambda: first[0])
            v = net.variable("v", lambda: first[1])
            divided, u, v = norms.spectral_norm(
                raw,
                u,
                v,
                steps=self.steps if net.training else 0,
                epsilon=self.epsilon,
                axis=self.axis,
            )
            if net.training:
                net.assign("u", u)
                net.assign("v", v)
            return divided

        return _with_weight(net, self.layer, self.name, weight, inputs, options)

    def _first(self, key: Array, raw: Array) -> list[Array]:
        """u and v to begin with, after as many iterations as in PyTorch."""
        rows = raw.shape[self.axis]
        u, v = fnp.ones(rows, raw.dtype), random.normal(key, (raw.size // rows,), raw.dtype)
        found = norms.spectral_norm(raw, u, v, steps=15, epsilon=self.epsilon, axis=self.axis)
        return list(found[1:])


def _with_weight(
    net: Net,
    layer: Layer,
    name: str,
    weight: Callable[[Array], Array],
    inputs: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    """The outputs of a layer with a parameter in place of its own, made of that."""
    params, state = net.bundle("layer", lambda key: made(layer, key, *inputs, **options)[:2])
    if name not in params:
        there = ", ".join(map(repr, params)) or "none"
        raise TreeError(f"{type(layer).__name__}: params must have {name!r}, got {there}")
    changed: Params = {**params, name: weight(params[name])}
    if net.making:
        # For its shape: what comes after may ask.
        return made(layer, random.key(0), *inputs, **options)[2]
    keys = net.random_keys(1)
    key = None if keys is None else keys[0]
    after: Any
    outputs, after = applied(layer, changed, state, *inputs, key=key, train=net.training, **options)
    if after:
        net.assign("layer", after)
    return outputs
