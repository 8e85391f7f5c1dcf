"""Functions that the code of programs calls, the same for all: compiled once in a process."""

from __future__ import annotations

import functools
from collections.abc import Callable

from fstensor.compiler.llvm import engine
from fstensor.compiler.llvm.gemm_loops import LOOPS, write_loops
from fstensor.compiler.llvm.text import Module, Part


def provide(code: str | bytes) -> None:
    """Let the code of a program, as a module's text or object code, be linked."""
    for name in LOOPS:
        if (name in code) if isinstance(code, str) else (name.encode() in code):
            _provide(name)


def make_ready() -> None:
    """Compile what most programs need."""
    _provide(LOOPS[0])


@functools.cache
def _provide(name: str) -> engine.Compiled:
    """Let modules declare a function from now on. The result, which is kept, is its code."""
    # It is no part of the program that is compiled just now.
    with engine.exchange({}), engine.in_parts(1) as parts:
        text = source(name, parts.add)
        compiled = engine.compile_module(text, parts=parts, names=[name])
    engine.provide(name, compiled.address(name))
    return compiled


def source(name: str, send: Callable[[Part], None] | None = None) -> str:
    """The module of a function."""
    module = Module(send)
    write_loops(module, name)
    if send is not None:
        module.send_rest()
    return str(module)
