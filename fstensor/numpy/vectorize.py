"""Functions of few axes made functions of any number of leading axes, by `vmap`."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, final

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy.promote import owned
from fstensor.numpy.shape import broadcast_shapes
from fstensor.transforms.vmap import vmap

_AXES = r"\((?:\w+(?:,\w+)*)?\)"
_SIGNATURE = re.compile(f"{_AXES}(?:,{_AXES})*->{_AXES}(?:,{_AXES})*")

Axes = tuple[str, ...]


def vectorize(
    pyfunc: Callable[..., Any],
    *,
    excluded: Collection[int | str] = frozenset(),
    signature: str | None = None,
) -> Callable[..., Any]:
    """`pyfunc` applied along all leading axes of its arguments, which broadcast.

    signature: the last axes that the function itself takes and gives, as "(m,n),(n)->(m)"; by
        default it is a function of scalars.
    excluded: positions of arguments passed as they are, and names of keyword arguments; keyword
        arguments are always passed as they are.
    Raises: OptionError for a signature that is malformed; when called, ArgumentError for a wrong
    number of arguments and ShapeError for axes that do not fit.

    >>> import fstensor.numpy as fnp
    >>> mean = fnp.vectorize(lambda row: row.sum() / 4, signature="(n)->()")
    >>> mean(fnp.ones((2, 3, 4))).shape
    (2, 3)
    """
    wanted = None if signature is None else _parsed(signature)

    @functools.wraps(pyfunc)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        chosen = [i for i in range(len(args)) if i not in excluded]

        def function(*values: Any) -> Any:
            full = list(args)
            for i, v in zip(chosen, values, strict=True):
                full[i] = v
            return pyfunc(*full, **kwargs)

        axes = [()] * len(chosen) if wanted is None else wanted[0]
        arrays = [owned(args[i], "vectorize") for i in chosen]
        if len(axes) != len(arrays):
            raise ArgumentError(
                f"vectorize: the signature {signature!r} takes {len(axes)} arguments, "
                f"got {len(arrays)}"
            )
        results = None if wanted is None else wanted[1]
        return _mapped(_checked(function, axes, results), arrays, [len(a) for a in axes])

    return vectorized


@final
class UniversalFunction:
    """A function of scalars applied element by element, as `frompyfunc` makes it.

    nin, nout, nargs: how many arguments and results it has, and both together.
    identity: the value which `frompyfunc` was given, or None.
    """

    def __init__(self, func: Callable[..., Any], nin: int, nout: int, identity: Any) -> None:
        self.nin = nin
        self.nout = nout
        self.nargs = nin + nout
        self.identity = identity
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__doc__ = func.__doc__
        self._mapped = vectorize(func)

    def __repr__(self) -> str:
        return f"<UniversalFunction {self.__name__!r}>"

    def __call__(self, *args: ArrayLike) -> Any:
        """One Array, or a tuple of them if nout is not 1; the shapes of the arguments broadcast.

        Raises: ArgumentError for another number of arguments or results.
        """
        if len(args) != self.nin:
            raise ArgumentError(f"{self.__name__}: takes {self.nin} arguments, got {len(args)}")
        out = self._mapped(*args)
        found = len(out) if isinstance(out, (tuple, list)) else 1
        if found != self.nout:
            raise ArgumentError(f"{self.__name__}: must give {self.nout} results, got {found}")
        return out if isinstance(out, Array) or self.nout != 1 else out[0]

    def outer(self, A: ArrayLike, B: ArrayLike, /) -> Any:
        """The function of all pairs of elements; the result has the axes of A, then those of B.

        Raises: ArgumentError unless it has two arguments.
        """
        if self.nin != 2:
            raise ArgumentError(f"{self.__name__}: outer is of 2 arguments, not {self.nin}")
        x, y = owned(A, self.__name__), owned(B, self.__name__)
        return self(lax.expand_dims(x, range(x.ndim, x.ndim + y.ndim)), y)


def frompyfunc(
    func: Callable[..., Any], /, nin: int, nout: int, *, identity: Any = None
) -> UniversalFunction:
    """`func`, of `nin` scalars with `nout` results, as a function of arrays that broadcast.

    It is traced once with scalars, not called for each element, and may be differentiated. The
    method `outer` is of all pairs; there are no `reduce`, `accumulate`, `reduceat` and `at`.
    identity: the value of the attribute of this name.
    Raises: ArgumentError unless nin and nout are positive and func is callable.

    >>> import fstensor.numpy as fnp
    >>> fnp.frompyfunc(lambda x, y: x * y + 1, 2, 1)(fnp.arange(3), 2).tolist()
    [1, 3, 5]
    """
    nin, nout = operator.index(nin), operator.index(nout)
    if not callable(func) or nin < 1 or nout < 1:
        raise ArgumentError(
            "frompyfunc: takes a function with at least one argument and one result, "
            f"got {func!r}, {nin} and {nout}"
        )
    return UniversalFunction(func, nin, nout, identity)


def _parsed(signature: str) -> tuple[list[Axes], list[Axes]]:
    """The axes of the arguments and of the results."""
    text = signature.replace(" ", "")
    if not _SIGNATURE.fullmatch(text):
        raise OptionError(f"vectorize: signature must be like '(m,n),(n)->(m)', got {signature!r}")
    sides = []
    for side in text.split("->"):
        groups = re.findall(r"\(([^)]*)\)", side)
        sides.append([tuple(g.split(",")) if g else () for g in groups])
    return sides[0], sides[1]


def _checked(
    function: Callable[..., Any], axes: Sequence[Axes], results: Sequence[Axes] | None
) -> Callable[..., Any]:
    """`function`, with the sizes of named axes compared on the way in and out."""

    def checked(*values: Array) -> Any:
        sizes: dict[str, int] = {}
        for x, names in zip(values, axes, strict=True):
            _compare(x, names, sizes)
        out = function(*values)
        if results is not None:
            outs = out if isinstance(out, (tuple, list)) else [out]
            if len(outs) != len(results):
                raise ArgumentError(
                    f"vectorize: the signature gives {len(results)} results, got {len(outs)}"
                )
            for y, names in zip(outs, results, strict=True):
                _compare(owned(y, "vectorize"), names, sizes)
        return out

    return checked


def _compare(x: Array, names: Axes, sizes: dict[str, int]) -> None:
    if x.ndim != len(names):
        raise ShapeError(f"vectorize: axes ({','.join(names)}) were announced, got {x.aval}")
    for name, n in zip(names, x.shape, strict=True):
        known = int(name) if name.isdigit() else sizes.setdefault(name, n)
        if known != n:
            raise ShapeError(f"vectorize: axis {name} must have one size, got {known} and {n}")


def _mapped(function: Callable[..., Any], arrays: Sequence[Array], ranks: Sequence[int]) -> Any:
    """Map over the leading axes, from the last to the first; those of size 1 are not repeated."""
    for x, rank in zip(arrays, ranks, strict=True):
        if x.ndim < rank:
            raise ShapeError(f"vectorize: takes at least {rank} axes here, got {x.aval}")
    loops = [x.shape[: x.ndim - rank] for x, rank in zip(arrays, ranks, strict=True)]
    shape = broadcast_shapes(*loops)
    squeezed = []
    for x, loop in zip(arrays, loops, strict=True):
        offset = len(shape) - len(loop)
        ones = [i for i, n in enumerate(loop) if n == 1 and shape[offset + i] != 1]
        squeezed.append(lax.squeeze(x, ones))
    for place in reversed(range(len(shape))):
        mapped = []
        for loop in loops:
            i = place - (len(shape) - len(loop))
            present = i >= 0 and (loop[i] != 1 or shape[place] == 1)
            mapped.append(0 if present else None)
        if any(m == 0 for m in mapped):
            function = vmap(function, in_axes=tuple(mapped))
    return function(*squeezed)
