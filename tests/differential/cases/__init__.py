"""The table of all functions, one file for each family."""

from tests.differential.cases import (
    creation,
    elementwise,
    linear,
    reductions,
    shape,
    sorting,
    statistics,
)

FAMILIES = (creation, elementwise, linear, reductions, shape, sorting, statistics)
FUNCTIONS = [function for family in FAMILIES for function in family.FUNCTIONS]
