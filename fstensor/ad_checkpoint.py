"""Rematerialization under the names of `jax.ad_checkpoint`."""

from fstensor.transforms import checkpoint_policies as checkpoint_policies
from fstensor.transforms.checkpoint import checkpoint_name
from fstensor.transforms.residuals import print_saved_residuals

__all__ = ["checkpoint_name", "checkpoint_policies", "print_saved_residuals"]
