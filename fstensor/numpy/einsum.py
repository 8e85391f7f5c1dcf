"""Einstein summation: any sum of products over named axes, two operands at a time.

opt_einsum finds the order of the pairs; each pair is one `dot_general`, which sums the names that
only the two have, and keeps those that both have and others need as batch axes.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, DtypeLike
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy.promote import (
    constant,
    converted,
    owned,
    promote_dtypes,
    refuse_out,
    repeated,
    select,
    with_weakness,
)
from fstensor.ops.precision import PrecisionLike, check_precision


def einsum(
    subscripts: Any,
    /,
    *operands: Any,
    out: None = None,
    optimize: str | bool | Sequence[Any] = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over named axes: `einsum("ij,jk->ik", a, b)` is the matrix product.

    subscripts: a letter for each axis of each operand, and of the result behind "->". Letters that
        the result lacks are summed over. Without "->" it has those that occur once, in alphabetical
        order. "..." stands for axes that broadcast. NumPy's other form, operands and lists of
        numbers in turn, is understood, too.
    optimize: how opt_einsum chooses the order: "auto", "greedy", "optimal", a path; False is from
        left to right.
    precision: a lower bound on the accuracy, which all results exceed.
    preferred_element_type: the dtype of the result.
    Raises: OptionError for subscripts that are malformed, or another precision; ShapeError when
        they do not fit.
    """
    refuse_out("einsum", out)
    check_precision("einsum", precision)
    if not isinstance(subscripts, str):
        subscripts, operands = from_lists((subscripts, *operands))
    # The sum over one operand may be that operand, or a view of it.
    given = [owned(operands[0], "einsum")] if len(operands) == 1 else operands
    arrays = promote_dtypes("einsum", *given)
    dtype = None if preferred_element_type is None else dtypes.canonical(preferred_element_type)
    names, result = _parsed(subscripts, arrays)
    _check_sizes(subscripts, names, arrays)
    terms = [_unrepeated(x, term) for x, term in zip(arrays, names, strict=True)]
    for chosen in _path(terms, result, optimize):
        picked = [terms[i] for i in chosen]
        terms = [t for i, t in enumerate(terms) if i not in chosen]
        needed = set(result).union(*[names for _, names in terms])
        terms.append(_contract(picked, needed, dtype))
    ((x, term),) = terms
    x, term = _summed(x, term, set(result))
    x = lax.transpose(x, [term.index(n) for n in result])
    return x if dtype is None else converted(x, dtype)


Term = tuple[Array, str]


def from_lists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Operands and lists of axis numbers in turn, then perhaps the list of the result."""
    letters = string.ascii_letters

    def spelled(axes: Sequence[Any]) -> str:
        return "".join("..." if a is Ellipsis else letters[a] for a in axes)

    pairs = len(arguments) // 2
    operands = tuple(arguments[0 : 2 * pairs : 2])
    text = ",".join(spelled(axes) for axes in arguments[1 : 2 * pairs : 2])
    return text + ("->" + spelled(arguments[-1]) if len(arguments) % 2 else ""), operands


def _parsed(subscripts: str, arrays: Sequence[Array]) -> tuple[list[str], str]:
    """A letter for each axis of each operand, and those of the result; no more "..."."""
    text = subscripts.replace(" ", "")
    inputs, arrow, result = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(arrays):
        raise OptionError(
            f"einsum: there must be a term for each operand, got {subscripts!r} for "
            f"{len(arrays)} operands"
        )
    free = [c for c in string.ascii_letters[::-1] if c not in text]
    dots = [
        x.ndim - len(t.replace("...", "")) for t, x in zip(terms, arrays, strict=True) if "..." in t
    ]
    hidden = "".join(free[: max(dots, default=0)])[::-1]
    named = []
    for term, x in zip(terms, arrays, strict=True):
        rank = x.ndim - len(term.replace("...", ""))
        spread = term.replace("...", hidden[len(hidden) - rank :] if rank > 0 else "")
        if len(spread) != x.ndim or not all(c in string.ascii_letters for c in spread):
            raise OptionError(
                f"einsum: a term must have one letter for each axis, got {term!r} for {x.aval}"
            )
        named.append(spread)
    if arrow:
        result = result.replace("...", hidden)
    else:
        counts = Counter("".join(t.replace("...", "") for t in terms))
        result = hidden + "".join(sorted(c for c in counts if counts[c] == 1))
    if len(set(result)) != len(result) or not set(result) <= set("".join(named)):
        raise OptionError(
            f"einsum: the result's letters must be distinct and occur in an operand, "
            f"got {subscripts!r}"
        )
    return named, result


def _check_sizes(subscripts: str, names: Sequence[str], arrays: Sequence[Array]) -> None:
    sizes: dict[str, int] = {}
    for term, x in zip(names, arrays, strict=True):
        for name, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(name, n) in (n, 1):
                sizes[name] = max(n, sizes[name]) if n else n
            elif n != 1:
                got = ", ".join(str(a.aval) for a in arrays)
                raise ShapeError(
                    f"einsum: axes of one letter must have one size, got {sizes[name]} and {n} "
                    f"for {name!r} in {subscripts!r} of {got}"
                )


def _unrepeated(x: Array, term: str) -> Term:
    """The diagonal of axes that share a letter."""
    for name in dict.fromkeys(term):
        while term.count(name) > 1:
            i = term.index(name)
            j = term.index(name, i + 1)
            rows = lax.broadcasted_iota(np.int32, x.shape, i)
            columns = lax.broadcasted_iota(np.int32, x.shape, j)
            x = lax.reduce_sum(select(lax.eq(rows, columns), x, constant(0, x)), (j,))
            term = term[:j] + term[j + 1 :]
    return x, term


def _path(
    terms: Sequence[Term], result: str, optimize: str | bool | Sequence[Any]
) -> list[tuple[int, ...]]:
    """Which operands to contract in each step; the outcome goes to the end."""
    if len(terms) == 1:
        return []
    if len(terms) == 2:
        return [(0, 1)]
    if optimize is False:
        # The outcome of each step is the last of the terms that are left.
        return [(0, 1), *[(0, n - 1) for n in range(len(terms) - 1, 1, -1)]]
    if not isinstance(optimize, (str, bool)):
        return [tuple(step) for step in optimize if not isinstance(step, str)]
    import opt_einsum  # type: ignore[import-untyped]  # here, since it takes long to load

    text = ",".join(term for _, term in terms) + "->" + result
    shapes = [x.shape for x, _ in terms]
    kind = "auto" if optimize is True else optimize
    path, _ = opt_einsum.contract_path(text, *shapes, shapes=True, optimize=kind)
    return [tuple(step) for step in path]


def _contract(terms: Sequence[Term], needed: set[str], dtype: np.dtype[Any] | None) -> Term:
    """The product of terms, summed over the names that nobody needs any more."""
    first, *rest = terms
    for i, second in enumerate(rest):
        later = needed.union(*[names for _, names in rest[i + 1 :]])
        first = _pair(first, second, later, dtype)
    return _summed(*first, needed)


def _summed(x: Array, term: str, needed: set[str]) -> Term:
    axes = [i for i, name in enumerate(term) if name not in needed]
    return lax.reduce_sum(x, axes), "".join(name for name in term if name in needed)


def _pair(a: Term, b: Term, needed: set[str], dtype: np.dtype[Any] | None) -> Term:
    (x, x_term), (y, y_term) = a, b
    # What only one of them has, and nobody needs, is summed first.
    x, x_term = _summed(x, x_term, needed | set(y_term))
    y, y_term = _summed(y, y_term, needed | set(x_term))
    x, y = _stretched(x, x_term, y, y_term), _stretched(y, y_term, x, x_term)
    shared = [name for name in x_term if name in y_term]
    batch = [name for name in shared if name in needed]
    summed = [name for name in shared if name not in needed]
    numbers = tuple(
        ([x_term.index(n) for n in names], [y_term.index(n) for n in names])
        for names in (summed, batch)
    )
    preferred = x.dtype if dtype is None else dtype
    out = lax.dot_general(x, y, numbers, preferred_element_type=preferred)
    out = with_weakness(out, x.weak_type and y.weak_type and dtype is None)
    free = [n for n in x_term if n not in shared] + [n for n in y_term if n not in shared]
    return out, "".join(batch + free)


def _stretched(x: Array, x_term: str, y: Array, y_term: str) -> Array:
    """`x`, with axes of size 1 stretched to the size of those of the same name in `y`."""
    sizes = dict(zip(y_term, y.shape, strict=True))
    shape = tuple(
        [sizes.get(name, n) if n == 1 else n for name, n in zip(x_term, x.shape, strict=True)]
    )
    return repeated(x, shape)
