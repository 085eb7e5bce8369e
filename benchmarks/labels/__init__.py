"""What labels make of the same network and images."""
