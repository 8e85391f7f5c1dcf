"""What checks the library from outside: its surface beside that of NumPy and JAX."""
