"""One array in a file, in NumPy's .npy format. Nothing is ever pickled."""

from __future__ import annotations

import os
from typing import IO, Any, TypeAlias

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, lift
from fstensor.errors import ArgumentError, DtypeError
from fstensor.numpy.creation import asarray

File: TypeAlias = str | os.PathLike[str] | IO[bytes]

# NumPy's format knows none of these, and would keep their bytes as nameless. They are stored as
# records of one field that has the dtype's name, which NumPy can read as well.
_STORED = {
    name: np.dtype(f"u{dtypes.canonical(name).itemsize}")
    for name in (
        "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn",
        "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
        "int2", "int4", "uint2", "uint4",
    )
}  # fmt: skip


def save(file: File, arr: ArrayLike) -> None:
    """Write one array into a file: bytes of every dtype as they are, without pickle.

    file: a path, to which ".npy" is added where it is missing, or a file opened for bytes.
    bfloat16, float8 and the integers below a byte become records with one field of that name.
    Raises: DtypeError for random keys, ConcretizationTypeError for traced values.
    """
    x = lift(arr, what="save")
    if dtypes.is_key(x.dtype):
        raise DtypeError(f"save: takes numbers, got {x.aval}; see random.key_data")
    values = np.asarray(x)
    name = dtypes.name(x.dtype)
    if name in _STORED:
        values = np.ascontiguousarray(values).view(np.dtype([(name, _STORED[name])]))
        values = values.reshape(x.shape)
    np.save(file, values, allow_pickle=False)


def load(file: File) -> Array:
    """Read one array that `save`, or `numpy.save`, has written. Pickles are refused.

    What NumPy itself has made of bfloat16, nameless bytes in pairs, becomes bfloat16 again.
    Raises: ArgumentError for an archive of several arrays, DtypeError for a dtype that is not
    supported, ValueError for objects and for what is no such file.
    """
    found: Any = np.load(file, allow_pickle=False)
    if not isinstance(found, np.ndarray):
        found.close()
        raise ArgumentError("load: takes a file of one array, got an archive; use numpy.load")
    names = found.dtype.names
    if names is not None and len(names) == 1 and found.dtype[0] == _STORED.get(names[0]):
        found = found[names[0]].view(dtypes.canonical(names[0]))
    elif found.dtype == np.dtype("V2"):
        found = found.view(dtypes.bfloat16)
    elif found.dtype.kind not in "biufc":
        raise DtypeError(f"load: takes numbers, got {found.dtype}")
    return asarray(found)
