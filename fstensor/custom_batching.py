"""Functions whose behaviour under vmap is written by the user."""

from fstensor.control.custom_vmap import custom_vmap, sequential_vmap

__all__ = ["custom_vmap", "sequential_vmap"]
