"""Networks that learn the class of each pixel."""
