"""What goes to the device: the bundle."""
