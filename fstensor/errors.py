"""What fstensor raises. Each class is also the builtin that a NumPy user would catch.

::

    FstensorError
    ├── ShapeError                      ValueError   shapes that do not fit an operation
    │   └── IndexShapeError                 IndexError ... masks or index arrays that do not fit
    ├── AxisError                       ValueError, IndexError   an axis that does not exist
    ├── OutOfBoundsError                IndexError   an index known to be outside its axis
    ├── NonFiniteError                  FloatingPointError   a NaN or infinity, if told to look
    ├── DtypeError                      TypeError    dtypes that do not fit, or are not supported
    ├── ArgumentError                   TypeError    an argument of the wrong kind
    │   └── StaticArgumentError             ... that jit cannot take as static
    ├── OptionError                     ValueError   a value outside those that an option takes
    ├── ScalarOverflowError             OverflowError   a Python int too large for its dtype
    ├── CarryTypeError                  TypeError    a loop's carry that changes its type
    ├── TreeError                       ValueError   pytrees whose structures differ
    ├── DeviceError                     ValueError   operands on two devices, or no such device
    ├── ImmutableArrayError             TypeError    an attempt to write into an Array
    ├── DeletedArrayError               RuntimeError use of an array whose buffer was donated
    ├── MutatedCaptureError             RuntimeError an ndarray that a jitted function has read, and
    │                                                that was written into since
    ├── LoadError                       ValueError   a file that is no saved program, or damaged
    ├── SaveError                       TypeError    a program that cannot be written to a file
    ├── GradError                       TypeError    grad of a function that has none
    ├── UnboundAxisNameError            NameError    a collective outside the vmap of its axis
    ├── MissingRuleError                NotImplementedError   a primitive without the rule asked for
    ├── UnexpectedTracerError           TypeError    a tracer used after its trace has ended
    ├── ConcretizationTypeError         TypeError    a traced value where a concrete one is needed
    │   ├── TracerBoolConversionError                ... by `if`, `while`, `and`, `bool()`
    │   ├── TracerArrayConversionError               ... by NumPy
    │   ├── TracerIntegerConversionError             ... as an index or by `int()`
    │   └── NonConcreteBooleanIndexError  IndexError ... as a mask whose count sets a shape
    ├── RetraceWarning                  UserWarning  a jitted function is traced again and again
    └── JaxprTypeError                  TypeError    a jaxpr that is not well typed: a bug

A message reads `what: rule broken, got values; hint`, and ends with the user's own line.
"""

from __future__ import annotations

from fstensor.core import source_info


class FstensorError(Exception):
    """The root of the tree. `location` is the user's line at the moment of raising."""

    location: str | None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        here = source_info.capture()
        self.location = None if here is None else str(here)

    def __str__(self) -> str:
        message = str(self.args[0])
        return message if self.location is None else f"{message}; at {self.location}"


class ShapeError(FstensorError, ValueError):
    """Shapes that do not fit an operation."""


class IndexShapeError(ShapeError, IndexError):
    """A mask that has not the shape of its axes, or index arrays that do not broadcast."""


class AxisError(FstensorError, ValueError, IndexError):
    """An axis that the array does not have, or one named twice."""


class OutOfBoundsError(FstensorError, IndexError):
    """An index outside of its axis: known so while tracing, or found with config.check_indices."""


class NonFiniteError(FstensorError, FloatingPointError):
    """An operation returned a NaN or an infinity while config.debug_nans or debug_infs was on."""


class DtypeError(FstensorError, TypeError):
    """Dtypes that do not fit an operation, or that are not supported at all."""


class ArgumentError(FstensorError, TypeError):
    """An argument of the wrong kind, such as a list where an array is wanted."""


class OptionError(FstensorError, ValueError):
    """A value outside those that an option takes."""


class ScalarOverflowError(FstensorError, OverflowError):
    """A Python integer that its dtype cannot hold."""


class CarryTypeError(FstensorError, TypeError):
    """A loop's carry, or the results of branches, that have not one type."""


class TreeError(FstensorError, ValueError):
    """Pytrees whose structures differ where they must agree."""


class DeviceError(FstensorError, ValueError):
    """Operands on two devices, or a device that this machine does not have."""


class ImmutableArrayError(FstensorError, TypeError):
    """An attempt to write into an Array; `x.at[i].set(v)` makes a changed copy."""


class DeletedArrayError(FstensorError, RuntimeError):
    """Use of an array whose buffer was donated to a jitted call."""


class MutatedCaptureError(FstensorError, RuntimeError):
    """A jitted function holds values of an ndarray that has been written into since."""


class LoadError(FstensorError, ValueError):
    """A file that is no saved program, is damaged, or needs what is not there."""


class SaveError(FstensorError, TypeError):
    """A program that cannot be written to a file, since it holds a Python function or object."""


class StaticArgumentError(ArgumentError):
    """A static argument of `jit` that cannot be hashed, is traced, or has changed in place."""


class GradError(FstensorError, TypeError):
    """`grad` of a function that has none: not scalar, or not of an inexact dtype."""


class UnboundAxisNameError(FstensorError, NameError):
    """A collective names an axis that no enclosing `vmap` binds."""


class MissingRuleError(FstensorError, NotImplementedError):
    """A transform met a primitive that lacks the rule it needs."""


class UnexpectedTracerError(FstensorError, TypeError):
    """A tracer was used after the trace that made it had ended."""


class ConcretizationTypeError(FstensorError, TypeError):
    """A concrete value was needed where only a traced one is known."""


class TracerBoolConversionError(ConcretizationTypeError):
    """The truth value of a tracer was asked for."""


class TracerArrayConversionError(ConcretizationTypeError):
    """NumPy asked a tracer for its values."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """A tracer was used where Python needs an integer."""


class NonConcreteBooleanIndexError(ConcretizationTypeError, IndexError):
    """A traced mask was used as an index: the shape of the result would depend on its values."""


class RetraceWarning(FstensorError, UserWarning):
    """A jitted function was traced again, because an argument changed its type or static value."""


class JaxprTypeError(FstensorError, TypeError):
    """A jaxpr that is not well typed. Users should never see this one."""
