"""What `benchmarks.ops` times: the table in `items`, its functions in `functional` and `eager`."""
