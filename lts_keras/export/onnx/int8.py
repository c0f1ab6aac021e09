"""ONNX files whose convolutions calculate in 8 bits, calibrated on photos."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from lts_keras.export.onnx.child import run_child
from lts_keras.prediction.settings import ONNX_KEY, ModelSettings

__all__ = ["export_int8"]


def export_int8(source, path, questions):
    """Writes the 8-bit form of an ONNX file that reads photos: static, with quantize and dequantize nodes (QDQ).

    Convolutions alone, which are nearly all of the work; their weights have a scale for each output channel.

    Args:
        source: path of the file in float32, from `export_onnx`, or the first one of `export_halves`.
        path: path of the file to write.
        questions: iterable of `(image, token_ids)`, float32 `(S, S, 3)` and int32 `(T,)`, taken one at a time.

    Returns:
        `path` as a `Path`.

    Raises:
        ExportError: the process that writes it failed or was killed.
    """
    path = Path(path)
    session = onnxruntime.InferenceSession(str(source), _quiet(), providers=["CPUExecutionProvider"])
    inputs, properties = [value.name for value in session.get_inputs()], session.get_modelmeta().custom_metadata_map
    del session
    if ONNX_KEY in properties:
        settings = ModelSettings.from_json(properties[ONNX_KEY])
        properties = properties | {ONNX_KEY: dataclasses.replace(settings, precision="int8").to_json()}
    with tempfile.TemporaryDirectory() as folder:
        folder, count = Path(folder), 0
        for count, question in enumerate(questions, start=1):
            for name, value in zip(("image", "token_ids"), question, strict=True):
                if name in inputs:
                    np.save(folder / f"{name}_{count - 1}.npy", value[None])
        os.symlink(Path(source).absolute(), folder / "float.onnx")
        task = {"file": str(path.absolute()), "inputs": inputs, "questions": count, "properties": properties}
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        run_child("lts_keras.export.onnx.quantize", folder, f"writing {path.name} in 8 bits")
    return path


def _quiet():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Opened for its names alone.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
