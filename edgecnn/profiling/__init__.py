"""Latency of a deployed model: measured, kept raw, and reported."""
