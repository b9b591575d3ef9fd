"""INT8: ranges from pictures, scales from ranges, Q/DQ pairs where the target wants them."""
