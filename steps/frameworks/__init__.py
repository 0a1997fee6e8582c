"""What a framework writes alike into the files of several formats.

Keras's layer graphs, TensorFlow's nodes, PyTorch's archives, joblib's arrays, the data types of ONNX, and what the
globals that a pickle names would do. Each is read from `klever.steps.encodings`, and formats stand on it. What does
not belong here: the recognition of files, and what one format alone has.
"""
