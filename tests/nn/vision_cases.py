"""What models for images are compared on with PyTorch: numbers that both sides can make.

A network has the numbers that `values` makes of the paths and shapes of its parameters and its
state, whatever its layout elsewhere. `tests/golden/make/models_vision.py` writes what PyTorch makes
of them.
"""

import math
import zlib

import numpy as np

# The shapes of inputs, by the cases.
INPUTS = {
    "residual_mlp": (3, 6),
    "mlp": (4, 6),
    "lenet": (2, 9, 8, 1),
    "vgg": (2, 13, 11, 2),
    "vgg_norm": (2, 13, 11, 2),
    "resnet": (2, 9, 8, 3),
    "resnet_bottleneck": (2, 21, 18, 3),
    "resnet18": (1, 64, 64, 3),
}


def noise(path, shape):
    """Numbers in [-1, 1) without pattern, the same on each machine: integers make them."""
    i = np.arange(math.prod(shape), dtype=np.uint32)
    mixed = (
        i * i * np.uint32(2654435761) + i * np.uint32(40503) + np.uint32(zlib.crc32(path.encode()))
    )
    # The middle of the square of a mixed number.
    middle = (mixed.astype(np.uint64) ** np.uint64(2) >> np.uint64(16)).astype(np.uint32)
    return (middle / 2.0**31 - 1).reshape(shape)


def values(path, shape):
    """Numbers for a part of the parameters or the state, of a size that keeps activations."""
    name = path.rpartition("/")[2]
    if name == "kernel":
        return noise(path, shape) * math.sqrt(6 / math.prod(shape[:-1]))
    if name in ("scale", "var"):
        return 1 + 0.3 * noise(path, shape)
    return 0.1 * noise(path, shape)


def direction(path, shape):
    """Along which derivatives are taken: not along the value, where norms make them 0."""
    return noise(f"direction of {path}", shape)


def images(case):
    return noise("images", INPUTS[case])


def joined(arrays):
    """The elements of arrays by their paths, in order of these."""
    return np.concatenate([np.ravel(arrays[path]) for path in sorted(arrays)] or [np.zeros(0)])
