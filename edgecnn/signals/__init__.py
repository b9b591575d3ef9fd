"""Signals as arrays: reading WAV, CSV and NPY files, resampling, windows, and a network's input. Numpy, and scipy."""
