"""Latency, memory and energy of a network on a board that is not there."""
