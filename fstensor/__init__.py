"""JAX's programming model on NumPy and CuPy buffers: pure functions in, pure functions out."""

__version__ = "0.1.0"
