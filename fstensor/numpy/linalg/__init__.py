"""Linear algebra: `jax.numpy.linalg`'s names and signatures, NumPy's values and shapes.

Matrices are the last two axes; the axes before them are a batch, and those of two operands
broadcast. Integers and bools become the default float.

Where NumPy raises LinAlgError for the values of a matrix (singular in `solve`, not positive
definite in `cholesky`, with NaN in a decomposition) the result is NaN for that matrix alone.
Derivatives that some matrices lack are described with each function.
"""

from fstensor.numpy.linalg.decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    qr,
    svd,
    svdvals,
)
from fstensor.numpy.linalg.norms import cond, matrix_norm, norm, vector_norm
from fstensor.numpy.linalg.products import (
    cross,
    diagonal,
    matmul,
    matrix_power,
    matrix_transpose,
    multi_dot,
    outer,
    tensordot,
    trace,
    vecdot,
)
from fstensor.numpy.linalg.systems import (
    SlogdetResult,
    det,
    inv,
    lstsq,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    tensorinv,
    tensorsolve,
)

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
