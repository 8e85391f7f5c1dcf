"""How a compiled program is run: native calls, and calls of the host between them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, final

from fstensor.array import Array
from fstensor.core.jaxpr import Atom, Eqn, Var


@final
class Call(NamedTuple):
    """A native call: one function for the kernels of a segment.

    reads, writes: the values that it is handed as arrays. scratch: bytes of memory that it needs;
    workspace: further ones for each thread. shared: whether several threads have something to do.
    takes: which of the writes, by number, may take the memory of which of the reads.
    origin: the equation that stands for it in messages.
    """

    function: str
    reads: list[Var]
    writes: list[Var]
    scratch: int
    workspace: int
    shared: bool
    takes: list[tuple[int, int]]
    origin: Eqn | None


Part: TypeAlias = Call | Eqn  # an equation is run by its primitive's `impl`


@final
class Assembled(NamedTuple):
    """What is to be run, in order, and the outputs then.

    constants: the values of variables that the program does not have itself.
    """

    parts: list[Part]
    outputs: list[Atom]
    constants: dict[Var, Array]

    @property
    def functions(self) -> list[str]:
        return [p.function for p in self.parts if isinstance(p, Call)]
