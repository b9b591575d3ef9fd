"""Loads, clocks, temperatures, power and throttling while something runs."""
