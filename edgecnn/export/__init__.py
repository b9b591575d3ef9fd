"""From a Torch module to ONNX."""
