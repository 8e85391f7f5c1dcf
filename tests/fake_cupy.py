"""A stand-in for CuPy where there is no GPU: as strict about NumPy arrays as CuPy is.

It shows that rules work through the array module they are given. Arrays wrap NumPy's; what CuPy
refuses (conversion by `np.asarray`, operands on the host) is refused here too.
"""

from __future__ import annotations

import operator
from types import SimpleNamespace

import numpy as np


class ndarray:
    """An array on the pretended device."""

    __module__ = "cupy"
    __hash__ = None

    def __init__(self, values):
        self._values = np.asarray(values)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _lifted(getattr(self._values, name))

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return _lifted(getattr(ufunc, method))(*inputs, **kwargs)

    def __array_function__(self, func, types, args, kwargs):
        return _lifted(func)(*args, **kwargs)

    def __setattr__(self, name, value):
        if name == "_values":
            object.__setattr__(self, name, value)
        else:  # real and imag
            setattr(self._values, name, _lower(value))

    def get(self):
        return self._values.copy()

    @property
    def device(self):
        return SimpleNamespace(id=0, synchronize=lambda: None)

    @property
    def flags(self):
        return self._values.flags

    def __len__(self):
        return len(self._values)

    def __bool__(self):
        return bool(self._values)

    def __index__(self):
        return operator.index(self._values)

    def __float__(self):
        return float(self._values)

    def __getitem__(self, index):
        return _lifted(operator.getitem)(self, index)

    def __setitem__(self, index, value):
        operator.setitem(self._values, _lower(index), _lower(value))


def _operator(name):
    return lambda self, *others: _lifted(getattr(operator, name))(self, *others)


def _reflected(name):
    return lambda self, other: _lifted(getattr(operator, name))(other, self)


def _in_place(name):
    def method(self, other):
        self._values = getattr(operator, name)(self._values, _lower(other))
        return self

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
    _plain = _name.rstrip("_")
    setattr(ndarray, f"__{_plain}__", _operator(_name))
    setattr(ndarray, f"__r{_plain}__", _reflected(_name))
    setattr(ndarray, f"__i{_plain}__", _in_place(f"i{_plain}"))
for _name in ("lshift", "rshift", "lt", "le", "gt", "ge", "eq", "ne", "neg", "invert", "matmul"):
    setattr(ndarray, f"__{_name}__", _operator(_name))
for _name in ("lshift", "rshift"):
    setattr(ndarray, f"__i{_name}__", _in_place(f"i{_name}"))


def _lower(x):
    if isinstance(x, ndarray):
        return x._values
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}: an operand lies on the host")
    if isinstance(x, (tuple, list)):
        return type(x)(map(_lower, x))
    return x


def _lift(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(x)
    if isinstance(x, (tuple, list)) and any(isinstance(y, np.ndarray) for y in x):
        return tuple(map(_lift, x))
    return x


class _Function:
    """A function or ufunc of NumPy, on our arrays alone."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **kwargs):
        args = [_lower(a) for a in args]
        return _lift(self._function(*args, **{k: _lower(v) for k, v in kwargs.items()}))

    def __getattr__(self, name):  # ufunc.at, .accumulate, .reduceat
        return _lifted(getattr(self._function, name))


def _lifted(x):
    if isinstance(x, type):
        return x
    return _Function(x) if callable(x) else _lift(x)


class _Device:
    def __init__(self, index):
        self.id = index

    def __enter__(self):
        return self

    def __exit__(self, *details):
        return None


class Module:
    """What `import cupy` would give."""

    ndarray = ndarray
    newaxis = None
    cuda = SimpleNamespace(Device=_Device, runtime=SimpleNamespace(getDeviceCount=lambda: 1))

    @staticmethod
    def asarray(x, dtype=None, order=None):
        values = x._values if isinstance(x, ndarray) else np.asarray(x)
        return ndarray(np.asarray(values, dtype, order=order))

    array = asarray

    def __getattr__(self, name):
        found = getattr(np, name)
        if hasattr(found, "__path__") or type(found).__name__ == "module":
            return _Submodule(found)
        return _lifted(found)


class _Submodule:
    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        return _Submodule(found) if type(found).__name__ == "module" else _lifted(found)
