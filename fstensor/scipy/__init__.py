"""SciPy's functions for Arrays, by JAX's names: `special` and `stats`. SciPy is not imported."""

from fstensor.scipy import special, stats

__all__ = ["special", "stats"]
