"""What is newer or narrower than the rest: `ode`, `jet`. Import these modules by their names.

`io_callback` is here as in JAX.
"""

from fstensor.control.callbacks import io_callback as io_callback
