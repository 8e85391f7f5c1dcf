"""Machine code from LLVM IR, in memory.

A module of text is turned into object code, for the very processor that it will run on, and linked
into one long-lived engine as a library of its own. There is no pipeline of passes: what is written
is what runs. Object code is kept on disk (`object_cache`), so that a text is compiled once.

The small code model reads constants relative to the instruction. That needs code and constants of
a module close to each other, which LLVM's newer linker (JITLink) sees to.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import llvmlite
import llvmlite.binding as llvm

from fstensor.compiler import ahead
from fstensor.compiler.llvm import emission, half, object_cache
from fstensor.compiler.llvm.target import TARGETS, chosen_target, has_half_conversions
from fstensor.compiler.llvm.text import Part

# Level 0 takes half the time of 1, but keeps values on the stack. Of kernels that are written as
# vectors, 2 and 3 make what 1 makes.
_LEVELS = {False: 1, True: 0}  # by whether code is to be made quickly
_OPTIONS = {"reloc": "pic", "codemodel": "small"}

# To be changed when the same text is made into other code, or object code is linked differently.
_VERSION = 3

# LLVM is entered by one thread at a time.
_lock = threading.RLock()


@contextlib.contextmanager
def _nobody_in_llvm() -> Iterator[None]:
    """Wait until no thread is in LLVM, and let none enter: neither from here, nor from llvmlite.

    Its finalizers free modules in whatever thread drops them, under a lock of llvmlite's own.
    """
    theirs = getattr(llvm.ffi.lib, "_lock", contextlib.nullcontext())
    with _lock, theirs:
        yield


_forks: list[contextlib.AbstractContextManager[None]] = []


def _before_fork() -> None:
    ahead.wait()  # who may be about to enter
    _forks.append(_nobody_in_llvm())
    _forks[-1].__enter__()


def _after_fork() -> None:
    if _forks:  # empty where this module was imported while the fork waited
        _forks.pop().__exit__(None, None, None)


# A fork waits for whoever is in LLVM, and leaves the locks free on both sides.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )

_DEFINED = re.compile(r'^define (?!internal |private )[^@\n]*@(?:"([^"]+)"|([\w.$-]+))', re.M)
_DECLARED = re.compile(r'^declare [^@\n]*@(?:"([^"]+)"|([\w.$-]+))', re.M)

_provided: dict[str, int] = {}


def provide(name: str, address: int) -> None:
    """Let modules that are compiled from now on declare the function `name`, found at `address`.

    Symbols of the process, as those of the C library, need not be provided.
    """
    _provided[name] = address


@final
class Compiled:
    """Code in memory. It stays there as long as this object lives.

    object_code: the same as bytes, which `load_object` takes on a machine with this fingerprint.
    names: the functions that can be called.
    """

    __slots__ = ("__weakref__", "_library", "names", "object_code")

    def __init__(self, object_code: bytes, names: Iterable[str]) -> None:
        self.object_code = object_code
        self.names = tuple(names)
        builder = llvm.JITLibraryBuilder().add_current_process()
        for code in emission.taken_apart(object_code):
            builder.add_object_img(code)
        for name in self.names:
            builder.export_symbol(name)
        with _lock:
            for name, address in _provided.items():
                if name not in self.names:
                    builder.import_symbol(name, address)
            self._library = builder.link(_engine(), f"module{next(_numbers)}")

    def address(self, function_name: str) -> int:
        """Where a function starts. Raises KeyError for a name that the module does not define."""
        address: int = self._library[function_name]
        return address


@final
class _Shared(threading.local):
    """Object code that the thread was handed, and a list of what it needs; see `exchange`."""

    offered: Mapping[str, bytes] | None = None
    used: dict[str, bytes] | None = None


_shared = _Shared()


@contextlib.contextmanager
def exchange(offered: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Within the block, modules are looked for in `offered` before they are compiled.

    Gives the object code of all modules that were asked for in the block, by keys that tell
    the text, the processor and the versions; that is what may be offered later.
    """
    before = _shared.offered, _shared.used
    _shared.offered, _shared.used = offered, {}
    try:
        yield _shared.used
    finally:
        _shared.offered, _shared.used = before


_numbers = itertools.count()
_known: weakref.WeakValueDictionary[str, Compiled] = weakref.WeakValueDictionary()


def verifying() -> bool:
    """Whether the environment asks to check what each stage of the compiler has made."""
    return os.environ.get("FSTENSOR_VERIFY_IR", "") not in ("", "0")


def compile_module(
    text: str,
    verify: bool | None = None,
    kept: bool = True,
    parts: emission.Crew | None = None,
    names: Sequence[str] | None = None,
    quickly: bool = False,
) -> Compiled:
    """Compile a module of LLVM IR, or find it compiled in this process or on disk.

    verify: check the module by LLVM's verifier, and compile it for certain. None stands for whether
        the environment has FSTENSOR_VERIFY_IR, other than "" and "0".
    kept: whether it is looked for on disk, and kept there.
    parts: where modules that make up this one, if there are any, are being compiled; see
        `in_parts`.
    names: the functions that will be called; None for all that others may call.
    quickly: whether it need not be made fast; see `Part`.
    Raises: RuntimeError with the line in question when the text is no valid IR.
    """
    if verify is None:
        verify = verifying()
    if not has_half_conversions():
        _provide_half_conversions()
    return _compile(text, verify, kept, parts, names, quickly)


@functools.cache
def _provide_half_conversions() -> None:
    conversions = _compile(half.CONVERSIONS, verify=False, kept=True)
    for name, function in half.PROVIDED.items():
        provide(name, conversions.address(function))
    _always_needed.append(conversions)


_always_needed: list[Compiled] = []


@contextlib.contextmanager
def in_parts(threads: int) -> Iterator[emission.Crew]:
    """In the block, some threads, the caller's among them, compile the modules that are added.

    `compile_module` takes the parts of a module so, whose code is to be linked together.
    """
    with _lock, emission.without_strength_reduction(), emission.short_turns():
        crew = emission.Crew(threads, _emit_by)
        try:
            yield crew
        finally:
            crew.dismiss()


def _emit_by(number: int, part: Part) -> bytes:
    return _emit(part.text, _host_machine(number, part.quickly), verifying())


def _compile(
    text: str,
    verify: bool,
    kept: bool,
    parts: emission.Crew | None = None,
    names: Sequence[str] | None = None,
    quickly: bool = False,
) -> Compiled:
    key = digest(text)
    with _lock:
        compiled = _known.get(key)
        if compiled is None or verify:
            code = find(key) if kept and not verify else None
            if code is None:
                codes = parts.results() if parts is not None else []
                code = emission.joined(codes) if codes else _emit_whole(text, verify, quickly)
                if kept:
                    keep(key, code)
            compiled = _known[key] = _link(code, text, names)
        elif kept and _shared.used is not None:
            _shared.used[key] = compiled.object_code
        return compiled


def digest(text: str) -> str:
    """A key for what is made of a text on this processor, by these versions."""
    return hashlib.sha256(f"{fingerprint()}\n{text}".encode()).hexdigest()


def find(key: str) -> bytes | None:
    """What was handed over under a key, or is on disk."""
    found = _shared.offered.get(key) if _shared.offered is not None else None
    if found is None:
        found = object_cache.load(key)
    if found is not None and _shared.used is not None:
        _shared.used[key] = found
    return found


def keep(key: str, data: bytes) -> None:
    """Keep something on disk, for later processes."""
    object_cache.store(key, data)
    if _shared.used is not None:
        _shared.used[key] = data


def load_object(object_code: bytes, names: Iterable[str]) -> Compiled:
    """Link object code that `compile_module` made on a machine with this fingerprint.

    Raises: RuntimeError for what is no object code, or lacks one of the names.
    """
    if not has_half_conversions():
        _provide_half_conversions()
    return Compiled(object_code, names)


@functools.cache
def fingerprint() -> str:
    """What object code depends on, apart from the text: the processor and the versions."""
    versions = (llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)), _VERSION)
    return (
        f"{_host_triple()} {_host_cpu()} {_host_features()} {versions} {sorted(_OPTIONS.items())}"
        f" {_LEVELS}"
    )


def assembly(
    text: str,
    triple: str | None = None,
    cpu: str | None = None,
    features: str = "",
    quickly: bool = False,
) -> str:
    """The assembly of a module of LLVM IR, for any processor that LLVM knows.

    triple: as in "aarch64-unknown-linux-gnu"; None is the host's.
    cpu: LLVM's name, as in "x86-64-v3"; None is the host's for the host's triple, else a plain one.
    features: further ones, as in "+avx512f,+fma".
    quickly: not made fast; see `Part`.
    Raises: RuntimeError for text that is no valid IR, and for a triple that LLVM does not know.
    """
    with _lock:
        return _emit_assembly(text, _machine_of(triple, cpu, features, quickly))


def object_code(
    text: str, triple: str | None = None, cpu: str | None = None, features: str = ""
) -> bytes:
    """The object code of a module of LLVM IR, verified, for any processor; see `assembly`."""
    with _lock:
        return _emit(text, _machine_of(triple, cpu, features), verify=True)


def _machine_of(triple: str | None, cpu: str | None, features: str, quickly: bool = False) -> Any:
    _initialize_all()
    if triple is None:
        triple = _host_triple()
        if cpu is None:
            cpu, features = _host_cpu(), ",".join(filter(None, (_host_features(), features)))
    return _machine(triple, cpu or "", features, quickly)


def _emit_whole(text: str, verify: bool, quickly: bool) -> bytes:
    machine = _host_machine(quickly=quickly)
    with emission.without_strength_reduction():
        return _emit(text, machine, verify)


def _emit(text: str, machine: Any, verify: bool) -> bytes:
    with _parsed(text) as module:
        if verify:
            _verify(module, text)
        return emission.emit_object(machine, module)


def _emit_assembly(text: str, machine: Any) -> str:
    with _parsed(text) as module:
        _verify(module, text)
        result: str = machine.emit_assembly(module)
        return result


@contextlib.contextmanager
def _parsed(text: str) -> Iterator[Any]:
    """A module in a context of its own, which goes after it, and with it the types and constants.

    A collector of garbage, say of what an exception refers to, might take the context first.
    """
    context = llvm.create_context()
    module = _parse(text, context)
    try:
        yield module
    finally:
        module.close()


def _parse(text: str, context: Any) -> Any:
    try:
        return emission.parse(text, context)
    except RuntimeError as error:
        raise RuntimeError(f"LLVM IR: {error}{_around_error(text, str(error))}") from None


def _verify(module: Any, text: str) -> None:
    try:
        module.verify()
    except RuntimeError as error:
        numbered = _numbered(text.splitlines(), 1)
        raise RuntimeError(f"LLVM IR: {error}\n{numbered}") from None


def _around_error(text: str, message: str) -> str:
    """The lines about the one that a message of LLVM's parser names, with their numbers."""
    place = re.search(r":(\d+):\d+: error", message)
    if place is None:
        return ""
    line = int(place[1])
    first = max(line - 3, 1)
    return "\nIn these lines:\n" + _numbered(text.splitlines()[first - 1 : line + 1], first)


def _numbered(lines: list[str], first: int) -> str:
    return "\n".join(f"{number:6} | {line}" for number, line in enumerate(lines, first))


def _link(code: bytes, text: str, names: Sequence[str] | None) -> Compiled:
    try:
        return Compiled(code, _names(_DEFINED, text) if names is None else names)
    except RuntimeError as error:
        unknown = [
            name
            for name in _names(_DECLARED, text)
            if not name.startswith("llvm.")
            and name not in _provided
            and llvm.address_of_symbol(name) is None
        ]
        what = f"; nothing provides {', '.join(unknown)}" if unknown else ""
        raise RuntimeError(f"linking LLVM IR: {error}{what}") from None


def _names(pattern: re.Pattern[str], text: str) -> list[str]:
    return [quoted or plain for quoted, plain in pattern.findall(text)]


@functools.cache
def _initialize_host() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _initialize_all() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@functools.cache
def _host_triple() -> str:
    triple: str = llvm.get_process_triple()
    # Objects in the format of Windows cannot be linked in memory; ELF can, with its conventions.
    return f"{triple}-elf" if sys.platform == "win32" else triple


@functools.cache
def _host_cpu() -> str:
    chosen = chosen_target()
    name: str = TARGETS[chosen][1] if chosen else llvm.get_host_cpu_name()
    return name


@functools.cache
def _host_features() -> str:
    features: str = "" if chosen_target() else llvm.get_host_cpu_features().flatten()
    return features


@functools.cache
def _machine(triple: str, cpu: str, features: str, quickly: bool = False) -> Any:
    return _new_machine(triple, cpu, features, quickly)


def _new_machine(triple: str, cpu: str, features: str, quickly: bool = False) -> Any:
    target = llvm.Target.from_triple(triple)
    level = _LEVELS[quickly]
    return target.create_target_machine(cpu=cpu, features=features, opt=level, **_OPTIONS)


@functools.cache
def _host_machine(number: int = 0, quickly: bool = False) -> Any:
    """A machine for this processor, another one for each thread."""
    _initialize_host()
    make = _new_machine if number else _machine
    return make(_host_triple(), _host_cpu(), _host_features(), quickly)


@functools.cache
def _engine() -> Any:
    _initialize_host()
    machine = _new_machine(_host_triple(), _host_cpu(), _host_features())
    return llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=True)
