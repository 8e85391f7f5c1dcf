"""Transformations for some leaves only, or different ones for different leaves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from fstensor import tree
from fstensor.errors import OptionError
from fstensor.optim.base import GradientTransformation, Params, composed, updated
from fstensor.optim.descent import Mask
from fstensor.optim.gradients import set_to_zero
from fstensor.optim.row_sparse import is_row_sparse


class MaskedNode(NamedTuple):
    """What stands in the state of `masked` for a leaf that it leaves alone. It has no leaves."""


class MaskedState(NamedTuple):
    """The state of `masked`."""

    inner_state: Any


def masked(inner: GradientTransformation, mask: Mask) -> GradientTransformation:
    """Transform the leaves where the mask is true; the others pass.

    mask: a tree of booleans, a prefix of one, or a function that makes it of the parameters (in
    `update` without parameters, of the gradients).
    Raises: TreeError when the mask does not fit.
    """

    def init(params: Params) -> MaskedState:
        return MaskedState(inner.init(_only(_resolved(mask, params), params)))

    def update(
        grads: Params, state: MaskedState, params: Params = None, **extra: Any
    ) -> tuple[Params, MaskedState]:
        chosen = _resolved(mask, grads if params is None else params)
        of_params = None if params is None else _only(chosen, params)
        updates, after = updated(inner, _only(chosen, grads), state.inner_state, of_params, extra)
        kept = tree.map(lambda yes, new, old: new if yes else old, chosen, updates, grads)
        return kept, MaskedState(after)

    return composed([inner], init, update)


def freeze(mask: Mask) -> GradientTransformation:
    """Updates are zero where the mask is true. Last in a chain, these parameters stay."""
    return masked(set_to_zero(), mask)


class PartitionState(NamedTuple):
    """The state of `multi_transform`: those of the groups, by their labels."""

    inner_states: dict[Hashable, Any]


def multi_transform(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: Any | Callable[[Params], Any],
) -> GradientTransformation:
    """Each group of parameters has a transformation of its own: PyTorch's parameter groups.

    param_labels: a tree of labels, a prefix of one, or a function that makes it of the parameters.

    >>> from fstensor import optim
    >>> optimizer = optim.multi_transform(
    ...     {"body": optim.sgd(0.01), "head": optim.adam(1e-3)},
    ...     {"layers": "body", "out": "head"},
    ... )

    Raises: TreeError when the labels do not fit, OptionError for one without a transformation.
    """

    def mask_of(label: Hashable) -> Callable[[Params], Any]:
        def mask(params: Params) -> Any:
            labels = _resolved(param_labels, params)
            _check_labels(labels, transforms)
            return tree.map(lambda found: found == label, labels)

        return mask

    groups = {label: masked(t, mask_of(label)) for label, t in transforms.items()}

    def init(params: Params) -> PartitionState:
        _check_labels(_resolved(param_labels, params), transforms)
        return PartitionState({label: t.init(params) for label, t in groups.items()})

    def update(
        grads: Params, state: PartitionState, params: Params = None, **extra: Any
    ) -> tuple[Params, PartitionState]:
        after = {}
        for label, group in groups.items():
            grads, after[label] = updated(group, grads, state.inner_states[label], params, extra)
        return grads, PartitionState(after)

    return composed(list(groups.values()), init, update)


def _check_labels(labels: Any, transforms: Mapping[Hashable, GradientTransformation]) -> None:
    for path, label in tree.leaves_with_path(labels):
        if label not in transforms:
            raise OptionError(
                f"multi_transform: labels must be among {list(transforms)}, "
                f"got {label!r} at {tree.keystr(path)}"
            )


def _resolved(prefix: Any, full: Params) -> Any:
    """What stands for each leaf, of a tree, a prefix of one, or what makes it."""
    given = prefix(full) if callable(prefix) else prefix
    return tree.broadcast(given, tree.map(lambda x: 0, full, is_leaf=is_row_sparse))


def _only(chosen: Any, full: Params) -> Params:
    return tree.map(lambda yes, x: x if yes else MaskedNode(), chosen, full)
