"""From a jaxpr to something that runs. Called by `transforms.jit` alone."""
