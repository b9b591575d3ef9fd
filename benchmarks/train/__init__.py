"""Training: edgecnn's recipes beside the same in plain torchvision code, in time and accuracy."""
