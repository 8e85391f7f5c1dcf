"""What JAX says, kept in a file: it compiles a program for each question, which takes it long.

A test asks as before, but through the fixture `recorded`:

    assert_close(random.gamma(KEY, a), recorded(lambda: jax.random.gamma(jax_key(), a)))

Answers stand in tests/golden/recorded, a file for each file of tests. They are known by the test
and the place of the question in it, or by a text `about` it. What has no answer yet is asked at
once. `pytest --update-golden` asks JAX anew, and replaces the answers of the tests that it runs;
to be rid of those of tests that are no more, delete the file before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

# Of more bytes than these, answers that are compared to the last bit are kept as a digest.
_LONG = 1000


class Answers:
    """The answers that one file holds, by name: lists of arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_changed = False
        self._entries: dict[str, list[np.ndarray]] = {}
        if path.exists():
            with np.load(path) as file:
                index, data = json.loads(file["index"].item()), file["data"].tobytes()
            start = 0
            for name, kinds in index:
                self._entries[name] = []
                for dtype, shape in kinds:
                    count = math.prod(shape)
                    x = np.frombuffer(data, np.dtype(dtype), count, start).reshape(shape)
                    self._entries[name].append(x)
                    start += x.nbytes

    def get(self, name: str) -> list[np.ndarray] | None:
        return self._entries.get(name)

    def put(self, name: str, answer: list[np.ndarray]) -> None:
        self._entries[name] = answer
        self.has_changed = True

    def save(self) -> None:
        entries = sorted(self._entries.items())
        index = [(name, [(_name(x.dtype), x.shape) for x in xs]) for name, xs in entries]
        data = b"".join(x.tobytes() for _, xs in entries for x in xs)
        self.path.parent.mkdir(exist_ok=True)
        np.savez_compressed(self.path, index=json.dumps(index), data=np.frombuffer(data, np.uint8))


def _name(dtype: np.dtype) -> str:
    # The codes of narrow floats do not tell them apart.
    return dtype.name if dtype.kind == "V" else dtype.str


class Recorded:
    """The answers to the questions of one test."""

    def __init__(self, answers: Answers, test: str, update: bool) -> None:
        self._answers = answers
        self._test = test
        self._update = update
        self._count = 0

    def __call__(self, ask: Callable[[], Any], about: str = "") -> np.ndarray:
        """The array that `ask` gives."""
        (answer,) = self.each(lambda: [ask()], about)
        return answer

    def each(self, ask: Callable[[], Iterable[Any]], about: str = "") -> list[np.ndarray]:
        """The arrays that `ask` gives."""
        name = f"{self._test} {about or self._count}"
        self._count += 1
        answer = None if self._update else self._answers.get(name)
        if answer is None:
            answer = [np.asarray(x) for x in ask()]
            if self._update:
                assert not any(x.dtype.hasobject for x in answer), "no arrays of numbers"
                self._answers.put(name, answer)
        return answer

    def assert_same(self, got: Any, ask: Callable[[], Any]) -> None:
        """Compare dtype, shape and every bit with the array that `ask` gives."""
        expected, got = self(lambda: _short(np.asarray(ask()))), _short(np.asarray(got))
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert got.tobytes() == expected.tobytes()


def _short(x: np.ndarray) -> np.ndarray:
    """The array itself, or a digest of all there is to it."""
    if x.nbytes <= _LONG:
        return x
    about = f"{x.dtype.name} {x.shape} ".encode()
    return np.frombuffer(hashlib.sha256(about + x.tobytes()).digest(), np.uint8)
