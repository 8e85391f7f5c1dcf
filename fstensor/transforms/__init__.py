"""Functions of functions. They hold the machinery and know no primitive by name."""
