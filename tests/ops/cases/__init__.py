"""The cases of every primitive, one file for each file of `fstensor/ops`."""

import importlib
import pkgutil

from tests.ops.harness import Case

CASES: list[Case] = [
    case
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__))
    for case in importlib.import_module(f"{__name__}.{module}").CASES
]
