"""How well frames are told from training pictures, and what the network makes of them."""
