"""The machine: avals, primitives, traces, jaxprs. Nothing here knows a primitive by name."""
