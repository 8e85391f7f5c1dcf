"""Speed, each time beside the peers in one run. `make bench BENCH=dispatch`."""
