"""How near two networks are, and how often one is right."""
