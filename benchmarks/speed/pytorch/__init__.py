"""The networks in PyTorch, to compare speed with."""
