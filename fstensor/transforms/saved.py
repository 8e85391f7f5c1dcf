"""Programs as files: what they are made of, written in plain values.

A file holds a line that names the format, a checksum of all that follows, the length of a header,
the header as JSON, and pieces of bytes: the values of constants, then machine code. The header
lists the programs, those that others hold first. In it, an equation is

    [primitive, {field: value}, operands, [type of each result], place in the user's code]

where variables are numbers in the order of their definition. What JSON has no word for is a list
that begins with a tag, as in ["dtype", "float32"]. There is nothing in a file that Python would
run: classes are looked up by name among those loaded, and functions cannot be written.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import struct
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, ConcreteArray
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, DebugInfo, Eqn, Jaxpr, Literal, Var
from fstensor.core.primitive import registry
from fstensor.core.source_info import SourceInfo
from fstensor.device import CPU, Device, move
from fstensor.errors import ConcretizationTypeError, FstensorError, LoadError, SaveError
from fstensor.transforms.programs import known_simple, simplified

_MAGIC = b"fstensor program 1\n"
_HEAD = struct.Struct("<32sQ")  # the checksum, and the length of the header
_PACKAGE = "fstensor"


# Files


def packed(header: dict[str, Any], pieces: Sequence[bytes]) -> bytes:
    """The content of a file. The header gains the lengths of the pieces."""
    header = {**header, "lengths": [len(piece) for piece in pieces]}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join([struct.pack("<Q", len(text)), text, *pieces])
    return _MAGIC + hashlib.sha256(body).digest() + body


def unpacked(content: bytes, file: str) -> tuple[dict[str, Any], list[bytes]]:
    """Header and pieces of what `packed` made. Raises: LoadError for anything else."""
    if not content.startswith(_MAGIC):
        raise LoadError(f"load: {file} is no program that was saved, or of another format")
    start = len(_MAGIC)
    body = content[start + 32 :]
    if len(body) < 8 or hashlib.sha256(body).digest() != content[start : start + 32]:
        raise LoadError(
            f"load: {file} is damaged: its checksum must fit its {len(content)} bytes; save again"
        )
    (size,) = struct.unpack_from("<Q", body)
    header = json.loads(body[8 : 8 + size])
    pieces, place = [], 8 + size
    for length in header["lengths"]:
        pieces.append(body[place : place + length])
        place += length
    return header, pieces


def guarded(file: str, read: Callable[[], Any], written_by: str) -> Any:
    """What `read` makes of a file whose checksum is right. Raises: LoadError where it cannot."""
    try:
        return read()
    except LoadError:
        raise
    except (FstensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise LoadError(
            f"load: {file}, which version {written_by} has written, cannot be read by this one: "
            f"{type(error).__name__}: {error}; save it again"
        ) from error


# Writing


@final
class Writer:
    """Programs, trees and arrays turned into plain values.

    programs: those written so far. pieces: the bytes of arrays.
    """

    def __init__(self) -> None:
        self.programs: list[dict[str, Any]] = []
        self.pieces: list[bytes] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[ClosedJaxpr] = []  # their ids are in use as keys

    def program(self, closed: ClosedJaxpr) -> int:
        """Write a program, simplified, and give its number."""
        if id(closed) not in self._numbers:
            written = self._program(simplified(closed))
            self._kept.append(closed)
            self._numbers[id(closed)] = len(self.programs)
            self.programs.append(written)
        return self._numbers[id(closed)]

    def _program(self, closed: ClosedJaxpr) -> dict[str, Any]:
        jaxpr = closed.jaxpr
        names: dict[Var, int] = {}

        def define(v: Var) -> Any:
            names[v] = len(names)
            return self.aval(v.aval)

        def use(atom: Atom) -> Any:
            return self._literal(atom) if isinstance(atom, Literal) else names[atom]

        info = jaxpr.debug_info
        return {
            "constants": [
                [define(v), self.array(c)]
                for v, c in zip(jaxpr.constvars, closed.consts, strict=True)
            ],
            "inputs": [define(v) for v in jaxpr.invars],
            "equations": [
                [
                    e.primitive.name,
                    self._fields(e),
                    [use(a) for a in e.invars],
                    [define(v) for v in e.outvars],
                    self._source(e.source_info),
                ]
                for e in jaxpr.eqns
            ],
            "outputs": [use(a) for a in jaxpr.outvars],
            "traced": None if info is None else [info.traced_for, info.function],
        }

    def _fields(self, eqn: Eqn) -> dict[str, Any]:
        primitive = eqn.primitive
        if registry.get(primitive.name) is not type(primitive):
            raise SaveError(f"save: {primitive.name} is no registered primitive{_place(eqn)}")
        written = {}
        for name, value in primitive.fields.items():
            try:
                written[name] = self.value(value)
            except _NotPlainError as error:
                raise SaveError(
                    f"save: the parameters of {primitive.name} must be plain values, got "
                    f"{error.what} for {name}{_place(eqn)}; leave the operation to code "
                    "outside of the program"
                ) from None
        return written

    def value(self, x: Any) -> Any:
        """A parameter of a primitive. Raises: _NotPlainError for what is no plain value."""
        if x is None or type(x) in (bool, int, str):
            return x
        if isinstance(x, enum.Enum):
            return ["enum", *_own_class(x), x.name]
        if isinstance(x, tuple):
            if hasattr(x, "_fields"):
                return ["record", *_own_class(x), *map(self.value, x)]
            return ["tuple", *map(self.value, x)]
        if dataclasses.is_dataclass(x) and not isinstance(x, (type, SourceInfo)):
            parts = [self.value(getattr(x, f.name)) for f in dataclasses.fields(x)]
            return ["record", *_own_class(x), *parts]
        for kind, tag, write in self._scalars:
            if isinstance(x, kind):
                return [tag, write(self, x)]
        raise _NotPlainError(x)

    _scalars: tuple[tuple[Any, str, Callable[[Any, Any], Any]], ...] = (
        (ClosedJaxpr, "program", lambda self, x: self.program(x)),
        (ShapedArray, "aval", lambda self, x: self.aval(x)),
        (np.dtype, "dtype", lambda self, x: dtypes.name(x)),
        (Array, "array", lambda self, x: [self.aval(x.aval), self.array(x)]),
        (np.generic, "number", lambda self, x: [dtypes.name(x.dtype), x.tobytes().hex()]),
        (float, "float", lambda self, x: x.hex()),
        (complex, "complex", lambda self, x: [x.real.hex(), x.imag.hex()]),
        (Device, "device", lambda self, x: str(x)),
        (SourceInfo, "source", lambda self, x: self._source(x)),
    )

    def aval(self, a: ShapedArray) -> list[Any]:
        return [dtypes.name(a.dtype), list(map(int, a.shape)), a.weak_type]

    def array(self, x: Array) -> int:
        """Write the values of a constant, and give the number of the piece."""
        buffer = move(x.concretize(ConcretizationTypeError, "save: the value of"), CPU)
        if buffer.dtype.hasobject:
            raise SaveError(f"save: constants must be numbers, got {x.aval}")
        self.pieces.append(np.ascontiguousarray(buffer).tobytes())
        return len(self.pieces) - 1

    def _literal(self, atom: Literal) -> list[Any]:
        return [self.aval(atom.aval), np.asarray(atom.value).tobytes().hex()]

    def _source(self, source: SourceInfo | None) -> list[Any] | None:
        if source is None:
            return None
        return [str(source).rpartition(":")[0], source.line, source.function]

    def tree(self, treedef: tree.PyTreeDef) -> Any:
        """A structure: "*" for a leaf, None for None, else a list."""
        if treedef.is_leaf():
            return "*"
        kind = treedef.kind.name.lower()
        if kind == "none":
            return None
        below = [self.tree(t) for t in treedef.children()]
        root: Any = treedef.unflatten([0] * treedef.num_leaves)
        if kind in ("list", "tuple"):
            return [kind, *below]
        if kind == "deque":
            return [kind, root.maxlen, *below]
        if isinstance(root, dict) and kind != "custom":
            found = dict(zip(treedef.entries(), below, strict=True))
            items = [[self._key(k), found[k]] for k in root]  # in the order in which they came
            if isinstance(root, defaultdict):
                return [kind, self._factory(root.default_factory), *items]
            return [kind, *items]
        if kind == "namedtuple":
            return [kind, *_class_path(type(root)), *below]
        registered = tree.registration(type(root)) if kind == "custom" else None
        if registered is None:
            raise SaveError(f"save: trees with {type(root).__name__} in them cannot be written")
        rest = self._key(registered[0](root)[1], type(root))
        return [kind, *_class_path(type(root)), rest, *below]

    def _key(self, x: Any, owner: type = dict) -> Any:
        try:
            return self.value(x)
        except _NotPlainError as error:
            raise SaveError(
                "save: keys and static fields in trees must be plain values, got "
                f"{error.what} in a {owner.__name__}"
            ) from None

    def _factory(self, factory: Any) -> str | None:
        for name, known in _FACTORIES.items():
            if factory is known:
                return name
        found = getattr(factory, "__name__", type(factory).__name__)
        raise SaveError(f"save: a defaultdict's factory must be a builtin, got {found}")


class _NotPlainError(Exception):
    def __init__(self, x: Any) -> None:
        is_function = callable(x) and hasattr(x, "__name__")
        self.what = f"the function {x.__name__}" if is_function else f"a {type(x).__name__}"


_FACTORIES: dict[str | None, Any] = {
    None: None,
    **{kind.__name__: kind for kind in (list, dict, tuple, set, int, float, complex, bool, str)},
}


def _place(eqn: Eqn) -> str:
    return f" in the operation at {eqn.source_info}" if eqn.source_info else ""


def _own_class(x: Any) -> tuple[str, str]:
    """Where the class of a parameter is found: one of this package's own."""
    module, name = _class_path(type(x))
    if module.partition(".")[0] != _PACKAGE:
        raise _NotPlainError(x)
    return module, name


def _class_path(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


# Reading


@final
class Reader:
    """Programs, trees and arrays made of plain values, as `Writer` wrote them."""

    def __init__(self, programs: Sequence[dict[str, Any]], pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.programs: list[ClosedJaxpr] = []
        for written in programs:
            self.programs.append(self._program(written))

    def _program(self, written: dict[str, Any]) -> ClosedJaxpr:
        found: list[Var] = []

        def define(written_aval: Any) -> Var:
            found.append(Var(self.aval(written_aval)))
            return found[-1]

        def use(atom: Any) -> Atom:
            return found[atom] if type(atom) is int else self._literal(*atom)

        constvars, consts = [], []
        for aval, number in written["constants"]:
            constvars.append(define(aval))
            consts.append(self.array(constvars[-1].aval, number))
        invars = [define(a) for a in written["inputs"]]
        eqns = []
        for name, fields, operands, results, source in written["equations"]:
            if name not in registry:
                raise LoadError(f"load: this version has no primitive {name!r}; save again")
            primitive = registry[name](**{k: self.value(v) for k, v in fields.items()})
            ins = [use(a) for a in operands]
            eqns.append(Eqn(primitive, ins, [define(a) for a in results], self._source(source)))
        outvars = [use(a) for a in written["outputs"]]
        info = None if written["traced"] is None else DebugInfo(*written["traced"])
        closed = ClosedJaxpr(Jaxpr(constvars, invars, outvars, eqns, info), consts)
        closed.check()
        return known_simple(closed)

    def value(self, x: Any) -> Any:
        if not isinstance(x, list):
            return x
        tag, *rest = x
        match tag:
            case "tuple":
                return tuple([self.value(y) for y in rest])
            case "enum":
                return _class_of_package(enum.Enum, *rest[:2])[rest[2]]
            case "record":
                kind = _class_of_package(object, *rest[:2])
                if not (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
                    raise LoadError(f"load: {rest[1]} is no record")
                return kind(*map(self.value, rest[2:]))
            case "program":
                return self.programs[rest[0]]
            case "aval":
                return self.aval(rest[0])
            case "dtype":
                return _dtype(rest[0])
            case "array":
                return self.array(self.aval(rest[0][0]), rest[0][1])
            case "number":
                dtype, data = rest[0]
                return np.frombuffer(bytes.fromhex(data), _dtype(dtype))[0]
            case "float":
                return float.fromhex(rest[0])
            case "complex":
                return complex(*map(float.fromhex, rest[0]))
            case "device":
                return Device(rest[0])
            case "source":
                return self._source(rest[0])
        raise LoadError(f"load: no value has the tag {tag!r}")

    def aval(self, written: Any) -> ShapedArray:
        dtype, shape, weak = written
        return ShapedArray(tuple(shape), _dtype(dtype), weak)

    def array(self, aval: ShapedArray, number: int) -> ConcreteArray:
        return _array_of(aval, self._pieces[number])

    def _literal(self, written: Any, data: str) -> Literal:
        return Literal(_array_of(self.aval(written), bytes.fromhex(data)))

    def _source(self, written: Any) -> SourceInfo | None:
        if written is None:
            return None
        file, line, function = written
        place = _EMPTY.replace(co_filename=file, co_firstlineno=line, co_name=function)
        return SourceInfo(place, -2)  # no instruction of it: the line is the first

    def tree(self, written: Any) -> tree.PyTreeDef:
        return tree.structure(self._example(written))

    def _example(self, written: Any) -> Any:
        """A tree of the structure, with zeros for leaves."""
        if written == "*":
            return 0
        if written is None:
            return None
        kind, *rest = written
        if kind in ("list", "tuple"):
            nodes = [self._example(x) for x in rest]
            return nodes if kind == "list" else tuple(nodes)
        if kind == "deque":
            return deque(map(self._example, rest[1:]), maxlen=rest[0])
        if kind == "dict":
            return dict(self._items(rest))
        if kind == "ordereddict":
            return OrderedDict(self._items(rest))
        if kind == "defaultdict":
            return defaultdict(_FACTORIES[rest[0]], self._items(rest[1:]))
        found = _class_of_user(*rest[:2])
        if kind == "namedtuple" and issubclass(found, tuple) and hasattr(found, "_fields"):
            return found(*map(self._example, rest[2:]))
        registered = tree.registration(found) if kind == "custom" else None
        if registered is None:
            raise LoadError(
                f"load: {found.__name__} must be a class whose instances are trees; register it"
            )
        return registered[1](self.value(rest[2]), tuple(map(self._example, rest[3:])))

    def _items(self, pairs: Iterable[Any]) -> list[tuple[Any, Any]]:
        return [(self.value(k), self._example(x)) for k, x in pairs]


_EMPTY = compile("", "", "exec")


def _dtype(name: str) -> np.dtype[Any]:
    return dtypes.tape if name == "tape" else dtypes.canonical(name)


def _array_of(aval: ShapedArray, data: bytes) -> ConcreteArray:
    if len(data) != aval.size * aval.dtype.itemsize or aval.dtype.hasobject:
        raise LoadError(f"load: {len(data)} bytes are no {aval}")
    buffer = np.ndarray(aval.shape, aval.dtype, data).copy()
    buffer.flags.writeable = False
    return ConcreteArray(buffer, aval)


def _class_of_package(base: type, module: str, name: str) -> Any:
    if module.partition(".")[0] != _PACKAGE:
        raise LoadError(f"load: parameters must be of classes of {_PACKAGE}, got {module}.{name}")
    found = _class_of_user(module, name)
    if not issubclass(found, base):
        raise LoadError(f"load: {module}.{name} must be a {base.__name__}")
    return found


def _class_of_user(module: str, name: str) -> type:
    """A class among the modules that are loaded: nothing is imported, no attribute computed."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        inside = vars(found) if isinstance(found, (types.ModuleType, type)) else {}
        found = inside.get(part)
    if not isinstance(found, type):
        raise LoadError(
            f"load: the program's trees need the class {name} of the module {module}, which is "
            "not loaded; import it first"
        )
    return found
