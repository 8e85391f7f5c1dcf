"""Small files in the formats in which the examples' data are published."""

import gzip

import numpy as np
from scipy.io import savemat


def write_idx(path, array):
    """A file of MNIST's format."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(head + array.tobytes(), 1))


def write_images(folder, train, test):
    """The four files of a set; train and test are pairs of images and labels."""
    for name, (images, labels) in (("train", train), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)


def write_faces(folder, columns, name="faces"):
    """The file of the faces; each column is one."""
    (folder / "olivetti").mkdir(parents=True, exist_ok=True)
    savemat(folder / "olivetti" / "olivettifaces.mat", {name: columns})


def easy_images(count, size, seed):
    """Images of ten classes that are easily told apart, and their labels."""
    rng = np.random.default_rng(seed)
    classes = np.random.default_rng(0).integers(0, 200, (10, size, size))
    labels = np.arange(count) % 10
    images = classes[labels] + rng.integers(0, 50, (count, size, size))
    return images.astype(np.uint8), labels.astype(np.uint8)
