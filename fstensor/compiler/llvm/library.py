"""Functions that the code of programs calls, the same for all: compiled once in a process."""

from __future__ import annotations

import functools

from fstensor.compiler.llvm import engine
from fstensor.compiler.llvm.gemm_loops import LOOPS, write_loops
from fstensor.compiler.llvm.text import Module


@functools.cache
def provide() -> engine.Compiled:
    """Let modules declare these functions from now on. The result, which is kept, is their code."""
    with engine.exchange({}):  # it is no part of the program that is compiled just now
        compiled = engine.compile_module(source())
    for name in LOOPS:
        engine.provide(name, compiled.address(name))
    return compiled


def source() -> str:
    module = Module()
    write_loops(module)
    return str(module)
