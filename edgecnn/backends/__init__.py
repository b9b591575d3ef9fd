"""What runs a network: ONNX Runtime, TensorRT, a fake for tests; and NVIDIA's compiler as a check."""
