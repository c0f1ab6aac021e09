"""A model that takes its time and no processor's: requests wait in its queue for others that never come."""

import tensorflow as tf

from serving.wire.protos import PredictionLog

__all__ = ["write_slow"]


def write_slow(folder, seconds, warm_up_requests=0):
    """A SavedModel that gives y = x + 1 after `seconds`; `x` float `(-1,)`.

    Args:
        folder: path, must not exist yet.
        seconds: float.
        warm_up_requests: int, recorded requests that are run when it is loaded.

    Returns:
        The folder.
    """

    @tf.nondifferentiable_batch_function(64, 1000, round(seconds * 1e6), allowed_batch_sizes=[1000])
    def add(x):
        return x + 1.0

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x):
        return {"y": add(x)}

    tf.saved_model.save(tf.Module(), str(folder), signatures=serve)
    if warm_up_requests:
        log = PredictionLog()
        log.predict_log.request.model_spec.signature_name = "serving_default"
        tensor = log.predict_log.request.inputs["x"]
        tensor.dtype, tensor.float_val[:] = 1, [0.0]
        tensor.tensor_shape.dim.add(size=1)
        (folder / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            for _ in range(warm_up_requests):
                writer.write(log.SerializeToString())
    return folder
