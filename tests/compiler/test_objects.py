import numpy as np

from fstensor.compiler.llvm import objects


def test_places_are_found_here():
    assert objects.data_offset() > 0
    assert objects.flags_offset() > 0
    assert objects.array_places() is not None


def test_places_that_are_not_found():
    probes = [object(), "x"]
    assert objects.place(probes, [1, 2], 16) is None


def test_places_that_are_found_twice():
    probes = [np.zeros(2), np.zeros(3)]
    zeros = [0] * len(probes)
    assert objects.place(probes, zeros, np.ndarray.__basicsize__) is None


def test_arrays_are_not_looked_at_by_several_threads_at_once(monkeypatch):
    monkeypatch.setattr(objects.sys, "_is_gil_enabled", lambda: False, raising=False)
    assert objects.array_places.__wrapped__() is None
