"""Convolutions, pooling and resizing, and their gradients, as PyTorch computes them in float64.

Run with PyTorch from the root of the repository; writes tests/golden/conv.npz, pool.npz and
resize.npz. The cases are those of tests/nn/spatial_cases.py; arrays are laid out as there, and
gradients are those of the sum of the result times `values(its shape, 9)`. A file has `names`, such
as "1d/y:2 5 2" with the shape, and `values`, the elements of all arrays in that order.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.nn.spatial_cases import FAMILIES, values


def first(x):
    """Channels moved to the front."""
    return torch.movedim(x, -1, 1)


def last(x):
    return torch.movedim(x, 1, -1)


def conv(x, kernel, bias=None, padding=0, padding_mode="zeros", **options):
    rank = x.ndim - 2
    weight = kernel.permute(rank + 1, rank, *range(rank))
    if padding_mode == "zeros":
        function = getattr(F, f"conv{rank}d")
        return last(function(first(x), weight, bias, padding=padding, **options))
    layer = getattr(torch.nn, f"Conv{rank}d")(
        x.shape[-1],
        weight.shape[0],
        tuple(weight.shape[2:]),
        padding=padding,
        padding_mode=padding_mode,
        dtype=torch.float64,
        **options,
    )
    return last(torch.func.functional_call(layer, {"weight": weight, "bias": bias}, first(x)))


def conv_transpose(x, kernel, bias=None, groups=1, **options):
    rank = x.ndim - 2
    *window, inputs, features = kernel.shape
    split = kernel.reshape(*window, inputs, groups, features // groups)
    weight = split.permute(rank + 1, rank, rank + 2, *range(rank))
    weight = weight.reshape(groups * inputs, features // groups, *window)
    function = getattr(F, f"conv_transpose{rank}d")
    return last(function(first(x), weight, bias, groups=groups, **options))


def pool(name):
    def pooled(x, **options):
        rank = x.ndim - 2
        if name == "avg_pool" and rank == 1:
            options.pop("divisor_override", None)
        return last(getattr(F, f"{name}{rank}d")(first(x), **options))

    return pooled


def max_pool(name):
    def pooled(x, **options):
        function = getattr(F, f"{name}{x.ndim - 2}d")
        y, indices = function(first(x), return_indices=True, **options)
        return last(y), last(indices)

    return pooled


def interpolate(x, recompute_scale_factor=None, **options):
    return last(F.interpolate(first(x), recompute_scale_factor=recompute_scale_factor, **options))


def grid_sample(x, grid, **options):
    return last(F.grid_sample(first(x), grid, **options))


def affine_grid(theta, size, **options):
    return F.affine_grid(theta, [theta.shape[0], 1, *size], **options)


def pad(x, padding, mode="constant", value=0):
    if mode == "constant":
        flat = [n for pair in reversed(padding) for n in pair]
        return F.pad(x, flat, mode, value)
    flat = [n for pair in reversed(padding[1:-1]) for n in pair]
    return last(F.pad(first(x), flat, mode))


def moved(function):
    return lambda x, **options: last(function(first(x), **options))


FUNCTIONS = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "avg_pool": pool("avg_pool"),
    "lp_pool": pool("lp_pool"),
    "max_pool": max_pool("max_pool"),
    "adaptive_avg_pool": pool("adaptive_avg_pool"),
    "adaptive_max_pool": max_pool("adaptive_max_pool"),
    "interpolate": interpolate,
    "grid_sample": grid_sample,
    "affine_grid": affine_grid,
    "pad": pad,
    "pixel_shuffle": moved(F.pixel_shuffle),
    "pixel_unshuffle": moved(F.pixel_unshuffle),
    "channel_shuffle": moved(torch.nn.ChannelShuffle(2)),
    "unfold": lambda x, **options: F.unfold(first(x), **options).swapaxes(1, 2),
    "fold": lambda x, **options: last(F.fold(x.swapaxes(1, 2), **options)),
}


def results(case):
    """The result, indices if there are any, and the gradient of each operand."""
    given = {k: torch.tensor(v, requires_grad=True) for k, v in case.arrays().items()}
    options = {} if case.function == "channel_shuffle" else case.options
    y = FUNCTIONS[case.function](**given, **options)
    out = {}
    if isinstance(y, tuple):
        y, indices = y
        out["indices"] = indices.numpy().astype("int32")
    out["y"] = y.detach().numpy()
    (y * torch.tensor(values(tuple(y.shape), 9))).sum().backward()
    return {**out, **{f"grad_{k}": v.grad.numpy() for k, v in given.items()}}


if __name__ == "__main__":
    for family, cases in FAMILIES.items():
        arrays = {}
        for name, case in cases.items():
            try:
                arrays |= {f"{name}/{k}": v for k, v in results(case).items()}
            except Exception as error:
                raise SystemExit(f"{family} {name}: {error}") from error
        # All in one: the headers of many small arrays would be half of the file.
        np.savez_compressed(
            Path(__file__).parents[1] / f"{family}.npz",
            names=[f"{k}:{' '.join(map(str, v.shape))}" for k, v in arrays.items()],
            values=np.concatenate([v.ravel() for v in arrays.values()]),
        )
