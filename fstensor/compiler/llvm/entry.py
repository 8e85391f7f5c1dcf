"""Native programs as builtins of Python, which take its objects as they are.

A call from Python costs tens of nanoseconds so, where ctypes takes hundreds to convert addresses.
What a builtin does before the program runs, a look at the arguments, is native code as well. It is
written against Python's stable C API; only fields of Arrays and ndarrays are read where `objects`
has found them.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fstensor.array import ConcreteArray
from fstensor.compiler.llvm import engine, team
from fstensor.compiler.llvm.objects import array_places, data_offset, flags_offset
from fstensor.core.aval import ShapedArray

Enter: TypeAlias = Callable[..., bool]

# Of NumPy's flags: in row-major order, and aligned. They are parts of its ABI.
_PLAIN_FLAGS = 0x0001 | 0x0100
_FASTCALL = 0x0080  # Python's METH_FASTCALL: arguments as an array and their number

# The functions of Python's C API that the code calls.
_OF_PYTHON = {
    "PyTuple_GetItem": "ptr @PyTuple_GetItem(ptr, i64)",
    "PyBytes_AsString": "ptr @PyBytes_AsString(ptr)",
    "PyBool_FromLong": "ptr @PyBool_FromLong(i64)",
    "PyEval_SaveThread": "ptr @PyEval_SaveThread()",
    "PyEval_RestoreThread": "void @PyEval_RestoreThread(ptr)",
    "Py_IncRef": "void @Py_IncRef(ptr)",
    "Py_DecRef": "void @Py_DecRef(ptr)",
}

# The words that a builtin goes by: how many arguments there must be, and how many of them are
# looked at; the function, none if there is no more to do; the team that runs it, none if it is to
# run alone; the last word of its block; the kinds of Arrays and of ndarrays. The avals of what is
# looked at follow, if those are to be Arrays.
_WORDS = struct.Struct("=7q")

_SOURCE = """
declare void @fst_run(ptr, ptr, ptr)

; Puts the address of an ndarray's elements into a block.
define internal void @address(ptr %array, ptr %block, i64 %i) nounwind alwaysinline {{
  %field = getelementptr i8, ptr %array, i64 {data}
  %elements = load ptr, ptr %field
  %place = getelementptr ptr, ptr %block, i64 %i
  store ptr %elements, ptr %place
  ret void
}}

; False where an argument is not what it should be. Else the function has run, if there is one, on a
; block with the addresses of the elements of all arguments, and the last word.
define ptr @fst_enter(ptr %self, ptr %items, i64 %given) nounwind {{
entry:
  %bytes = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %words = call ptr @PyBytes_AsString(ptr %bytes)
  %expected = load i64, ptr %words
  %count_at = getelementptr i64, ptr %words, i64 1
  %count = load i64, ptr %count_at
  %function_at = getelementptr i64, ptr %words, i64 2
  %function = load ptr, ptr %function_at
  %team_at = getelementptr i64, ptr %words, i64 3
  %team = load ptr, ptr %team_at
  %last_at = getelementptr i64, ptr %words, i64 4
  %last = load ptr, ptr %last_at
  %array_kind_at = getelementptr i64, ptr %words, i64 5
  %array_kind = load ptr, ptr %array_kind_at
  %buffer_kind_at = getelementptr i64, ptr %words, i64 6
  %buffer_kind = load ptr, ptr %buffer_kind_at
  %avals = getelementptr i64, ptr %words, i64 7
  %typed = icmp ne ptr %array_kind, null
  %complete = icmp eq i64 %given, %expected
  %size = add i64 %given, 1
  %block = alloca ptr, i64 %size, align 16
  %buffers = alloca ptr, i64 %size, align 16
  br i1 %complete, label %head, label %no
head:
  %i = phi i64 [0, %entry], [%next, %good]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %item, label %rest
item:
  %item_at = getelementptr ptr, ptr %items, i64 %i
  %x = load ptr, ptr %item_at
  br i1 %typed, label %look, label %plain
look:
{look}
plain:
  %buffer = phi ptr [%x, %item]{buffers}
  %flags_at = getelementptr i8, ptr %buffer, i64 {flags}
  %flags = load i32, ptr %flags_at
  %both = and i32 %flags, {plain}
  %is_plain = icmp eq i32 %both, {plain}
  br i1 %is_plain, label %good, label %no
good:
  %buffer_at = getelementptr ptr, ptr %buffers, i64 %i
  store ptr %buffer, ptr %buffer_at
  call void @address(ptr %buffer, ptr %block, i64 %i)
  %next = add i64 %i, 1
  br label %head

rest:
  %j = phi i64 [%count, %head], [%next_j, %copy]
  %more_rest = icmp ult i64 %j, %given
  br i1 %more_rest, label %copy, label %due
copy:
  %other_at = getelementptr ptr, ptr %items, i64 %j
  %other = load ptr, ptr %other_at
  call void @address(ptr %other, ptr %block, i64 %j)
  %next_j = add i64 %j, 1
  br label %rest

due:
  %last_place = getelementptr ptr, ptr %block, i64 %given
  store ptr %last, ptr %last_place
  %is_due = icmp ne ptr %function, null
  br i1 %is_due, label %hold, label %yes
; While Python's lock is left to others, they might delete the Arrays: their buffers are held.
hold:
  %h = phi i64 [0, %due], [%next_h, %hold_one]
  %more_held = icmp ult i64 %h, %count
  br i1 %more_held, label %hold_one, label %run
hold_one:
  %held_at = getelementptr ptr, ptr %buffers, i64 %h
  %held = load ptr, ptr %held_at
  call void @Py_IncRef(ptr %held)
  %next_h = add i64 %h, 1
  br label %hold
run:
  %thread = call ptr @PyEval_SaveThread()
  %alone = icmp eq ptr %team, null
  br i1 %alone, label %run_alone, label %run_together
run_alone:
  call void %function(ptr %block, i64 0, i64 1)
  br label %after
run_together:
  call void @fst_run(ptr %team, ptr %function, ptr %block)
  br label %after
after:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %free
free:
  %k = phi i64 [0, %after], [%next_k, %free_one]
  %more_freed = icmp ult i64 %k, %count
  br i1 %more_freed, label %free_one, label %yes
free_one:
  %freed_at = getelementptr ptr, ptr %buffers, i64 %k
  %freed = load ptr, ptr %freed_at
  call void @Py_DecRef(ptr %freed)
  %next_k = add i64 %k, 1
  br label %free
yes:
  %true = call ptr @PyBool_FromLong(i64 1)
  ret ptr %true
no:
  %false = call ptr @PyBool_FromLong(i64 0)
  ret ptr %false
}}
"""

# Whether %x is an Array of the expected aval, with an ndarray in it.
_LOOK = """
  %kind_at = getelementptr i8, ptr %x, i64 {kind}
  %x_kind = load ptr, ptr %kind_at
  %is_array = icmp eq ptr %x_kind, %array_kind
  br i1 %is_array, label %array, label %no
array:
  %aval_at = getelementptr i8, ptr %x, i64 {aval}
  %aval = load ptr, ptr %aval_at
  %wanted_at = getelementptr ptr, ptr %avals, i64 %i
  %wanted = load ptr, ptr %wanted_at
  %is_wanted = icmp eq ptr %aval, %wanted
  br i1 %is_wanted, label %array_of_type, label %no
array_of_type:
  %within_at = getelementptr i8, ptr %x, i64 {buffer}
  %within = load ptr, ptr %within_at
  %is_deleted = icmp eq ptr %within, null
  br i1 %is_deleted, label %no, label %array_with_buffer
array_with_buffer:
  %within_kind_at = getelementptr i8, ptr %within, i64 {kind}
  %within_kind = load ptr, ptr %within_kind_at
  %is_ndarray = icmp eq ptr %within_kind, %buffer_kind
  br i1 %is_ndarray, label %plain, label %no
"""


class _Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@functools.cache
def _definition() -> _Definition:
    """What all builtins have in common, compiled once."""
    team.native()  # provides fst_run
    for name in _OF_PYTHON:
        function = getattr(ctypes.pythonapi, name)
        engine.provide(name, ctypes.cast(function, ctypes.c_void_p).value or 0)
    with engine.exchange({}):  # it is no part of the program that is compiled just now
        compiled = engine.compile_module(source(), quickly=True)
    # Builtins may be called until the process ends, so the code is never given back.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(compiled))
    definition = _Definition(b"enter", compiled.address("fst_enter"), _FASTCALL, None)
    _definitions.append(definition)
    return definition


# Builtins refer to them. There are several where threads asked for the first at once.
_definitions: list[_Definition] = []


def make_ready() -> None:
    """Compile what all builtins have in common."""
    _definition()


def source() -> str:
    places = array_places()
    declarations = "".join(f"declare {text}\n" for text in _OF_PYTHON.values())
    return declarations + _SOURCE.format(
        look=_LOOK.format(**places._asdict()).strip("\n") if places else "  br label %no",
        buffers=", [%within, %array_with_buffer]" if places else "",
        data=data_offset(),
        flags=flags_offset(),
        plain=_PLAIN_FLAGS,
    )


def can_look_at_arrays() -> bool:
    return array_places() is not None


class Target(NamedTuple):
    """What a builtin calls: a native function, by its address, of a block of words.

    The block has the addresses of the elements of all arrays, and `last`. team: the state of the
    team that runs it; 0 for the calling thread alone. kept: lives as long as the builtin.
    """

    function: int
    team: int
    last: int
    kept: Any


_NOTHING = Target(0, 0, 0, None)


def of_buffers(avals: Sequence[ShapedArray], others: int, target: Target) -> Enter:
    """A builtin `enter(*buffers, *others)` of ndarrays of these types, and other ones.

    It gives False where a buffer does not lie in row-major order, aligned. Else the target has run.
    That the buffers have their types is the caller's word, and that the others suit.
    """
    return _new(avals, others, target, (0, 0), b"")


def of_arrays(avals: Sequence[ShapedArray], others: int = 0, target: Target = _NOTHING) -> Enter:
    """The same of Arrays with such buffers, `enter(*arrays, *others)`.

    It gives False, too, where one is no Array with an ndarray and that very aval. Without a target
    it does no more than that. To be made only where it `can_look_at_arrays`.
    """
    return _new(avals, others, target, _KINDS, struct.pack(f"={len(avals)}q", *map(id, avals)))


_KINDS = (id(ConcreteArray), id(np.ndarray))


def _new(
    avals: Sequence[ShapedArray],
    others: int,
    target: Target,
    kinds: tuple[int, int],
    identities: bytes,
) -> Enter:
    function, team_state, last, kept = target
    count = len(avals)
    words = _WORDS.pack(count + others, count, function, team_state, last, *kinds) + identities
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    new.restype = ctypes.py_object
    made: Enter = new(ctypes.addressof(_definition()), (words, tuple(avals), kept), None)
    return made
