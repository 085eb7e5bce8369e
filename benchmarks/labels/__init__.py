"""Compare labels by the same network and images."""
