"""What a jitted function goes through: lowered for one signature, compiled, saved, loaded.

::

    lowered = jit(f).lower(*args)       traced; every stage can be printed
    compiled = lowered.compile()        ready to run, for arguments of these types alone
    compiled.save("f.fst")              to a file
    load("f.fst")(*args)                in another process, without `f`
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from fstensor import tree
from fstensor.array import Array, ConcreteArray
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.donation import give, take_back
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import Primitive, registry
from fstensor.core.state import state
from fstensor.core.trace import EVAL, Tracer
from fstensor.errors import (
    ArgumentError,
    ConcretizationTypeError,
    LoadError,
    OptionError,
    UnexpectedTracerError,
)
from fstensor.transforms.make_jaxpr import ShapeDtypeStruct, aval_of
from fstensor.transforms.programs import (
    compile_whole,
    may_give_up,
    native_of,
    program_of,
    runs_natively,
    simplified,
)
from fstensor.transforms.saved import Reader, Writer, guarded, packed, unpacked

__all__ = ["ArgInfo", "Compiled", "Lowered", "load"]


@final
@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature of a function, traced.

    call: the primitive that calls the program. name: of the function, with its place. in_tree: of
    the positional and the keyword arguments without static ones, which `static` shows as text.
    donated: for each leaf, whether the caller gives it up. captured: tracers of enclosing
    transforms, which the program takes first.
    """

    call: Primitive
    name: str
    in_tree: tree.PyTreeDef
    out_tree: tree.PyTreeDef
    donated: tuple[bool, ...]
    static: tuple[str, ...] = ()
    captured: tuple[Array, ...] = ()

    @property
    def program(self) -> ClosedJaxpr:
        found = self.call.called_program()
        assert found is not None
        return found

    @property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        return self.program.in_avals[len(self.captured) :]


@final
@dataclasses.dataclass(frozen=True)
class ArgInfo:
    """The type of an argument, and whether the call may keep its memory."""

    shape: tuple[int, ...]
    dtype: Any
    donated: bool


class Stage(ABC):
    """What Lowered and Compiled tell of a program."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    @abstractmethod
    def __repr__(self) -> str: ...

    @property
    def jaxpr(self) -> ClosedJaxpr:
        return self._signature.program

    @property
    def in_tree(self) -> tree.PyTreeDef:
        """The structure of `(args, kwargs)`, without static arguments."""
        return self._signature.in_tree

    @property
    def out_tree(self) -> tree.PyTreeDef:
        return self._signature.out_tree

    @property
    def args_info(self) -> Any:
        """`(args, kwargs)` with an ArgInfo in place of each array."""
        s = self._signature
        pairs = zip(s.in_avals, s.donated, strict=True)
        return tree.unflatten(s.in_tree, [ArgInfo(a.shape, a.dtype, d) for a, d in pairs])

    @property
    def out_info(self) -> Any:
        """The result with a ShapeDtypeStruct in place of each array."""
        avals = self.jaxpr.out_avals
        structs = [ShapeDtypeStruct(a.shape, a.dtype, a.weak_type) for a in avals]
        return tree.unflatten(self.out_tree, structs)

    def as_text(self, stage: str = "jaxpr") -> str:
        """The program at a stage of its compilation for the CPU.

        stage: "jaxpr", as traced. "optimized": after the passes that make it smaller. "kernels":
            the loops that operations were fused into. "plan": which of them run in one native call,
            and where their values lie. "llvm": the native code as LLVM IR; "asm": as assembly.
            "numpy": the steps as the executor "numpy" runs them.
        Raises: OptionError for another stage.
        """
        make = _TEXTS.get(stage)
        if make is None:
            known = ", ".join(map(repr, _TEXTS))
            raise OptionError(f"as_text: stage must be one of {known}, got {stage!r}")
        return make(self.jaxpr)

    def cost_analysis(self) -> dict[str, float]:
        """What a call costs on the CPU.

        "flops": operations of arithmetic, an elementary function counted as one. "bytes accessed":
        memory that kernels read and write, each buffer counted once a kernel. "arena size": bytes
        of memory for values inside. "kernels", "host calls": how many there are.
        """
        return native_of(self.jaxpr).pipeline.cost_analysis()

    def report(self) -> str:
        """What runs as native code, and what is left to NumPy, and why."""
        return native_of(self.jaxpr).pipeline.report()


_TEXTS: dict[str, Callable[[ClosedJaxpr], str]] = {
    "jaxpr": str,
    "optimized": lambda closed: str(simplified(closed)),
    "kernels": lambda closed: native_of(closed).pipeline.kernels,
    "plan": lambda closed: native_of(closed).pipeline.plan,
    "llvm": lambda closed: native_of(closed).pipeline.code.llvm,
    "asm": lambda closed: native_of(closed).pipeline.assembly,
    "numpy": lambda closed: str(program_of(closed)),
}


@final
class Lowered(Stage):
    """A function traced for one signature."""

    def __repr__(self) -> str:
        return f"<lowered {self._signature.name}>"

    @boundary
    def compile(self) -> Compiled:
        """The program ready to run, on arguments of these types alone.

        Raises: ConcretizationTypeError when it refers to values of an enclosing transform.
        """
        s = self._signature
        if s.captured:
            raise ConcretizationTypeError(
                f"compile: {s.name} refers to {len(s.captured)} traced values of an enclosing "
                f"transform, the first is {s.captured[0].aval}; pass them as arguments"
            )
        compile_whole(s.program)
        return Compiled(s)


@final
class Compiled(Stage):
    """A function compiled for one signature. Static arguments are left out of its calls.

    It runs on arrays; within a transform, call the jitted function itself.
    """

    def __repr__(self) -> str:
        return f"<compiled {self._signature.name}>"

    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        s = self._signature
        leaves, in_tree = tree.flatten((args, kwargs))
        if in_tree != s.in_tree:
            mismatch = tree.describe_mismatch(s.in_tree, (args, kwargs))
            static = f"; static arguments are fixed: {', '.join(s.static)}" if s.static else ""
            raise ArgumentError(
                f"compiled {s.name}: (args, kwargs) must have the structure that it was compiled "
                f"for, {mismatch}{static}"
            )
        avals = [x.aval if x.__class__ is ConcreteArray else self._aval(x) for x in leaves]
        for got, a in zip(avals, s.in_avals, strict=True):
            if got is not a and not got.same_type(a):
                self._raise_for_types(args, kwargs, avals)
        if not any(s.donated) or state.trace is not EVAL:
            return tree.unflatten(s.out_tree, s.call.bind(*leaves))
        places = [i for i in _places(s.donated) if isinstance(leaves[i], ConcreteArray)]
        given = self._give_up(leaves, places)
        try:
            outs = s.call.bind(*leaves)
        finally:
            take_back(given)
            for i in places:
                leaves[i].donate(s.name)
        return tree.unflatten(s.out_tree, outs)

    def _give_up(self, leaves: Sequence[Any], places: Sequence[int]) -> list[int]:
        buffers = [getattr(x, "_buffer", None) for x in leaves]
        if not runs_natively() or not all(isinstance(b, np.ndarray) for b in buffers):
            return []
        return give(leaves, places, buffers, native_of(self.jaxpr).source)

    def _aval(self, x: Any) -> ShapedArray:
        if isinstance(x, Tracer):
            raise UnexpectedTracerError(
                f"compiled {self._signature.name}: takes arrays, got a traced {x.aval}; within a "
                "transform call the jitted function itself"
            )
        return aval_of(x)

    def _raise_for_types(self, args: Any, kwargs: Any, avals: Sequence[ShapedArray]) -> None:
        s = self._signature
        paths = [path for path, _ in tree.flatten_with_path((args, kwargs))[0]]
        for path, got, a in zip(paths, avals, s.in_avals, strict=True):
            if not got.same_type(a):
                which = "args" if path[0].idx == 0 else "kwargs"
                raise ArgumentError(
                    f"compiled {s.name}: arguments must have the types that it was compiled for, "
                    f"got {got}, not {a}, for {which}{tree.keystr(path[1:])}"
                )

    @boundary
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to one file, from which `load` reads it in any process.

        The file holds the simplified program with its constants, the structures of arguments and
        results, and the machine code for this processor. It replaces one of that name when it is
        whole.
        Raises: SaveError when the program calls Python functions, as a callback does, or when its
            trees hold static values other than numbers, text and tuples of them; OSError.
        """
        s = self._signature
        writer = Writer()
        writer.program(s.program)
        header = {
            "written_by": vars(sys.modules["fstensor"])["__version__"],
            "label": s.call.params["name"],
            "name": s.name,
            "in_tree": writer.tree(s.in_tree),
            "out_tree": writer.tree(s.out_tree),
            "donated": s.donated,
            "static": s.static,
            "programs": writer.programs,
        }
        # What is loaded is what was read, hence the code of that is kept.
        again = Reader(writer.programs, writer.pieces).programs[-1]
        may_give_up(again, _places(s.donated))
        objects = compile_whole(again)
        header["objects"] = list(objects)
        _write_whole(Path(path), packed(header, [*writer.pieces, *objects.values()]))


def _places(marks: Sequence[bool]) -> list[int]:
    return [i for i, on in enumerate(marks) if on]


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@boundary
def load(path: str | os.PathLike[str], *, machine_code: bool = True) -> Compiled:
    """The compiled function that `Compiled.save` has written.

    Nothing is traced. On another processor, or with other versions of the library or of LLVM, the
    program in the file is compiled anew. Classes of named tuples and of registered containers in
    arguments and results are looked up by name: their modules must have been imported.
    machine_code: whether to use the machine code in the file. It runs with all the rights of the
        process, so leave it out for a file from someone you do not trust; nothing else in a file is
        ever executed.
    Raises: LoadError for a file that is damaged, is no saved program, or needs a class or an
        operation that is not there; OSError.
    """
    file = os.fspath(path)
    header, pieces = unpacked(Path(path).read_bytes(), file)

    def read() -> tuple[Signature, dict[str, bytes]]:
        keys = header["objects"]
        first = len(pieces) - len(keys)
        reader = Reader(header["programs"], pieces[:first])
        may_give_up(reader.programs[-1], _places(header["donated"]))
        call_of: Callable[..., Primitive] = registry["jit"]
        call = call_of(header["label"], reader.programs[-1])
        in_tree, out_tree = reader.tree(header["in_tree"]), reader.tree(header["out_tree"])
        donated, static = tuple(header["donated"]), tuple(header["static"])
        found = Signature(call, header["name"], in_tree, out_tree, donated, static)
        if in_tree.num_leaves != len(found.in_avals) or len(donated) != len(found.in_avals):
            raise LoadError(f"load: {file} has other arguments than its program")
        return found, dict(zip(keys, pieces[first:], strict=True))

    signature, objects = guarded(file, read, str(header.get("written_by")))
    compile_whole(signature.program, objects if machine_code else {})
    return Compiled(signature)
