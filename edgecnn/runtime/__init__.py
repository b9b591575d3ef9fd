"""From a camera to results, frame by frame."""
