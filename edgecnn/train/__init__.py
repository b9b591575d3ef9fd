"""Networks in Torch: where they come from and how they learn."""
