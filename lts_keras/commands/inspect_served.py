"""What is in a served model, read from its files and not run: SavedModel and ONNX."""

import math

import tensorflow as tf
from google.protobuf.message import DecodeError
from rich.console import Group
from rich.table import Table
from tensorflow.core.protobuf import saved_model_pb2

from lts_keras.commands.errors import InspectError
from lts_keras.export.warm_up import WARM_UP_FILE
from lts_keras.weights import WeightsError

__all__ = ["onnx_contents", "saved_model_contents"]

# Keras' and TensorFlow's own entry, which takes and gives nothing.
_HIDDEN = "__saved_model_init_op"


def saved_model_contents(path):
    """Signatures, variables and warm-up requests of a SavedModel.

    Raises:
        WeightsError: a file is missing, cut short or damaged.
    """
    file = path / "saved_model.pb"
    try:
        (graph, *_) = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs
    except (OSError, DecodeError, ValueError) as error:
        raise WeightsError(f"{file}: missing, cut short or damaged: no SavedModel can be read from it") from error
    table = Table("signature", "", "name", "type", "shape")
    for name, signature in sorted(graph.signature_def.items()):
        if name == _HIDDEN:
            continue
        rows = [("in", *item) for item in sorted(signature.inputs.items())]
        rows += [("out", *item) for item in sorted(signature.outputs.items())]
        for number, (way, tensor, info) in enumerate(rows):
            shape = "any" if info.tensor_shape.unknown_rank else _shape(d.size for d in info.tensor_shape.dim)
            table.add_row(name if not number else "", way, tensor, tf.dtypes.as_dtype(info.dtype).name, shape)
        table.add_section()
    count, size = _variables(path / "variables" / "variables")
    written = f"TensorFlow {graph.meta_info_def.tensorflow_version}"
    return Group(table, f"variables: {count}, {size:,} numbers; written by {written}", _warm_up(path / WARM_UP_FILE))


def _variables(prefix):
    """Number of variables and of all their values; each is read once, which compares its checksum."""
    try:
        reader, count, size = tf.train.load_checkpoint(str(prefix)), 0, 0
        for name, dtype in reader.get_variable_to_dtype_map().items():
            value = reader.get_tensor(name)
            if dtype != tf.string:  # the graph of objects is text
                count, size = count + 1, size + value.size
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise WeightsError(f"{prefix}.*: missing, cut short or damaged: the variables cannot be read") from error
    return count, size


def _warm_up(path):
    """The recorded requests, by signature and rows where the extra `serving` can read them."""
    if not path.is_file():
        return "warm-up: none"
    try:
        records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    except tf.errors.DataLossError as error:
        raise WeightsError(f"{path}: cut short or damaged: no warm-up requests can be read") from error
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return f"warm-up: {len(records)} requests (the extra `serving` shows what they ask)"
    asked = {}
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        rows = max((int(value.tensor_shape.dim[0].size) for value in request.inputs.values()), default=0)
        asked.setdefault(request.model_spec.signature_name, []).append(rows)
    told = "; ".join(f"{name} with {', '.join(map(str, sorted(rows)))} rows" for name, rows in asked.items())
    return f"warm-up: {len(records)} requests: {told}"


def onnx_contents(path):
    """Inputs, outputs, operators and parameters of an ONNX file.

    Raises:
        InspectError: without the extra `onnx`.
        WeightsError: the file is cut short or damaged.
    """
    try:
        import onnx
    except ImportError as error:
        raise InspectError(
            f"{path}: an ONNX file; to show it, the extra `onnx`: pip install lts-keras[onnx]"
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise WeightsError(f"{path}: an ONNX file that is cut short or damaged") from error
    weights = {item.name: math.prod(item.dims) for item in model.graph.initializer}
    table = Table("", "name", "type", "shape")
    for way, values in (("in", model.graph.input), ("out", model.graph.output)):
        for value in values:
            if value.name not in weights:
                tensor = value.type.tensor_type
                dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
                sizes = (d.dim_value if d.HasField("dim_value") else d.dim_param or -1 for d in tensor.shape.dim)
                table.add_row(way, value.name, dtype, _shape(sizes))
    opsets = ", ".join(f"{one.domain or 'ai.onnx'} {one.version}" for one in model.opset_import)
    return Group(
        table,
        f"opset: {opsets}; IR version {model.ir_version}; written by {model.producer_name} {model.producer_version}",
        f"nodes: {len(model.graph.node):,}; parameters: {sum(weights.values()):,} in {len(weights):,} tensors",
    )


def _shape(sizes):
    """`(N, 3)`-like text; a size that is not known is `?`."""
    words = ["?" if size == -1 else str(size) for size in sizes]
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"
