"""What it takes to extend the package from outside; see docs/new_primitive.md."""

from fstensor.extend import core

__all__ = ["core"]
