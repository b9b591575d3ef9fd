"""Passes over ONNX graphs (onnx-ir). Each takes a model, changes it in place and says what it did."""
