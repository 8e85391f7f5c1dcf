"""What optimizers are made of: transformations of gradients, with states that hold all they know.

A transformation is two pure functions. `init(params)` makes a state, and `update(grads, state,
params)` gives updates, which are added to the parameters, and the next state:

>>> import fstensor as fst
>>> from fstensor import optim
>>> params = {"w": fst.numpy.array([1.0, -2.0])}
>>> optimizer = optim.sgd(0.1)
>>> state = optimizer.init(params)
>>> grads = fst.grad(lambda p: (p["w"] ** 2).sum())(params)
>>> updates, state = optimizer.update(grads, state, params)
>>> optim.apply_updates(params, updates)["w"].tolist()
[0.800000011920929, -1.600000023841858]

Hyperparameters are numbers in the state, so that they can be looked at, saved, and changed between
steps: `state.hyperparams["learning_rate"]`. One that is given as a schedule, a function of the
number of steps, has the value of the current step there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from fstensor import dtypes, tree
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import ArgumentError, TreeError
from fstensor.optim.row_sparse import RowSparse, is_row_sparse

Params: TypeAlias = Any  # a tree of arrays; gradients and updates have the same structure
Schedule: TypeAlias = Callable[[Array], Any]
Hyperparam: TypeAlias = "float | Array | Schedule"


class GradientTransformation(NamedTuple):
    """Two pure functions; see the module.

    update takes the parameters as a third argument. Those that need them raise ArgumentError
    without.
    """

    init: Callable[[Params], Any]
    update: Callable[..., tuple[Params, Any]]


class GradientTransformationExtraArgs(GradientTransformation):
    """One whose `update` takes more by keyword, as `lbfgs` does; chains and wrappers pass it on."""


@tree.register_static
@dataclass(frozen=True)
class Names:
    """Names that belong to the structure of a state."""

    names: tuple[str, ...] = ()


class State(NamedTuple):
    """The state of a transformation.

    step: how many updates there have been, int32. hyperparams: numbers by name, those of the last
    update. slots: what else it keeps, such as moments, each with the structure of the parameters.
    scheduled: the hyperparameters that schedules give.
    """

    step: Array
    hyperparams: dict[str, Array]
    slots: Any
    scheduled: Names = Names()


class Numbers(NamedTuple):
    """The hyperparameters of what is no `transformation`, in its state; fields as in `State`."""

    hyperparams: dict[str, Array]
    scheduled: Names = Names()


def numbers(
    dtype: Any, floats: Mapping[str, Any] | None = None, counts: Mapping[str, Any] | None = None
) -> Numbers:
    """Hyperparameters as arrays: of a dtype, and those that count something as int32."""
    both = [(floats or {}, dtype), (counts or {}, "int32")]
    return Numbers({k: fnp.asarray(v, d) for given, d in both for k, v in given.items()})


class Rule(Protocol):
    """How gradients become updates.

    hyper: the hyperparameters of this step. step: its number, from 1 on, as a float.
    Gives the updates and the slots afterwards.
    """

    def __call__(
        self, grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]: ...


def transformation(
    rule: Rule,
    slots: Callable[[Params], Any] = lambda params: (),
    *,
    needs_params: str = "",
    row_sparse: bool = False,
    **hyperparams: Hyperparam,
) -> GradientTransformation:
    """The transformation of a rule. slots: makes the first slots of parameters.

    hyperparams: numbers, or schedules: functions of the number of updates before, from 0 on.
    needs_params: the name of the transformation, where `update` must be given the parameters.
    row_sparse: whether gradients may be RowSparse; otherwise `update` raises ArgumentError.
    """

    def init(params: Params) -> State:
        dtype = hyperparam_dtype(params)
        step = fnp.zeros((), "int32")
        first = {k: _value(h, step, dtype) for k, h in hyperparams.items()}
        scheduled = tuple(k for k, h in hyperparams.items() if callable(h))
        return State(step, first, slots(params), Names(scheduled))

    def update(grads: Params, state: State, params: Params = None) -> tuple[Params, State]:
        if needs_params and params is None:
            raise ArgumentError(
                f"{needs_params}: update(grads, state, params) needs the parameters"
            )
        if params is not None:
            check_structure("update: gradients", params, grads)
        if not row_sparse and any(map(is_row_sparse, tree.leaves(grads, is_row_sparse))):
            raise ArgumentError(
                "update: gradients must be arrays, got RowSparse; call its todense(), "
                "or give it to sparse_adam by multi_transform"
            )
        hyper = {
            k: _value(h, state.step, state.hyperparams[k].dtype) if callable(h) else old
            for (k, h), old in ((item, state.hyperparams[item[0]]) for item in hyperparams.items())
        }
        step = state.step + 1
        number = step.astype(hyperparam_dtype(grads))
        updates, after = rule(grads, state.slots, params, hyper=hyper, step=number)
        return updates, State(step, hyper, after, state.scheduled)

    return GradientTransformation(init, update)


def _value(h: Hyperparam, step: Array, dtype: Any) -> Array:
    return fnp.asarray(h(step) if callable(h) else h, dtype)


def hyperparam_dtype(params: Params) -> Any:
    """The dtype that hyperparameters are kept in: the widest float of the parameters."""
    kinds = [x.dtype for x in tree.leaves(params)]
    wide = any(d in (dtypes.canonical("float64"), dtypes.canonical("complex128")) for d in kinds)
    return dtypes.canonical("float64" if wide else "float32")


def zeros_like(params: Params) -> Params:
    """A tree of zeros, for slots."""
    return tree.map(fnp.zeros_like, params)


def apply_updates(params: Params, updates: Params) -> Params:
    """params + updates, leaf by leaf, in the dtypes of the parameters.

    An update may be RowSparse: then only its rows change.
    Raises: TreeError when the structures differ.
    """
    check_structure("apply_updates: updates", params, updates)
    return tree.map(_moved, params, updates)


def _moved(param: Array, update: Array | RowSparse) -> Array:
    if isinstance(update, RowSparse):
        return update.added_to(param)
    return (param + update).astype(param.dtype)


def check_structure(what: str, params: Params, updates: Params) -> None:
    """Raises: TreeError, which says where, when the structures differ."""
    a, b = tree.structure(params), tree.structure(updates, is_row_sparse)
    if a != b:
        raise TreeError(f"{what} must have the structure of params; {tree.describe_mismatch(a, b)}")


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """Transformations one after the other; the state is the tuple of theirs.

    `update` raises TreeError for a state of another number of transformations.
    """

    def init(params: Params) -> tuple[Any, ...]:
        return tuple([t.init(params) for t in transformations])

    def update(
        grads: Params, state: tuple[Any, ...], params: Params = None, **extra: Any
    ) -> tuple[Params, tuple[Any, ...]]:
        if len(state) != len(transformations):
            raise TreeError(
                f"chain: the state must have {len(transformations)} parts, got {len(state)}"
            )
        after = []
        for t, s in zip(transformations, state, strict=True):
            grads, s = updated(t, grads, s, params, extra)
            after.append(s)
        return grads, tuple(after)

    return composed(transformations, init, update)


def updated(
    inner: GradientTransformation, grads: Params, state: Any, params: Params, extra: dict[str, Any]
) -> tuple[Params, Any]:
    """What `inner` makes of gradients, given what else it takes."""
    if isinstance(inner, GradientTransformationExtraArgs):
        return inner.update(grads, state, params, **extra)
    return inner.update(grads, state, params)


def composed(
    parts: Iterable[GradientTransformation],
    init: Callable[[Params], Any],
    update: Callable[..., tuple[Params, Any]],
) -> GradientTransformation:
    """A transformation made of others. It takes more by keyword when one of them does."""
    if any(isinstance(t, GradientTransformationExtraArgs) for t in parts):
        return GradientTransformationExtraArgs(init, update)

    def plain(grads: Params, state: Any, params: Params = None) -> tuple[Params, Any]:
        return update(grads, state, params)

    return GradientTransformation(init, plain)
