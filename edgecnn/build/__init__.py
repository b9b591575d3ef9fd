"""From a recipe to a bundle: stages, the store that keeps their results, and the checks between them."""
