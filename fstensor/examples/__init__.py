"""Complete programs to read and run: `python -m fstensor.examples.digits`."""
