"""Trained networks made smaller: pruning of channels, and 2:4 sparsity."""
