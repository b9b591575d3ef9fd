"""``edgecnn check`` on the corpus and on graphs that TensorRT refuses, beside trtcheck."""
