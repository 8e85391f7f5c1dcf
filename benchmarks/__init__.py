"""Speed, each time beside the peers in one run, and accuracy. `make bench`."""
