"""Requests that meet in one batch of the graph: what one client does must not reach another."""

import concurrent.futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.core.limits import Limits
from tests.serving.asking import predict_request
from tests.serving.houses import open_house


def write_slow_batching(folder):
    """A SavedModel whose `x` float `(-1,)` goes through a queue that gathers rows for 10 ms; y = x after some work."""

    @tf.nondifferentiable_batch_function(1, 8, 10_000, allowed_batch_sizes=[8], max_enqueued_batches=64)
    def work(x):
        square = tf.eye(200) + 0.0 * x[0]
        for _ in tf.range(20):
            square = tf.linalg.matmul(square, square)
        return x + square[0, 0] - 1.0

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x):
        return {"y": work(x)}

    tf.saved_model.save(tf.Module(), str(folder), signatures=serve)


def test_the_deadline_of_one_client_breaks_off_no_others_work(tmp_path):
    write_slow_batching(tmp_path / "1")
    with open_house({"m": tmp_path}, Limits(max_predictions=64, rows_running=64), max_predictions=64) as house:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(house.channel).Predict
        request = predict_request("m", {"x": np.ones(1, np.float32)})
        predict(request)

        def ask(index):
            try:
                return list(predict(request, timeout=0.02 if index % 2 else 60).outputs["y"].float_val)
            except grpc.RpcError as error:
                return error.code().name

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(240)))
        assert answers[::2] == [[1.0]] * 120
        assert {"DEADLINE_EXCEEDED"} <= {answer for answer in answers[1::2] if isinstance(answer, str)}
