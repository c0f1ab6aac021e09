"""The process that makes ONNX files of traced graphs: `python -m lts_keras.export.onnx.convert FOLDER`."""

import json
import logging
import os
from pathlib import Path

import numpy as np

from lts_keras.export.onnx.child import TASK_FILE, run_task

__all__ = ["convert"]

OPSET = 18


def convert(folder):
    """Writes the ONNX files of a task, see `lts_keras.export.onnx.trace.write_task`.

    Args:
        folder: path of the folder with the task.
    """
    folder = Path(folder)
    task = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
    # Else the converter copies the graph before each pass, in order to survive a failing one, which should fail here.
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    import tensorflow as tf
    import tf2onnx

    from lts_keras.export.onnx.graph import Graph
    from lts_keras.export.onnx.simplify import fold_batch_norms, fold_constants, split_transposed

    # Their warnings are about graphs of TensorFlow 1.
    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for part in task["parts"]:
        definition = tf.compat.v1.GraphDef.FromString((folder / part["graph"]).read_bytes())
        values = [*part["inputs"], *part["outputs"]]
        proto, _ = tf2onnx.convert.from_graph_def(
            definition,
            input_names=[*(value["tensor"] for value in part["inputs"]), *part["weights"]],
            output_names=[value["tensor"] for value in part["outputs"]],
            opset=OPSET,
            tensors_to_rename={value["tensor"]: value["name"] for value in values},
        )
        weights = {
            name: (task["weights"][number], np.load(folder / f"{number}.npy", mmap_mode="r"))
            for name, number in part["weights"].items()
        }
        graph = Graph(proto.graph, weights)
        del proto
        fold_constants(graph)
        fold_batch_norms(graph)
        split_transposed(graph)
        model = graph.to_model(part["inputs"], part["outputs"], task["properties"], OPSET)
        Path(part["file"]).write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    run_task(convert)
