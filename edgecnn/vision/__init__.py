"""Pictures as arrays: reading, preprocessing, decoding a network's output, drawing. Pure functions on numpy and cv2."""
