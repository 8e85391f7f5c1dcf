"""SciPy's functions for Arrays, by JAX's names: linalg, special, stats. SciPy is not imported."""

from fstensor.scipy import linalg, special, stats

__all__ = ["linalg", "special", "stats"]
