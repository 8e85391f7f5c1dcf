"""Batches for the models: synthetic ones, MNIST's images, CoLA's sentences."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Data(NamedTuple):
    """Examples and their classes.

    inputs: float32[n, ...] images between 0 and 1, or int32[n, length] tokens.
    labels: int32[n].
    """

    inputs: np.ndarray
    labels: np.ndarray


def random_images(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Data:
    """Ten patterns under noise, a fifth of it ink as in MNIST."""
    labels = rng.integers(0, 10, count).astype(np.int32)
    patterns = rng.random((10, *shape)) < 0.2
    noise = rng.random((count, *shape))
    pixels = np.where(patterns[labels], 0.5 + 0.5 * noise, 0.1 * noise * (noise > 0.8))
    return Data(pixels.astype(np.float32), labels)


def random_sentences(rng: np.random.Generator, count: int, length: int, tokens: int) -> Data:
    """Sentences of 4 to `length` tokens, frequent ones first, padded by 0."""
    ends = rng.integers(4, length + 1, count)
    drawn = 1 + np.floor((tokens - 1) * rng.random((count, length)) ** 3).astype(np.int32)
    inputs = np.where(np.arange(length) < ends[:, None], drawn, 0).astype(np.int32)
    return Data(inputs, (inputs[:, 0] % 2).astype(np.int32))


def idx(path: Path) -> np.ndarray:
    """The array in a file of MNIST's format: dtype and rank, the sizes, the bytes."""
    with gzip.open(path, "rb") as file:
        text = file.read()
    if text[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name}: not an idx file of bytes")
    rank = text[3]
    shape = np.frombuffer(text, ">i4", rank, 4)
    return np.frombuffer(text, np.uint8, offset=4 + 4 * rank).reshape(shape)


def images(folder: str, count: int, shape: tuple[int, ...]) -> Data:
    """The first images for training in `folder`/mnist, divided by 255."""
    where = Path(folder) / "mnist"
    pixels = idx(where / "train-images-idx3-ubyte.gz")[:count]
    labels = idx(where / "train-labels-idx1-ubyte.gz")[:count]
    return Data(pixels.reshape(-1, *shape) / np.float32(255), labels.astype(np.int32))


def cola(folder: str, count: int, length: int, tokens: int) -> Data:
    """Sentences of `folder`/cola/tokenized and whether they are acceptable.

    A token is a word's rank by its first appearance in the file, from 1; 0 is padding.
    """
    path = Path(folder) / "cola" / "tokenized" / "in_domain_train.tsv"
    ids: dict[str, int] = {}
    inputs, labels = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        _, label, _, sentence = line.split("\t")
        found = [ids.setdefault(word, len(ids) + 1) for word in sentence.split()][:length]
        inputs.append(found + [0] * (length - len(found)))
        labels.append(int(label))
    if len(ids) >= tokens:
        raise ValueError(f"{path.name}: {len(ids)} words, the model has {tokens - 1}")
    order = np.random.default_rng(0).permutation(len(labels))[:count]
    return Data(np.array(inputs, np.int32)[order], np.array(labels, np.int32)[order])
