"""The NumPy executor: a program run by its primitives' `impl` rules.

It is what every other executor is compared with, and what runs on CuPy buffers. A program is
written out as a Python function, one line for each operation, and compiled by Python itself, so
that a step costs little more than the call of its `impl`. Each value is deleted after its last use:
memory is held no longer than by hand-written NumPy. `Program.text` is the function that runs.
"""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import device
from fstensor.array import Array
from fstensor.compiler.simplify import simplify
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Literal, Var
from fstensor.core.primitive import Primitive
from fstensor.device import Device
from fstensor.errors import ConcretizationTypeError


@final
class Program:
    """A program ready to run on buffers.

    source: the simplified program. text: the Python function made of it.
    compiled: what replaces the equations that can run otherwise than by `impl`; see `native`.
    """

    def __init__(
        self,
        closed: ClosedJaxpr,
        compiled: Callable[[ClosedJaxpr], ClosedJaxpr] | None = None,
    ) -> None:
        self.source = simplify(closed)
        writer = _Writer(self.source if compiled is None else compiled(self.source))
        self.text = writer.text
        self._impls = writer.impls
        self._constants = writer.constants
        self._code = compile(self.text, "<fstensor program>", "exec")
        self._functions: dict[Device, Callable[..., list[Any]]] = {}
        self.on_cpu = self._function(device.CPU)

    def _function(self, home: Device) -> Callable[..., list[Any]]:
        """The function for buffers on `home`, with the constants moved there."""
        found = self._functions.get(home)
        if found is None:
            names = {n: device.move(b, home) for n, b in self._constants.items()}
            scope = {**names, **self._impls, "array": _array, "xp": device.array_module(home)}
            exec(self._code, scope)
            found = self._functions[home] = scope["program"]
        return found

    def run(self, xp: Any, buffers: Sequence[Any]) -> list[Any]:
        """The buffers of the outputs. `xp` is the array module of the inputs."""
        return self.function(xp, buffers)(*buffers)

    def function(self, xp: Any, like: Sequence[Any]) -> Callable[..., list[Any]]:
        """The function for buffers that lie where `like` do."""
        return self.on_cpu if xp is np else self._function(device.home_of(like))

    def __str__(self) -> str:
        return self.text


@final
class _Writer:
    """The text of a program's function, and the names that it refers to."""

    def __init__(self, closed: ClosedJaxpr) -> None:
        jaxpr = closed.jaxpr
        self.impls: dict[str, Callable[..., Any]] = {}
        self.constants: dict[str, Any] = {}
        self._names: dict[Var, str] = {}
        self._literals: dict[int, str] = {}
        self._known: dict[Primitive, str] = {}
        for v, c in zip(jaxpr.constvars, closed.consts, strict=True):
            self._names[v] = self._constant(c)
        inputs = [self._name(v) for v in jaxpr.invars]
        dead = _last_uses(jaxpr.eqns, jaxpr.invars, jaxpr.outvars)
        self._owned = _owned(jaxpr.eqns)
        lines: list[str] = []
        for eqn, unused in zip(jaxpr.eqns, dead, strict=True):
            lines += self._step(eqn, unused)
        outs = ", ".join(self._read(a) for a in jaxpr.outvars)
        head = [f"def program({', '.join(inputs)}):", *map(self._shown, self.constants)]
        self.text = "\n    ".join([*head, *lines, f"return [{outs}]"])

    def _shown(self, name: str) -> str:
        x = self.constants[name]
        return f"# {name} = {x.dtype}{list(x.shape)}{'' if x.ndim else f' {x}'}"

    def _name(self, v: Var) -> str:
        self._names[v] = f"s{len(self._names)}"
        return self._names[v]

    def _constant(self, x: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = x.concretize(ConcretizationTypeError, "the value of")
        return name

    def _read(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            found = self._literals.get(id(atom.value))
            if found is None:
                found = self._literals[id(atom.value)] = self._constant(atom.value)
            return found
        return self._names[atom]

    def _step(self, eqn: Eqn, unused: Sequence[Var]) -> list[str]:
        primitive = eqn.primitive
        args = ", ".join(["xp", *map(self._read, eqn.invars)])
        outs = [self._name(v) for v in eqn.outvars]
        # Programs inside, which take many lines, are left out.
        shown = [f"{k}={v}" for k, v in sorted(primitive.params.items()) if "\n" not in str(v)]
        comment = f"  # {' '.join(shown)}" if shown else ""
        reused = self._reusable(eqn, unused)
        if reused is not None:
            operands = args.removeprefix("xp, ")
            call = f"xp.{primitive.elementwise_ufunc}({operands}, out={self._names[reused]})"
        else:
            call = f"{self._impl(primitive)}({args}){comment}"
        if primitive.multiple_results:
            lines = [f"[{', '.join(outs)}] = {call}"]
        else:
            lines = [f"{outs[0]} = {call}"]
        for name, v in zip(outs, eqn.outvars, strict=True):
            if not v.aval.shape:  # NumPy makes a scalar of it, not an array
                lines.append(f"{name} = array({name})")
        if unused:
            lines.append(f"del {', '.join(self._names[v] for v in unused)}")
        return lines

    def _reusable(self, eqn: Eqn, unused: Sequence[Var]) -> Var | None:
        """An operand into whose memory the result may go: nothing reads it later, or shares it."""
        if not eqn.primitive.elementwise_ufunc:
            return None
        aval = eqn.outvars[0].aval
        if not aval.shape or aval.dtype.kind not in "fc" or aval.dtype.isbuiltin != 1:
            return None
        for v in unused:
            if v in self._owned and v in eqn.invars and v.aval.same_type(aval):
                return v
        return None

    def _impl(self, primitive: Primitive) -> str:
        """The name of a primitive's `impl`, one for all equations with the same parameters."""
        found = self._known.get(primitive)
        if found is None:
            stem = "".join(c if c.isalnum() else "_" for c in primitive.name)
            taken = self.impls.keys() | {"array", "xp", *keyword.kwlist}
            candidates = itertools.chain([stem], (f"{stem}_{i}" for i in itertools.count(2)))
            found = self._known[primitive] = next(n for n in candidates if n not in taken)
            self.impls[found] = primitive.impl
        return found


def _array(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, np.generic) else x


def _owned(eqns: Sequence[Eqn]) -> set[Var]:
    """The values that are alone in their memory: made by arithmetic, and never viewed."""
    made = {v for e in eqns if e.primitive.elementwise_ufunc for v in e.outvars}
    viewed = {
        a
        for e in eqns
        if not e.primitive.elementwise_ufunc and not e.primitive.result_is_apart
        for a in e.invars
    }
    return made - viewed


def _last_uses(
    eqns: Sequence[Eqn], invars: Sequence[Var], outvars: Sequence[Atom]
) -> list[list[Var]]:
    """For each equation the values that nothing after it reads."""
    kept = {v for v in outvars if isinstance(v, Var)}
    made = {*invars, *(v for eqn in eqns for v in eqn.outvars)}
    dead: list[list[Var]] = []
    for eqn in reversed(eqns):
        # A result that nobody reads dies with its own step. Constants stay.
        touched = [v for v in [*eqn.invars, *eqn.outvars] if isinstance(v, Var)]
        dead.append([v for v in dict.fromkeys(touched) if v in made and v not in kept])
        kept.update(touched)
    return dead[::-1]
