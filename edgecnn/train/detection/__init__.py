"""Networks that learn boxes."""
