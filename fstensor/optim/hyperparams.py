"""Reading and setting the hyperparameters in the state of an optimizer, however it is composed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError, ShapeError
from fstensor.optim.base import Numbers, State

_Made = TypeVar("_Made", bound=Callable[..., Any])


def hyperparams(state: Any) -> dict[str, Array]:
    """All hyperparameters in a state: of the last update, or before the first those of the first.

    Where several transformations have one of a name, its names begin with where it stands.

    >>> from fstensor import optim
    >>> params = fnp.zeros(3)
    >>> optimizer = optim.chain(optim.clip(1.0), optim.sgd(0.1))
    >>> {k: round(float(v), 3) for k, v in hyperparams(optimizer.init(params)).items() if v != 0}
    {'max_delta': 1.0, 'learning_rate': 0.1}
    """
    found = _all(state)
    names = [name for _, name, _ in found]
    return {
        name if names.count(name) == 1 else f"{path}.{name}": value for path, name, value in found
    }


def with_hyperparams(state: Any, **values: ArrayLike) -> Any:
    """The state with other values of hyperparameters, of every transformation that has them.

    Raises: OptionError for a name that is not there, or that a schedule gives the value of;
        ShapeError for a value that is no number, or of a few names, no array of the same shape.

    >>> from fstensor import optim
    >>> optimizer = optim.sgd(0.1)
    >>> state = with_hyperparams(optimizer.init(fnp.zeros(3)), learning_rate=0.5)
    >>> float(state.hyperparams["learning_rate"])
    0.5
    """
    there = {name for _, name, _ in _all(state)}
    parts = [part for part in tree.leaves(state, _has_hyperparams) if _has_hyperparams(part)]
    scheduled = {name for part in parts for name in part.scheduled.names}
    for name, value in values.items():
        if name not in there:
            raise OptionError(
                f"with_hyperparams: names must be among {sorted(there)}, got {name!r}"
            )
        if name in scheduled:
            raise OptionError(
                f"with_hyperparams: {name} comes from a schedule, which would give it its value "
                "again; pass the optimizer a number instead"
            )
        given = fnp.asarray(value)
        for part in parts:
            old = part.hyperparams.get(name, given)
            if old.shape != given.shape:
                wanted = f"have the shape {old.shape}" if old.ndim else "be a number"
                raise ShapeError(f"with_hyperparams: {name} must {wanted}, got {given.aval}")

    def changed(part: Any) -> Any:
        if not _has_hyperparams(part):
            return part
        hyper = {
            k: fnp.asarray(values[k]).astype(old.dtype) if k in values else old
            for k, old in part.hyperparams.items()
        }
        return part._replace(hyperparams=hyper)

    return tree.map(changed, state, is_leaf=_has_hyperparams)


def inject_hyperparams(factory: _Made) -> _Made:
    """The factory itself, for those who know this from Optax.

    There it brings hyperparameters into the state, where they are here from the beginning.
    """
    return factory


def _all(state: Any) -> list[tuple[str, str, Array]]:
    """Where, name and value of each."""
    return [
        (tree.keystr(path), name, value)
        for path, part in tree.leaves_with_path(state, _has_hyperparams)
        if _has_hyperparams(part)
        for name, value in part.hyperparams.items()
    ]


def _has_hyperparams(x: Any) -> bool:
    return isinstance(x, (State, Numbers))
