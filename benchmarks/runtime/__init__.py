"""Bars of the runtime, beside what people write by hand."""
