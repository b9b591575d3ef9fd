"""Will it run there? What can be known of a network and a board before the board is there."""
