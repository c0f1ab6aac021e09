"""Writes the served graph as a SavedModel that TensorFlow Serving loads as it comes."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from lts_keras.export import ExportError
from lts_keras.export.graph_file import finish_graph_file
from lts_keras.export.recorded import recorded_questions
from lts_keras.export.served_model import ServedModel
from lts_keras.export.served_network import served_network
from lts_keras.export.warm_up import write_warm_up
from lts_keras.prediction.settings import ModelSettings, write_settings

__all__ = ["TEXT_OPERATORS", "check_operators", "export_saved_model", "find_operators"]

TEXT_OPERATORS = frozenset({"CaseFoldUTF8", "NormalizeUTF8"})
"""Operators of TF Text that the graph may hold; stock TensorFlow Serving links TF Text whole."""


def export_saved_model(model, tokenizer, folder, export_config):
    """Writes the SavedModel with its warm-up requests and settings.

    Args:
        model: `LTS`, of whatever precision it was trained in.
        tokenizer: `lts_keras.data.text.Tokenizer` over the model's vocabulary.
        folder: path of the folder to write.
        export_config: `ExportConfig`.

    Returns:
        `folder` as a `Path`.

    Raises:
        ExportError: if the graph holds an operator that stock TensorFlow Serving does not have.
        ConfigError: as `recorded_questions`, for `export_config.warm_up_requests`.
    """
    folder, questions = Path(folder), []
    if export_config.warm_up_requests:  # what is wrong with these should be known before the work
        questions = recorded_questions(export_config.warm_up_requests, model.image_size, export_config.max_photo_pixels)
    served = ServedModel(served_network(model, export_config.precision), tokenizer, export_config)
    # Debug information would be half of the file and names the places of the sources on this machine.
    options = tf.saved_model.SaveOptions(
        save_debug_info=False, experimental_debug_stripper=False, experimental_custom_gradients=False
    )
    signatures, shapes = served.signatures()
    tf.saved_model.save(served, str(folder), signatures=signatures, options=options)
    finish_graph_file(folder, shapes)
    check_operators(folder)
    write_warm_up(folder, model, served.features, export_config.batch_sizes, questions)
    write_settings(folder, ModelSettings.of_model(model, export_config.precision))
    return folder


def find_operators(folder):
    """Names of all operators in the graph and the functions of a SavedModel, as a set."""
    meta_graph = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes()).meta_graphs[0]
    graph = meta_graph.graph_def
    functions = {function.signature.name for function in graph.library.function}
    names = {node.op for node in graph.node}
    names.update(node.op for function in graph.library.function for node in function.node_def)
    return names - functions


def check_operators(folder):
    """Raises `ExportError` if a SavedModel needs operators beyond TensorFlow's own and those of `TEXT_OPERATORS`."""
    unknown = {name for name in find_operators(folder) if not hasattr(tf.raw_ops, name)} - TEXT_OPERATORS
    if unknown:
        raise ExportError(f"{folder}: TensorFlow Serving does not link the operators {sorted(unknown)}")
