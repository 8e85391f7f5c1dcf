"""The contenders' namespaces. fstensor has JAX's names, so one source serves both."""

from __future__ import annotations

import importlib
import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

CONTENDERS = ("fstensor", "jax", "torch", "torch_compile", "numpy")


@dataclass(frozen=True)
class Library:
    """A library in JAX's style: its top module, and those under it. NumPy has `np` alone."""

    root: Any
    np: Any
    lax: Any = None
    random: Any = None


@cache
def functional(contender: str) -> Library:
    """The namespaces of fstensor, JAX or NumPy."""
    if contender == "numpy":
        return Library(np, np)
    root = importlib.import_module(contender)
    return Library(root, *[importlib.import_module(f"{contender}.{m}") for m in PARTS])


PARTS = ("numpy", "lax", "random")


def package(contender: str) -> str:
    """The name of the package that a contender imports."""
    return "torch" if contender == "torch_compile" else contender


def about(contender: str) -> dict[str, Any]:
    """Import the library, and say which it is."""
    start = time.perf_counter()
    try:
        module = importlib.import_module(package(contender))
    except ModuleNotFoundError as error:
        if error.name != package(contender):
            raise
        return {"missing": str(error)}
    answer = {
        "import": time.perf_counter() - start,
        "version": module.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cores": cores(),
    }
    if package(contender) == "torch":
        answer["threads"] = module.get_num_threads()
    return answer


def cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
