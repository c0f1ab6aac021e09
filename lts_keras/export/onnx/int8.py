"""ONNX files whose convolutions calculate in 8 bits, calibrated on photos."""

import json
import tempfile
from pathlib import Path

import numpy as np

from lts_keras.export.onnx.child import TASK_FILE, run_child

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
    with tempfile.TemporaryDirectory() as folder:
        folder, count = Path(folder), 0
        for count, question in enumerate(questions, start=1):
            for name, value in zip(("image", "token_ids"), question, strict=True):
                np.save(folder / f"{name}_{count - 1}.npy", value[None])
        task = {"source": str(Path(source).absolute()), "file": str(path.absolute()), "questions": count}
        (folder / TASK_FILE).write_text(json.dumps(task), encoding="utf-8")
        run_child("lts_keras.export.onnx.quantize", folder, f"writing {path.name}")
    return path
