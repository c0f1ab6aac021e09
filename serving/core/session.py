"""A TensorFlow session of its own for each loaded model: what the model held goes when the session is closed."""

import logging

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators that a SavedModel with text in it needs
from google.protobuf import text_format
from tensorflow.python.client import pywrap_tf_session

from serving.core.memory import give_back_memory

__all__ = ["ModelSession", "session_config"]

v1 = tf.compat.v1

_QUEUES = ("Batch", "BatchFunction")  # operators that run what several calls bring at once

# Its only loader into a session is one that TensorFlow asks to give up, at each load, on the server's log.
tf.get_logger().addFilter(lambda record: "is deprecated" not in record.getMessage())
logger = logging.getLogger(__name__)


def session_config(options):
    """Returns the `ConfigProto` of sessions.

    Args:
        options: `ServerOptions`.

    Raises:
        ValueError: if `session_config_text` is no `ConfigProto`.
    """
    config = v1.ConfigProto()
    try:
        text_format.Parse(options.session_config_text, config)
    except text_format.ParseError as error:
        raise ValueError(f"the session's configuration is no ConfigProto: {error}") from None
    config.allow_soft_placement = True
    if not config.graph_options.HasField("rewrite_options"):
        # The executor inlines functions anyway. Without this and the second round, the first run of a signature
        # takes about two thirds of the time; later runs were as long as before on a small model.
        rewriting = config.graph_options.rewrite_options
        rewriting.function_optimization = rewriting.OFF
        rewriting.meta_optimizer_iterations = rewriting.ONE
    if options.intra_op_threads:
        config.intra_op_parallelism_threads = options.intra_op_threads
    if options.inter_op_threads:
        config.inter_op_parallelism_threads = options.inter_op_threads
    if options.gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    elif not config.gpu_options.per_process_gpu_memory_fraction:
        config.gpu_options.allow_growth = True
    return config


class ModelSession:
    """The graph and the variables of a SavedModel, of TensorFlow 1 or 2.

    `tf.saved_model.load` would give each load's batching queues names that are never used again, so that their threads
    and memory stay for ever. In a session they belong to the session.

    Args:
        folder: path of the SavedModel.
        tags: names of the graph's tags.
        config: `ConfigProto`.

    Attributes:
        signature_defs: dict from name to TensorFlow's `SignatureDef`.

    Raises:
        OSError: if there is no SavedModel.
        tf.errors.OpError, ValueError, RuntimeError: if it does not load.
    """

    def __init__(self, folder, tags, config):
        graph = tf.Graph()
        self._session = v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                loaded = v1.saved_model.load(self._session, list(tags), str(folder))
            graph.finalize()
        except BaseException:
            self.close()
            raise
        self._graph = graph
        self._outputs = {}
        self.signature_defs = dict(loaded.signature_def)
        graph_def = loaded.graph_def
        nodes = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
        self._shares_work = any(node.op in _QUEUES for part in nodes for node in part)

    def run(self, feeds, fetches, timeout=None):
        """Runs the graph.

        This is what `Session.run` does at its end. What comes before takes three times as long as a small model, and
        refuses shapes that the graph itself, and so TensorFlow Serving, takes.

        Args:
            feeds: dict from tensor name to an array of the tensor's dtype.
            fetches: list of tensor names, without doubles.
            timeout: float, seconds; `None` for no limit. A graph with a batching queue knows none: the queue runs the
                rows of strangers together, and the deadline of one would break off the work of all.

        Returns:
            List of arrays, in the order of `fetches`; a string without dimensions is bytes.

        Raises:
            tf.errors.OpError: from the graph, `DeadlineExceededError` after `timeout`.
        """
        values = {self._find(name): array for name, array in feeds.items()}
        wanted = [self._find(name) for name in fetches]
        if timeout is None or self._shares_work:
            return self._session._call_tf_sessionrun(None, values, wanted, [], None)
        options = v1.RunOptions(timeout_in_ms=max(1, int(timeout * 1000))).SerializeToString()
        buffer = pywrap_tf_session.TF_NewBufferFromString(options)
        try:
            return self._session._call_tf_sessionrun(buffer, values, wanted, [], None)
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)

    def takes_any_shape(self, name):
        """Whether a fed tensor is no argument of the graph, so that the shape it was saved with is only an example."""
        return not self._graph.get_tensor_by_name(name).op.type.startswith("Placeholder")

    def close(self):
        """Frees variables, queues and threads of the model. Nothing may run in it then."""
        session, self._session = self._session, None
        self._graph, self._outputs = None, {}
        if session is not None:
            session.close()
            del session
            give_back_memory()

    def _find(self, name):
        output = self._outputs.get(name)
        if output is None:
            output = self._outputs[name] = self._graph.get_tensor_by_name(name)._as_tf_output()
        return output
