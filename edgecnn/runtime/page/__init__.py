"""A run to look at in a browser, while it goes on."""
