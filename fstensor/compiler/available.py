"""Whether programs can be compiled here: LLVM may be missing, broken, or kept from making code."""

from __future__ import annotations

import functools

from fstensor.compiler.threads import provide_barrier
from fstensor.errors import OptionError


@functools.cache
def why_not() -> str:
    """What keeps this process from compiling to native code; "" for nothing.

    The first call loads LLVM, and compiles what all programs need.
    """
    try:
        provide_barrier()
    except OptionError:  # of the environment: a mistake, and no lack of anything
        raise
    except Exception as error:  # whatever it is, NumPy can run the programs
        return f"{type(error).__name__}: {error}"
    return ""
