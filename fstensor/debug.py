"""Looking at values while programs run: `print` and `callback`.

Both run when the program gets there, under every transform: inside jit at each call, in loops at
each step, in a branch when that is taken. Under vmap they run once for each example, and under jvp
and grad on the primal values, once. Where vmap makes a choice of a `cond` or the condition of a
`while_loop` a batch, all branches and steps run for all examples, and so does this.
"""

from __future__ import annotations

import builtins
import string
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor.control.callbacks import debug_callback
from fstensor.errors import ArgumentError

__all__ = ["callback", "print"]


def callback(callback: Callable[..., Any], *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Call a function of values when the program gets there, and drop what it returns.

    Arrays among the arguments, and scalars, reach it as Arrays with values; other leaves as they
    are. It cannot change what is computed; `io_callback` can.
    ordered: whether calls must keep the order of the program. They do in either case; the default
        of JAX is False.
    Raises: what `callback` raises, where it runs; ArgumentError if it cannot be called.

    >>> import fstensor as fst
    >>> seen = []
    >>> fst.grad(lambda x: fst.debug.callback(seen.append, x) or x * x)(3.0).item(), int(seen[0])
    (6.0, 3)
    """
    debug_callback("debug.callback", callback, args, kwargs, ordered)


def print(
    fmt: str, *args: Any, ordered: bool = True, skip_format_check: bool = False, **kwargs: Any
) -> None:
    """Print fmt.format(*args, **kwargs) when the program gets there.

    ordered: as for `callback`.
    skip_format_check: leave out the check, made at once, that `fmt` and the arguments fit.
    Raises: ArgumentError when they do not.

    >>> import fstensor as fst
    >>> fst.vmap(lambda x: fst.debug.print("x is {}, its square {y:.2f}", x, y=x * x))(
    ...     fst.numpy.arange(2.0)
    ... )
    x is 0.0, its square 0.00
    x is 1.0, its square 1.00
    """
    if not isinstance(fmt, str):
        raise ArgumentError(f"debug.print: takes a format string, got {type(fmt).__name__}")
    if not skip_format_check:
        _check_format(fmt, args, kwargs)
    debug_callback("debug.print", _Printer(fmt), args, kwargs, ordered)


@final
class _Printer:
    """The callback of `print`."""

    def __init__(self, fmt: str) -> None:
        self.fmt = fmt
        self.__name__ = repr(fmt)  # what jaxprs show

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        builtins.print(self.fmt.format(*args, **kwargs))


class _Checker(string.Formatter):
    """Goes through a format without asking traced values for their text."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return value

    def check_unused_args(
        self, used_args: set[int | str], args: Sequence[Any], kwargs: Any
    ) -> None:
        unused = [str(i) for i in range(len(args)) if i not in used_args]
        unused += [repr(name) for name in kwargs if name not in used_args]
        if unused:
            raise ArgumentError(
                f"debug.print: the format must use each argument, got none for "
                f"{', '.join(unused)}; use {{}} or {{name}}"
            )


def _check_format(fmt: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        _Checker().vformat(fmt, args, kwargs)
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"debug.print: the arguments must fit the format {fmt!r}, got {len(args)} by position "
            f"and {', '.join(kwargs) or 'none'} by name ({error}); write {{{{ for a brace"
        ) from None
