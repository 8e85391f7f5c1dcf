"""What a network is made of, as a table: layers, outputs, parameters and arithmetic.

>>> import fstensor as fst
>>> from fstensor import nn
>>> model = nn.Sequential(hidden=nn.Linear(32), relu=nn.relu, out=nn.Linear(10))
>>> nn.summary(model, fst.ShapeDtypeStruct((8, 64), "float32"))
Layer                 Output         Parameters   FLOPs
Sequential            float32[8,10]       2,410  38.2 k
  hidden: Linear      float32[8,32]       2,080  33.0 k
  relu: Lambda(relu)  float32[8,32]           0       0
  out: Linear         float32[8,10]         330  5.20 k
2,410 parameters (9.64 kB), state of 0 (0 B), 38.2 kFLOP
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

from fstensor import random, tree
from fstensor.array import Array
from fstensor.core.boundary import boundary
from fstensor.core.control_flow import Choice, Loop
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Var
from fstensor.core.state import state as threads_state
from fstensor.errors import ArgumentError, OptionError
from fstensor.nn.layer import Layer, applied, made, watching
from fstensor.nn.layers.combine import Lambda
from fstensor.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape, make_jaxpr
from fstensor.transforms.programs import ProgramPrimitive, flops_of


@final
@dataclass(frozen=True)
class Row:
    """A layer in one place of a network, with all that is within it.

    path: of its parameters, such as "encoder/layer0". name: what it is called in the layer that
    runs it. depth: how many layers are around it. layer: its class. calls: how often it runs in
    that place. output: what it gives, the last time, a tree of ShapeDtypeStructs.
    parameters, state: how many numbers there are. flops: of all calls.
    shared: whether a row before has its parameters, so that they do not count here.
    """

    path: str
    name: str
    depth: int
    layer: str
    calls: int
    output: Any
    parameters: int
    state: int
    flops: int
    shared: bool

    @property
    def label(self) -> str:
        """The name and the class, and how often it runs where that is not once."""
        named = f"{self.name}: {self.layer}" if self.name else self.layer
        return named if self.calls == 1 else f"{named} x{self.calls}"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What a table says, beside the depth."""
        leaves = [str(x.aval) for x in tree.leaves(self.output)]
        output = leaves[0] if len(leaves) == 1 else f"({', '.join(leaves)})"
        count = "shared" if self.shared else f"{self.parameters:,}"
        return self.label, output, count, _short(self.flops, "")


_HEAD = ("Layer", "Output", "Parameters", "FLOPs")


@final
@dataclass(frozen=True)
class Summary:
    """What `summary` tells. As text it is a table, in notebooks too.

    rows: one for each layer and place, in the order in which they run; the first is the whole.
    total_parameters, total_state, total_flops: those of the whole, where parameters that do not
    take part in this call count as well. parameter_bytes, state_bytes: their memory.
    """

    rows: tuple[Row, ...]
    total_parameters: int
    parameter_bytes: int
    total_state: int
    state_bytes: int
    total_flops: int

    def down_to(self, depth: int) -> Summary:
        """The same without the rows that are deeper. All numbers stay: rows count what is within.

        Raises: OptionError for a depth below 0.
        """
        if depth < 0:
            raise OptionError(f"down_to: depth must be 0 or more, got {depth}")
        return dataclasses.replace(self, rows=tuple([r for r in self.rows if r.depth <= depth]))

    def __str__(self) -> str:
        indented = [("  " * r.depth + r.cells[0], *r.cells[1:]) for r in self.rows]
        table = [_HEAD, *indented]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for cells in table:
            left = [c.ljust(w) for c, w in zip(cells[:2], widths, strict=False)]
            right = [c.rjust(w) for c, w in zip(cells[2:], widths[2:], strict=True)]
            lines.append("  ".join(left + right))
        return "\n".join([*lines, self._totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(tag: str, cells: tuple[str, ...], indent: int = 0) -> str:
            styles = [f"text-align: left; padding-left: {indent + 1}em", "text-align: left"]
            styles += ["text-align: right"] * (len(cells) - 2)
            parts = [
                f'<{tag} style="{style}">{html.escape(cell)}</{tag}>'
                for style, cell in zip(styles, cells, strict=True)
            ]
            return f"<tr>{''.join(parts)}</tr>"

        body = [line("td", row.cells, 2 * row.depth) for row in self.rows]
        parts = ["<table>", line("th", _HEAD), *body, "</table>", f"<p>{self._totals()}</p>"]
        return "\n".join(parts)

    def _totals(self) -> str:
        memory, of_state = _short(self.parameter_bytes, "B"), _short(self.state_bytes, "B")
        return (
            f"{self.total_parameters:,} parameters ({memory}), "
            f"state of {self.total_state:,} ({of_state}), {_short(self.total_flops, 'FLOP')}"
        )


@boundary
def summary(
    layer: Layer, *inputs: Any, key: Array | None = None, train: bool = False, **options: Any
) -> Summary:
    """What a layer is made of, for inputs like these. Nothing is computed, no parameter is made.

    inputs: arrays or `ShapeDtypeStruct`s, or trees of them, of which shapes and dtypes count.
    key: random, for layers that ask for one in evaluation too; while training there always is one.
    train: as in `Layer.apply`. options: keyword arguments of `forward`, where ShapeDtypeStructs may
        stand for arrays.

    A row counts a layer with all that is within it. Parameters that stand in several places count
    in the first; those of `Repeat` as often as it repeats. Calls are those of the whole program,
    each round of a loop by itself.
    FLOPs are those of the forward pass, as `Lowered.cost_analysis` counts them, of each operation
    before any is fused or simplified away: 2 m n k for a matrix product and likewise for
    convolutions, whose padding counts as input; 1 for each element that arithmetic on floats, an
    elementary function, a reduction, a cumulative sum or a scattered addition takes. What moves,
    compares, selects and converts counts as none, nor do integers, and what has no kernels, such as
    sorting, FFTs and decompositions. Of a choice, the branch of most operations counts; of a loop
    whose length the data decide, one round.
    Raises: ArgumentError for what is no layer, or for inputs without shape and dtype; what
        `forward` raises for such inputs.
    """
    if not isinstance(layer, Layer):
        raise ArgumentError(f"summary: takes a layer, and inputs for it, got {layer!r}")
    for path, x in tree.flatten_with_path(inputs)[0]:
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise ArgumentError(
                f"summary: inputs must be arrays or ShapeDtypeStructs, got {x!r} for "
                f"inputs{tree.keystr(path)}; pass ShapeDtypeStruct(shape, dtype)"
            )
    leaves, structure = tree.flatten((inputs, options))
    of_inputs = len(tree.leaves(inputs))
    places = [i for i, x in enumerate(leaves) if i < of_inputs or isinstance(x, ShapeDtypeStruct)]

    def filled(values: tuple[Any, ...]) -> Any:
        given = dict(zip(places, values, strict=True))
        return tree.unflatten(structure, [given.get(i, x) for i, x in enumerate(leaves)])

    def making(key: Array, *values: Any) -> Any:
        inputs, options = filled(values)
        return made(layer, key, *inputs, **options)[:2]

    def running(params: Any, state: Any, key: Array | None, *values: Any) -> Any:
        inputs, options = filled(values)
        return applied(layer, params, state, *inputs, key=key, train=train, **options)

    specs = [leaves[i] for i in places]
    some_key = random.key(0) if key is None else key
    params, state = eval_shape(making, some_key, *specs)
    watch = _Watch()
    before = watching.set(watch)
    try:
        program = make_jaxpr(running)(params, state, some_key if train else key, *specs)
    finally:
        watching.reset(before)
    return watch.summary(program, params, state)


# What was seen while the program was traced


@final
class _Place:
    """A layer in one place: the layer or layers within, and what was found out about it."""

    def __init__(self, layer: Layer, name: str, path: str) -> None:
        self.layer = layer
        self.name = name
        self.path = path
        self.within: dict[str, _Place] = {}
        self.runs: list[_Run] = []
        self.output: Any = None
        self.sizes = {"params": 0, "state": 0}


@final
class _Run:
    """One time that `forward` of a layer was traced.

    root: the path of the layer that paths are relative to. records: whether it has equations.
    times: how often the program runs them; None as long as it is not known.
    """

    def __init__(self, place: _Place, parent: _Run | None, root: str) -> None:
        self.place = place
        self.parent = parent
        self.root = root
        self.records = False
        self.times: int | None = None
        self.flops = 0

    def is_within(self, other: _Run) -> bool:
        run: _Run | None = self
        while run is not None and run is not other:
            run = run.parent
        return run is other

    def note(self, times: int) -> None:
        """An equation of it is in the program, which runs it so often."""
        run: _Run | None = self
        while run is not None:  # around a loop, things run less often than within
            run.times = times if run.times is None else min(run.times, times)
            run = run.parent

    @property
    def calls(self) -> int:
        """How often the program runs it. Loops are traced twice at times: not all is in there."""
        if self.times is not None or self.records or self.parent is None:
            return self.times or 0
        return self.parent.calls


@final
class _Watch:
    """What happens while a network is traced: which layer runs, and what it records."""

    def __init__(self) -> None:
        self.whole: _Place | None = None
        self._running: list[_Run] = []
        self._owners: dict[Var, _Run] = {}

    def __call__(self, layer: Layer, path: str, forward: Callable[[], Any]) -> Any:
        run = self._begin(layer, path)
        run.place.runs.append(run)
        self._running.append(run)
        before = [(b, len(b)) for b in _recorded()]
        try:
            outputs = forward()
        finally:
            self._running.pop()
        for eqns, count in before:
            run.records = run.records or len(eqns) > count
            for eqn in eqns[count:]:
                for v in eqn.outvars:
                    self._owners.setdefault(v, run)  # those of layers within have theirs
        run.place.output = tree.map(_struct, outputs)
        return outputs

    def _begin(self, layer: Layer, path: str) -> _Run:
        if not self._running:
            self.whole = _Place(layer, "", "")
            return _Run(self.whole, None, "")
        parent = self._running[-1]
        if path:
            root, path = parent.root, _joined(parent.root, path)
        else:  # run by `applied`: the layer around has its parameters, by the name of a field
            root = path = _joined(parent.place.path, _field_of(parent.place.layer, layer))
        name = path.removeprefix(f"{parent.place.path}/")
        found = parent.place.within.setdefault(name, _Place(layer, name, path))
        return _Run(found, parent, root)

    def summary(self, program: ClosedJaxpr, params: Any, state: Any) -> Summary:
        whole = self.whole
        assert whole is not None
        self._count(program, whole.runs[0], 1, 1)
        numbers = {"params": params, "state": state}
        totals = [_attribute(whole, what, made) for what, made in numbers.items()]
        rows = tuple(_rows(whole, 0, set()))
        return Summary(rows, *totals[0], *totals[1], rows[0].flops)

    def _count(self, program: ClosedJaxpr, within: _Run, times: int, counted: int) -> None:
        """Give what the equations cost to the layers that recorded them.

        within: the run that the program is a part of. times: how often it runs. counted: how many
        of these count.
        """
        for eqn in program.eqns:
            run = self._owner(eqn, within)
            run.note(times)
            if isinstance(eqn.primitive, ProgramPrimitive):
                for inner, n, counts in _programs(eqn):
                    self._count(inner, run, times * n, counted * n * counts)
            else:
                run.flops += counted * flops_of(eqn)

    def _owner(self, eqn: Eqn, within: _Run) -> _Run:
        # A program that was traced before, and is used again, belongs to who uses it.
        found = self._owners.get(eqn.outvars[0]) if eqn.outvars else None
        return found if found is not None and found.is_within(within) else within


def _recorded() -> list[list[Eqn]]:
    """The equations that the current trace and those around it have recorded so far."""
    found: list[list[Eqn]] = []
    trace: Any = threads_state.trace
    while trace is not None:
        if hasattr(trace, "builder"):
            found.append(trace.builder.eqns)
        trace = getattr(trace, "parent", None)
    return found


def _struct(x: Any) -> Any:
    aval = x.aval if isinstance(x, Array) else None
    return x if aval is None else ShapeDtypeStruct(aval.shape, aval.dtype, aval.weak_type)


def _joined(*names: str) -> str:
    return "/".join(filter(None, names))


def _field_of(layer: Layer, inner: Layer) -> str:
    made: Any = layer  # every subclass is a dataclass
    names = [f.name for f in dataclasses.fields(made)]
    return next((n for n in names if getattr(layer, n) is inner), type(inner).__name__)


# What was found out


def _programs(eqn: Eqn) -> Iterator[tuple[ClosedJaxpr, int, int]]:
    """The programs of an equation, how often each of them runs, and 1 if it counts, else 0."""
    flow = eqn.primitive.control_flow()
    called = eqn.primitive.inlined_program()
    if isinstance(flow, Loop):
        for part in flow.rounds:
            yield part.body, 1 if part.count is None else part.count, 1
        if flow.condition is not None:
            yield flow.condition, 1, 1
    elif isinstance(flow, Choice):
        costs = [_flops(branch) for branch in flow.branches]
        for i, branch in enumerate(flow.branches):
            yield branch, 1, int(i == costs.index(max(costs)))
    elif called is not None:
        yield called, 1, 1


def _flops(program: ClosedJaxpr) -> int:
    total = 0
    for eqn in program.eqns:
        if isinstance(eqn.primitive, ProgramPrimitive):
            total += sum(n * counts * _flops(inner) for inner, n, counts in _programs(eqn))
        else:
            total += flops_of(eqn)
    return total


def _places(place: _Place) -> Iterator[_Place]:
    yield place
    for inner in place.within.values():
        yield from _places(inner)


def _attribute(whole: _Place, what: str, made: Any) -> tuple[int, int]:
    """Give numbers to the places by whose paths they go; how many there are, and their bytes."""
    places: dict[str, _Place] = {}
    for place in _places(whole):
        places.setdefault(place.path, place)
    total = memory = 0
    for path, x in tree.flatten_with_path(made)[0]:
        names = [str(entry.key) for entry in path]
        while _joined(*names) not in places:
            names.pop()
        places[_joined(*names)].sizes[what] += x.size
        total += x.size
        memory += x.size * x.dtype.itemsize
    return total, memory


def _rows(place: _Place, depth: int, seen: set[str]) -> Iterator[Row]:
    inner = list(_places(place))
    shared = place.path in seen
    seen.add(place.path)
    yield Row(
        path=place.path,
        name=place.name,
        depth=depth,
        layer=_class_of(place.layer),
        calls=sum(r.calls for r in place.runs),
        output=place.output,
        parameters=sum(p.sizes["params"] for p in inner),
        state=sum(p.sizes["state"] for p in inner),
        flops=sum(r.flops for p in inner for r in p.runs),
        shared=shared,
    )
    for p in place.within.values():
        yield from _rows(p, depth + 1, seen)


def _class_of(layer: Layer) -> str:
    name = type(layer).__name__
    if isinstance(layer, Lambda):
        return f"{name}({getattr(layer.function, '__name__', layer.function)})"
    return name


def _short(n: int, unit: str) -> str:
    """Three digits, and a letter for the power of a thousand: 39.3 M."""
    x, letters = float(n), list("kMGTPEZY")
    letter = ""
    while x >= 999.5 and letters:
        x, letter = x / 1000, letters.pop(0)
    digits = 0 if not letter or x >= 99.95 else 1 if x >= 9.995 else 2
    return f"{x:.{digits}f} {letter}{unit}".rstrip()
