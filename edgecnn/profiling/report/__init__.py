"""Self-contained HTML reports of measurements and conversions."""
