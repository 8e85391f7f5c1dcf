from fstensor.ops.barrier import OptimizationBarrier
from tests.ops.harness import ALL, HALVES, Case, Operand


def of(*shapes, **options):
    operands = tuple(map(Operand, shapes))
    return Case(OptimizationBarrier(), operands, lambda *xs: list(xs), **options)


CASES = [
    of((2, 3), dtypes=ALL),
    of((2, 3), (), (0,), dtypes=ALL),
    of((2,), dtypes=HALVES, differentiable=False),
    Case(OptimizationBarrier(), (Operand((2,)), Operand((3,), "int32")), lambda *xs: list(xs)),
]
