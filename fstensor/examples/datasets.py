"""The data that the examples train on: what ships with the package, or files in a folder.

A folder, as given by `--data DIR`, has one subfolder for each set, with the files as their authors
publish them. A file that is missing raises FileNotFoundError, which says what was looked for and
where it is published; one that cannot be read raises ValueError.
"""

from __future__ import annotations

import gzip
import math
import zlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Inputs and what is to be found out of each; as a named tuple, a pytree.

    inputs: (n, ...), images float32 (n, height, width, 1) between 0 and 1, or tokens int32.
    labels: int32 (n,).
    """

    inputs: np.ndarray
    labels: np.ndarray


class Split(NamedTuple):
    """Examples to train on, and others to test on."""

    train: Examples
    test: Examples


# Images


def digits() -> Split:
    """The 1,797 digits of 8x8 pixels in the package, every fifth of them to test on."""
    path = resources.files("fstensor.examples") / "data" / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = arrays["images"][..., np.newaxis].astype(np.float32) / np.float32(16)
        labels = arrays["labels"].astype(np.int32)
    is_test = np.arange(len(labels)) % 5 == 4
    return Split(
        Examples(images[~is_test], labels[~is_test]), Examples(images[is_test], labels[is_test])
    )


def mnist(folder: str | Path) -> Split:
    """60,000 and 10,000 handwritten digits of 28x28 pixels (LeCun et al., 1998)."""
    return _idx_images(Path(folder) / "mnist", "http://yann.lecun.com/exdb/mnist")


def fashion_mnist(folder: str | Path) -> Split:
    """60,000 and 10,000 pieces of clothing of 28x28 pixels (Xiao et al., 2017)."""
    where = "https://github.com/zalandoresearch/fashion-mnist"
    return _idx_images(Path(folder) / "fashion_mnist", where)


def _idx_images(folder: Path, published: str) -> Split:
    parts = []
    for name in ("train", "t10k"):
        pixels = idx(found(folder / f"{name}-images-idx3-ubyte.gz", published))
        labels = idx(found(folder / f"{name}-labels-idx1-ubyte.gz", published))
        if len(pixels) != len(labels):
            raise ValueError(f"{folder.name}: {len(pixels)} images, but {len(labels)} labels")
        images = pixels[..., np.newaxis] / np.float32(255)
        parts.append(Examples(images, labels.astype(np.int32)))
    return Split(*parts)


def idx(path: Path) -> np.ndarray:
    """The array in a file of MNIST's format: dtype and rank, the sizes, the bytes."""
    try:
        with gzip.open(path, "rb") as file:
            text = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path.name}: not a whole gzip file ({error})") from None
    if len(text) < 4 or text[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name}: not an idx file of bytes")
    start = 4 + 4 * text[3]
    shape = tuple(int.from_bytes(text[n : n + 4], "big") for n in range(4, start, 4))
    if len(text) != start + math.prod(shape):
        raise ValueError(f"{path.name}: must hold an array of shape {shape}, has another length")
    return np.frombuffer(text, np.uint8, offset=start).reshape(shape)


def olivetti(folder: str | Path) -> Examples:
    """400 faces of 64x64 pixels, ten of each of 40 persons (AT&T Laboratories Cambridge).

    Raises: ModuleNotFoundError without SciPy, which reads the file.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError:
        raise ModuleNotFoundError("SciPy, which reads the faces, is not installed") from None

    path = found(
        Path(folder) / "olivetti" / "olivettifaces.mat", "https://cs.nyu.edu/~roweis/data.html"
    )
    try:
        columns = loadmat(path)["faces"]
    except (KeyError, MatReadError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: no MATLAB file with the faces ({error})") from None
    if columns.shape != (4096, 400):
        raise ValueError(f"{path.name}: faces must have shape (4096, 400), got {columns.shape}")
    # A column is a face, written down column by column.
    faces = columns.T.reshape(400, 64, 64).transpose(0, 2, 1)
    images = faces[..., np.newaxis] / np.float32(255)
    return Examples(images, (np.arange(400) // 10).astype(np.int32))


# Text


class Sentences(NamedTuple):
    """Sentences, and whether a speaker accepts them (1) or not (0)."""

    texts: list[list[str]]
    labels: np.ndarray


def cola(folder: str | Path) -> dict[str, Sentences]:
    """The Corpus of Linguistic Acceptability (Warstadt et al., 2019), tokenized.

    Keys: "train" (8,551 sentences), "in_domain" (527) and "out_of_domain" (516), for development.
    """
    names = {
        "train": "in_domain_train",
        "in_domain": "in_domain_dev",
        "out_of_domain": "out_of_domain_dev",
    }
    parts = {}
    for part, name in names.items():
        path = Path(folder) / "cola" / "tokenized" / f"{name}.tsv"
        lines = found(path, "https://nyu-mll.github.io/CoLA").read_text("utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        labels = np.array([int(row[1]) for row in rows], np.int32)
        parts[part] = Sentences([row[3].split() for row in rows], labels)
    return parts


def shakespeare(folder: str | Path) -> str:
    """A million characters of Shakespeare's plays, as Karpathy (2015) put them together."""
    path = Path(folder) / "tinyshakespeare" / "input.txt"
    return found(path, "https://github.com/karpathy/char-rnn").read_text("utf-8")


def own_source() -> str:
    """The source of this library, module by module: text that is always at hand."""
    root = resources.files("fstensor")
    assert isinstance(root, Path)
    return "\n".join(path.read_text("utf-8") for path in sorted(root.rglob("*.py")))


def english_chinese(folder: str | Path) -> list[tuple[str, str]]:
    """26,388 English sentences, each with one in Mandarin (Tatoeba, by manythings.org)."""
    path = Path(folder) / "translation" / "cmn-eng.txt.gz"
    with gzip.open(found(path, "https://www.manythings.org/anki"), "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file]
    return [(row[0], row[1]) for row in rows]


def found(path: Path, published: str) -> Path:
    """The path itself. Raises: FileNotFoundError where nothing is."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; its authors publish it at {published}")
    return path
