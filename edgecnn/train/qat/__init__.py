"""Quantization-aware training: a graph with Q/DQ as a Torch module."""
