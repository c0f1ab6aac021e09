"""The process that writes convolutions in 8 bits: `python -m lts_keras.export.onnx.quantize FOLDER`."""

import json
import logging
from pathlib import Path

import numpy as np

from lts_keras.export.onnx.child import TASK_FILE, run_task
from lts_keras.prediction.settings import ONNX_KEY

__all__ = ["quantize"]


def quantize(folder):
    """Writes the 8-bit form of an ONNX file, see `lts_keras.export.onnx.int8.export_int8`.

    Activations get the range that they have on the calibration photos, one photo after the other; weights one for each
    output channel, in 7 of the 8 bits: processors without VNNI add pairs of products in 16 bits, which would overflow.

    Args:
        folder: path of the folder with the task.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    # It advises steps that the float file has behind it.
    logging.getLogger().setLevel(logging.ERROR)
    folder = Path(folder)
    task = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
    source = onnx.load(task["source"])
    inputs = [value.name for value in source.graph.input]
    properties = {one.key: one.value for one in source.metadata_props}
    del source
    quantize_static(
        task["source"],
        folder / "int8.onnx",
        _Questions(folder, inputs, task["questions"]),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    model = onnx.load(folder / "int8.onnx")
    del model.metadata_props[:]
    if ONNX_KEY in properties:
        properties[ONNX_KEY] = json.dumps(json.loads(properties[ONNX_KEY]) | {"precision": "int8"}, ensure_ascii=False)
    for name, value in sorted(properties.items()):
        model.metadata_props.add(key=name, value=value)
    Path(task["file"]).write_bytes(model.SerializeToString(deterministic=True))


class _Questions:
    """The calibration data as onnxruntime asks for it: one question at a time, so that no two are in memory."""

    def __init__(self, folder, inputs, count):
        self._folder, self._inputs, self._numbers = folder, inputs, iter(range(count))

    def get_next(self):
        number = next(self._numbers, None)
        if number is None:
            return None
        return {name: np.load(self._folder / f"{name}_{number}.npy") for name in self._inputs}


if __name__ == "__main__":
    run_task(quantize)
