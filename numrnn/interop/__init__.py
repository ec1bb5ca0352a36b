"""Weights in and out: files of our own, and of PyTorch, Keras and ONNX."""
