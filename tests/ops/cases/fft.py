import itertools

import numpy as np

from fstensor.ops.fft import Fft, FftType
from tests.ops.harness import COMPLEX, FLOATS, Case, Operand

# Sizes before and within the transform: odd, even and prime ones, 1 and 2, several axes, empty.
PLACES = [((), (5,)), ((2,), (8,)), ((3,), (1,)), ((), (2,)), ((2, 1), (3, 4)), ((), (2, 2, 3)),
          ((0,), (4,)), ((2,), (1, 7)), ((), (4, 6))]  # fmt: skip


def matrix(n, sign):
    k = np.arange(n)
    return np.exp(sign * 2j * np.pi * np.outer(k, k) / n)


def by_matrices(x, lengths, sign, behind=0):
    """The sums as they are defined, along each of the last axes; `behind` more are left alone."""
    x = x.astype(np.complex128)
    for i, n in enumerate(lengths):
        axis = x.ndim - behind - len(lengths) + i
        x = np.moveaxis(np.tensordot(matrix(n, sign), x, (1, axis)), 0, axis)
    return x


def forward(lengths):
    return lambda x: by_matrices(x, lengths, -1)


def inverse(lengths):
    return lambda x: by_matrices(x, lengths, 1) / np.prod(lengths)


def forward_real(lengths):
    return lambda x: by_matrices(x, lengths, -1)[..., : lengths[-1] // 2 + 1]


def inverse_real(lengths):
    """Over the last axis the other frequencies are the conjugates of those that are given."""

    def reference(y):
        n = lengths[-1]
        y = by_matrices(y, lengths[:-1], 1, behind=1)
        own = y[..., :1].real, y[..., n // 2 :].real if n % 2 == 0 else y[..., :0].real
        middle = y[..., 1 : (n + 1) // 2]
        full = np.concatenate([own[0], middle, own[1], np.conj(middle[..., ::-1])], -1)
        return by_matrices(full, (n,), 1).real / np.prod(lengths)

    return reference


def case(kind, others, lengths, reference, kinds, **options):
    before = (*lengths[:-1], lengths[-1] // 2 + 1) if kind is FftType.IRFFT else lengths
    return Case(
        Fft(lengths, kind),
        (Operand((*others, *before)),),
        reference(lengths),
        dtypes=kinds,
        label=f"{kind.name}-{'x'.join(map(str, lengths))}",
        factor=4,
        reason="a sum of up to 24 products, compared with sums in another order",
        **options,
    )


def edge(kind, values, reference, kinds):
    return Case(
        Fft((len(values),), kind),
        (Operand((len(values),), values=np.array(values)),),
        reference,
        dtypes=kinds,
        differentiable=False,
        label=f"{kind.name}-edges",
    )


ROWS = [
    (FftType.FFT, forward, COMPLEX),
    (FftType.IFFT, inverse, COMPLEX),
    (FftType.RFFT, forward_real, FLOATS),
    (FftType.IRFFT, inverse_real, COMPLEX),
]

CASES = [
    *[case(k, o, n, ref, d) for (k, ref, d), (o, n) in itertools.product(ROWS, PLACES)],
    edge(FftType.RFFT, [1.0, np.nan, 2.0], lambda x: np.full(2, np.nan + 1j * np.nan), FLOATS),
    edge(FftType.FFT, [0.0, -0.0, 0.0], np.zeros_like, COMPLEX),
]
