"""What onnxruntime makes of a file."""

import numpy as np
import onnxruntime


def run_onnx(path, inputs, dtype=np.float64):
    """Return the outputs of a file by their names."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert [value.name for value in session.get_inputs()] == ["X"]
    return dict(zip(names, session.run(None, {"X": np.asarray(inputs, dtype)}), strict=True))
