"""Primitives: the operations that transforms know. One class holds all rules of one operation.

A concrete primitive is a final frozen dataclass. Its fields are its static parameters, so equality,
hashing, printing and cache keys follow from them; its methods are its rules. To add one, see
CONTRIBUTING.md, and `fstensor/ops/elementwise.py` for the shortest examples.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from fstensor.core.aval import ShapedArray
from fstensor.core.state import state
from fstensor.errors import MissingRuleError

if TYPE_CHECKING:
    from fstensor.array import Array
    from fstensor.core.affine import Index
    from fstensor.core.control_flow import Choice, Loop
    from fstensor.core.jaxpr import ClosedJaxpr
    from fstensor.core.scalar import Elements, IndexedOps, V
    from fstensor.core.trace import PartialTrace

P = TypeVar("P", bound="Primitive")

registry: dict[str, type[Primitive]] = {}


class SymbolicZero:
    """The tangent or cotangent that is zero by structure: no array is made for it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ZERO"


ZERO = SymbolicZero()


class Linear:
    """Stands in a transpose rule for the argument whose cotangent is asked for."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    def __repr__(self) -> str:
        return f"Linear({self.aval})"


@dataclasses.dataclass(frozen=True, slots=True)
class MappedAxis:
    """The axis that a vmap maps over: its size and, if it has one, its name."""

    size: int
    name: Any = None


# A value in a rule: an Array; in jvp rules a tangent may be ZERO, in transpose rules an argument
# may be Linear and a cotangent ZERO.
Value = Any


class Primitive:
    """One operation with all of its rules.

    `multiple_results` tells whether `abstract`, `impl`, `jvp` and `batch` give one output or a
    sequence of them. `axis_names` are the mapped axes that the operation communicates over.

    Classes that lack one of the abstract methods have no instances, as with `abc.ABC`; but its
    metaclass would make `isinstance` slow, which the compiler asks for thousands of times.
    """

    name: ClassVar[str]
    multiple_results: ClassVar[bool] = False
    # The elementwise function of the array module that `impl` is for floats and complex numbers:
    # it can write its result into an operand that nobody needs any more. "" for none.
    elementwise_ufunc: ClassVar[str] = ""
    # Whether results never share the memory of operands, as those of an `elementwise_ufunc`.
    result_is_apart: ClassVar[bool] = False
    # Whether two operands may change places without changing a bit of the result.
    commutes: ClassVar[bool] = False
    # Whether two equal applications are kept as two, where the compiler could share one.
    stays_apart: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _mark_abstract(cls)

    @property
    def axis_names(self) -> tuple[Any, ...]:
        return ()

    @property
    def effectful(self) -> bool:
        """Whether it does more than give results. Such an equation is never dropped."""
        return False

    @property
    def runs_only_where_due(self) -> bool:
        """Whether it must not run in a branch that is not taken, as it would in a vmap of `cond`.

        So it is for input and output, while debug output is better shown too often than never.
        """
        return False

    @property
    def fields(self) -> dict[str, Any]:
        """What the primitive is made of, by name."""
        this: Any = self  # which is a dataclass if it has fields
        found = dataclasses.fields(this) if dataclasses.is_dataclass(this) else ()
        return {f.name: getattr(self, f.name) for f in found}

    @property
    def params(self) -> dict[str, Any]:
        """The static parameters by name: the fields, if a primitive says nothing else."""
        return self.fields

    def printed_params(self) -> dict[str, Any]:
        """The parameters that jaxprs show: without those that the types beside them tell."""
        return self.params

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)  # where there are fields, the dataclass compares them

    def __repr__(self) -> str:
        params = " ".join(f"{k}={v}" for k, v in sorted(self.params.items()))
        return f"{self.name}[{params}]" if params else self.name

    def bind(self, *args: Value) -> Any:
        """Apply the operation to array-likes, in the current trace."""
        return state.trace.process(self, args)

    __call__ = bind

    def infer(self, avals: tuple[ShapedArray, ...]) -> Any:
        """`abstract`, remembered: the same avals give the same output avals."""
        key = (self, avals)
        found = _inferred.get(key)
        if found is None:
            if len(_inferred) >= _MOST_INFERRED:
                _inferred.clear()
            found = _inferred[key] = self.abstract(*avals)
        return found

    @abstractmethod
    def abstract(self, *avals: ShapedArray) -> Any:
        """The avals of the outputs. Makes all checks of shapes and dtypes, and raises for users."""

    @abstractmethod
    def impl(self, xp: Any, *buffers: Any) -> Any:
        """The outputs' buffers, by functions of the array module `xp` (NumPy or CuPy)."""

    def control_flow(self) -> Loop | Choice | None:
        """What loop or choice of programs the operation is, for the compiler; None for others."""
        return None

    def on_numpy(self, *avals: ShapedArray) -> Callable[..., Any]:
        """`impl` as a function of NumPy's buffers of these types: what eager calls use."""
        return functools.partial(self.impl, np)

    def source_index(self, index: Index, x: ShapedArray) -> Index | None:
        """Where the operand has the element that the result has at `index`.

        For operations that rearrange the elements of one operand: such a result need not be made,
        since kernels read the operand instead. None where there is no such place.
        """
        return None

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        """The element of the result at `index`, in the vocabulary of kernels.

        For operations that find their elements by the index. NotImplemented where there is no such
        form: then `impl` is called between compiled parts.
        """
        return NotImplemented

    def elements_together(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """How many neighbours along each axis of the result kernels compute together, if several.

        For rules `element_at` that need the same for all of them. They divide the shape; the
        strides of indices are multiples of them then.
        """
        return None

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        """The outputs and their tangents. Called only when some tangent is not ZERO."""
        raise self._missing("jvp", "forward- and reverse-mode differentiation")

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        """One cotangent for each argument that is Linear, ZERO or None for the others.

        `cts` is the output's cotangent, or one for each output of a primitive with several; it is
        never ZERO for a primitive with one output.
        """
        raise self._missing("transpose", "reverse-mode differentiation")

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        """The outputs for arguments batched along `dims`, and where the batch lies in them."""
        raise self._missing("batch", "vmap")

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        """Split the operation into a part that is known and a linear one that is recorded.

        Only primitives that hold jaxprs need it: the others are recorded whole.
        """
        return trace.record(self, args)

    def called_program(self) -> ClosedJaxpr | None:
        """The program that the operation stands for, when it is a call and nothing more."""
        return None

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        """The operand that the result equals to the last bit, where the compiler can tell.

        literals: the values of operands that are known scalars, None for the others.
        """
        return None

    def inlined_program(self) -> ClosedJaxpr | None:
        """The program that may stand in its place once nothing is differentiated any more."""
        return self.called_program()

    def without_unused(
        self, used: Sequence[bool]
    ) -> tuple[Primitive, Sequence[bool], Sequence[bool]] | None:
        """The operation without those results that nobody uses: a smaller one, if there is one.

        Gives it with marks of the operands that it still takes, and of the results that it gives.
        """
        return None

    def _missing(self, rule: str, use: str) -> MissingRuleError:
        return MissingRuleError(
            f"{self.name}: has no {rule} rule, which {use} needs; "
            f"write {type(self).__name__}.{rule} in {type(self).__module__}"
        )


def _mark_abstract(cls: Any) -> None:
    """Say which methods of a class are abstract: Python makes no instance while there are some."""
    inherited = [n for base in cls.__bases__ for n in getattr(base, "__abstractmethods__", ())]
    cls.__abstractmethods__ = frozenset(
        n
        for n in (*vars(cls), *inherited)
        if getattr(getattr(cls, n, None), "__isabstractmethod__", False)
    )


_mark_abstract(Primitive)

_MOST_INFERRED = 16384
_inferred: dict[Any, Any] = {}


@dataclass_transform(frozen_default=True)
def primitive(name: str) -> Callable[[type[P]], type[P]]:
    """Class decorator: make a frozen dataclass of a primitive and enter it into the registry."""

    def register(cls: type[P]) -> type[P]:
        if name in registry:
            raise ValueError(f"two primitives are named {name!r}")
        if inspect.get_annotations(cls):
            _finish_later(cls)
        else:
            # All instances would be equal, so there is one, compared and hashed by identity; the
            # marks are for the checker, which expects methods to stay as a class defines them.
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]
            cls.__new__ = staticmethod(functools.cache(object.__new__))  # type: ignore[assignment]
        # Frozen, also where no dataclass is made; the marks are as above.
        cls.__setattr__ = _refuse  # type: ignore[assignment]
        cls.__delattr__ = _refuse  # type: ignore[assignment]
        cls.name = name
        registry[name] = cls
        return cls

    return register


_unfinished: set[type[Primitive]] = set()
_finishing = threading.Lock()


def _finish_later(cls: type[Primitive]) -> None:
    """Give a primitive with parameters its methods when its first instance is made.

    They are compiled from text, which for all primitives at once would be the greater part of an
    import.
    """

    def first(self: Primitive, *args: Any, **params: Any) -> None:
        finished(cls)
        self.__init__(*args, **params)  # type: ignore[misc]  # by now another one

    # Its parameters are those of any primitive, so its type is none that the checker expects.
    cls.__init__ = first  # type: ignore[method-assign,assignment]
    _unfinished.add(cls)


def finished(cls: type[P]) -> type[P]:
    """The class of a primitive, with all methods of a frozen dataclass.

    Dataclasses would compile each of them alone, which takes several times as long. `__init__` goes
    to the class last: no other thread meets one that has only some of them.
    """
    with _finishing:
        if cls in _unfinished:
            made: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            fields = dataclasses.fields(made)
            defaults = {f"default_{f.name}": f.default for f in fields}
            has_default = [f.default is not dataclasses.MISSING for f in fields]
            taken = [
                f"{f.name}=default_{f.name}" if has else f.name
                for f, has in zip(fields, has_default, strict=True)
            ]
            names: dict[str, Any] = {"keep": object.__setattr__, **defaults}
            exec(
                _METHODS.format(
                    taken=", ".join(taken),
                    keep="; ".join([f"keep(self, {f.name!r}, {f.name})" for f in fields]),
                    values="".join([f"self.{f.name}, " for f in fields]),
                    others="".join([f"other.{f.name}, " for f in fields]),
                    check="self.__post_init__()" if hasattr(cls, "__post_init__") else "pass",
                ),
                names,
            )
            for name in ("__eq__", "__hash__", "__init__"):
                if name == "__init__" or cls.__dict__.get(name) is None:
                    setattr(cls, name, names[name])
            _unfinished.remove(cls)
    return cls


_METHODS = """
def __init__(self, {taken}):
    {keep}
    {check}

def __eq__(self, other):
    if other.__class__ is self.__class__:
        return ({values}) == ({others})
    return NotImplemented

def __hash__(self):
    return hash(({values}))
"""


def _refuse(self: Primitive, name: str, *value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"{self.name}: cannot change {name!r}")
