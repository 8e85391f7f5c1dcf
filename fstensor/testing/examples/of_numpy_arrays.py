"""Examples of `fstensor.numpy`: shapes, indices, linear algebra, transforms, and the rest."""

from __future__ import annotations

import io

import numpy as np

import fstensor as fst
from fstensor.testing.examples.example import (
    CUBE,
    FRACTION,
    INTEGERS,
    MATRIX,
    OTHER,
    POSITIVE,
    SQUARE,
    SYMMETRIC,
    UNIT,
    Call,
    Examples,
    constant,
    each,
    given,
    listed,
)

INDICES = np.array([2, 0, 1])
PLACES = np.array([[0, 2], [1, 1]])


def _sized(n: int) -> Call:
    """A call with the size of the result where it depends on values; NumPy finds it by itself."""

    def call(f: Call, *arrays: object) -> object:
        inside = all(type(x).__module__.startswith("fstensor") for x in arrays)
        return f(*arrays, size=n) if inside else f(*arrays)

    return call


def _saved(f: Call, x: object) -> object:
    file = io.BytesIO()
    f(file, x)
    file.seek(0)
    return np.load(file)


def _loaded(f: Call) -> object:
    file = io.BytesIO()
    np.save(file, UNIT)
    file.seek(0)
    return f(file)


SHAPE: Examples = {
    **each("reshape", MATRIX, call=given((3, 2))),
    **each(
        "ravel transpose squeeze flip fliplr flipud rot90 matrix_transpose atleast_1d atleast_2d "
        "atleast_3d unstack sort argsort",
        MATRIX,
    ),
    **each("permute_dims", CUBE, call=given((2, 0, 1))),
    **each("swapaxes moveaxis", CUBE, call=given(0, 2)),
    **each("expand_dims", MATRIX, call=given(1)),
    **each(
        "concatenate concat stack hstack vstack dstack column_stack block lexsort",
        UNIT,
        OTHER,
        call=listed(),
    ),
    **each("split array_split", UNIT, call=given(3)),
    **each("hsplit", CUBE, call=given(3)),
    **each("vsplit dsplit", CUBE, call=given(2)),
    **each("tile repeat", UNIT, call=given(2)),
    **each("roll", UNIT, call=given(1)),
    **each("broadcast_to", UNIT, call=given((2, 3))),
    **each("broadcast_arrays", UNIT, MATRIX),
    **each("pad", MATRIX, call=given(((1, 0), (2, 1)), mode="reflect")),
    **each("resize", UNIT, call=given((2, 4))),
    **each("append", UNIT, OTHER),
    **each("insert", UNIT, np.array(0.4), call=lambda f, x, y: f(x, 1, y)),
    **each("delete", UNIT, call=given(1)),
}

INDEX: Examples = {
    **each("take", MATRIX, INDICES, call=given(axis=1)),
    **each("take_along_axis", MATRIX, PLACES, call=given(axis=1)),
    **each(
        "put_along_axis",
        MATRIX,
        PLACES,
        np.array([[0.5, 0.3], [0.7, 0.7]]),
        call=lambda f, x, i, v: f(x, i, v, 1, inplace=False),
        like="",
    ),
    **each("searchsorted", np.sort(UNIT), OTHER),
    **each("digitize", OTHER, np.sort(UNIT)),
    **each("nonzero argwhere flatnonzero", INTEGERS, call=_sized(3)),
    **each("unique", INTEGERS, call=_sized(3)),
    **each("unique_values", INTEGERS, call=given(size=3), like="jax"),  # NumPy's order is any
    **each("unique_all unique_counts unique_inverse", INTEGERS, call=_sized(3)),
    **each("union1d", INTEGERS, INDICES, call=_sized(6)),
    **each("intersect1d", INTEGERS, np.array([3, 10, 4]), call=_sized(2)),
    **each("setdiff1d", INTEGERS, np.array([3, 10, 4]), call=_sized(1)),
    **each("setxor1d", INTEGERS, np.array([3, 10, 4]), call=_sized(2)),
    **each("isin", INTEGERS, np.array([3, 4])),
    **each("unravel_index", INTEGERS, call=given((3, 4))),
    **each(
        "ravel_multi_index", INDICES, INDICES, call=lambda f, i, j: f((i, j), (3, 4), mode="clip")
    ),
    **each("tril_indices triu_indices", call=constant(3, 1)),
    **each("diag_indices", call=constant(3)),
    **each("ix_", INDICES, np.array([1, 0])),
    **each(
        "choose",
        np.array([0, 1, 0]),
        UNIT,
        OTHER,
        call=lambda f, i, x, y: f(i, [x, y], mode="wrap"),
    ),
    **each("bincount", INDICES, call=lambda f, i: f(i, length=4), like="jax"),
    **each("partition", UNIT, call=lambda f, x: f(x, 1)[1]),
    **each("argpartition", UNIT, call=lambda f, x: f(x, 1)[1]),
}

LINEAR: Examples = {
    **each("dot matmul", MATRIX, SQUARE),
    **each("vdot vecdot inner outer kron cross", UNIT, OTHER),
    **each("matvec", MATRIX, UNIT),
    **each("vecmat", UNIT, SQUARE),
    **each("tensordot", MATRIX, SQUARE, call=given(axes=1)),
    **each("einsum", MATRIX, SQUARE, call=lambda f, x, y: f("ij,jk->ki", x, y)),
    **each("einsum_path", call=lambda f: f("ij,jk->ik", MATRIX, SQUARE)[0][0], like="jax"),
    **each("trace", SQUARE),
    **each("diff", UNIT),
    **each("gradient", UNIT, call=given(0.5)),
    **each("interp", OTHER / 2, np.sort(UNIT), POSITIVE),
    **each("convolve correlate", UNIT, OTHER, call=given(mode="full")),
    **each(
        "vectorize",
        MATRIX,
        SQUARE,
        call=lambda f, x, y: f(lambda a, b: a @ b, signature="(n),(n,m)->(m)")(x, y),
    ),
    **each(
        "frompyfunc", UNIT, OTHER, call=lambda f, x, y: f(lambda a, b: a * b, 2, 1)(x, y), like=""
    ),
    **each("histogram", UNIT, call=given(bins=3, range=(-1.0, 1.0))),
    **each("histogram2d", UNIT, OTHER, call=given(bins=3, range=((-1, 1), (-2, 2)))),
    **each("histogramdd", MATRIX, call=given(bins=2, range=((-3, 3),) * 3)),
    **each("cov corrcoef", MATRIX),
    **each("apply_along_axis", MATRIX, call=lambda f, x: f(lambda row: row * row, 1, x)),
    **each("poly polyder polyint", POSITIVE),
    **each("roots", POSITIVE, call=given(strip_zeros=False), like="jax"),
    **each("polyadd polymul polysub polydiv", POSITIVE, OTHER),
    **each("polyval", POSITIVE, OTHER),
    **each("polyfit", POSITIVE, OTHER, call=given(1)),
    **each("vander", UNIT),
    **each("save", UNIT, call=_saved),
    **each("load", call=_loaded),
}

FFT: Examples = {
    **each("fft ifft rfft ihfft fftshift ifftshift", UNIT),
    **each("irfft hfft", np.array([0.4 + 0j, 0.3 - 0.8j, 1.2 + 0.1j])),
    **each("fft2 ifft2 rfft2 fftn ifftn rfftn", MATRIX),
    **each("irfft2 irfftn", np.array([[0.4, 0.3 - 0.8j, 1.2], [0.4, 0.2 + 0.6j, 0.7]])),
    **each("fftfreq rfftfreq", call=constant(5, 0.5)),
}


def _magnitudes(tree: object) -> list[object]:
    """Absolute values: eigenvectors and factors are determined up to a phase."""
    return [
        fst.numpy.abs(x) if isinstance(x, fst.Array) else np.abs(np.asarray(x))
        for x in fst.tree.leaves(tree)
    ]


LINALG: Examples = {
    **each("norm inv det slogdet trace diagonal matrix_norm svdvals pinv matrix_rank qr", SQUARE),
    **each("solve", SQUARE, UNIT),
    **each("cholesky eigvalsh", SYMMETRIC),
    **each("eigh", SYMMETRIC, call=lambda f, x: _magnitudes(tuple(f(x)))),
    **each("svd", MATRIX, call=lambda f, x: _magnitudes(tuple(f(x, full_matrices=False)))),
    **each("eig", SQUARE, call=lambda f, x: _magnitudes(tuple(f(x))), like=""),
    **each("eigvals", SQUARE, call=lambda f, x: f(x).sum(), like="numpy"),
    **each("lstsq", MATRIX.T, FRACTION, call=lambda f, a, b: f(a, b)[0]),
    **each("matrix_power", SQUARE, call=given(3)),
    **each("vector_norm", UNIT),
    **each("cross outer vecdot", UNIT, OTHER),
    **each("tensordot", MATRIX, SQUARE, call=given(axes=1)),
    **each("multi_dot", MATRIX, SQUARE, SQUARE, call=listed()),
}

EXAMPLES: dict[str, Examples] = {
    "numpy": {**SHAPE, **INDEX, **LINEAR},
    "numpy.fft": FFT,
    "numpy.linalg": LINALG,
}
