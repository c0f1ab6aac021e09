"""The exported model over gRPC: answers of the Keras model, and each wrong request refused in words."""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.client import Client
from tests.serving.asking import predict_request, refused
from tests.serving.mutations import changed, changes_of
from tests.small_models import photo_bytes


def strings(*values):
    return np.array([value if isinstance(value, bytes) else value.encode() for value in values], dtype=object)


GOOD = {"image_bytes": strings(photo_bytes()), "expression": strings("the left dog")}
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
TENSORS = {"image": np.full((2, 64, 64, 3), 0.5, np.float32), "token_ids": np.ones((2, 6), np.int32)}


@pytest.fixture(scope="module")
def predict(server):
    """TensorFlow Serving's own stub."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def arrays_of(response):
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


@pytest.fixture(scope="module")
def client(server):
    """A client that waits for a model that nobody has warmed up."""
    with Client(f"127.0.0.1:{server.port}", timeout=300) as asking:
        yield asking


def test_answers_equal_the_keras_models(client, saved_models):
    expressions = ["the left dog", "red circle", "zzz"]
    expected = saved_models.first.predictor.predict_many(photo_bytes(), expressions)
    for answer, prediction in zip(client.segment(photo_bytes(), expressions), expected, strict=True):
        np.testing.assert_array_equal(answer.mask, prediction.mask)
        assert (answer.box, answer.point, answer.version) == (prediction.box, prediction.point, 7)
        assert answer.score == pytest.approx(prediction.score, abs=1e-5)
        assert answer.presence == pytest.approx(prediction.presence, abs=1e-5)


def test_the_outputs_and_a_part_of_them(predict):
    response = predict(predict_request("lts", GOOD))
    assert set(response.outputs) == {"mask_png_bytes", "score", "presence", "box", "point", "size"}
    part = predict(predict_request("lts", GOOD, outputs=["score", "size"]))
    assert set(part.outputs) == {"score", "size"}
    assert part.outputs["score"] == response.outputs["score"]


def test_tensors_in_every_encoding_give_the_same(predict):
    image = TENSORS["image"]
    first = arrays_of(predict(predict_request("lts", TENSORS, "segment_tensors")))
    assert first["mask"].shape == (2, 16, 16, 1)
    values = tf.make_tensor_proto(image.ravel().tolist(), tf.float32, image.shape)  # as values, one by one
    one_for_all = tf.make_tensor_proto(1, tf.int32, (2, 6))
    one_for_all.ClearField("tensor_content")
    one_for_all.int_val[:] = [1]
    second = arrays_of(predict(predict_request("lts", {"image": values, "token_ids": one_for_all}, "segment_tensors")))
    np.testing.assert_allclose(second["mask"], first["mask"], atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "signature", "words"),
    [
        ({"image_bytes": GOOD["image_bytes"]}, "", "Missing but required: {expression}"),
        (GOOD | {"more": strings("x")}, "", "Sent extra: {more}"),
        (GOOD | {"expression": np.array([1.0], np.float32)}, "", "string but float is provided"),
        (GOOD | {"expression": strings("a").reshape(1, 1)}, "", 'input "expression" expects shape (None,)'),
        (GOOD | {"expression": strings("a", "b")}, "", "equally many rows"),
        (GOOD | {"image_bytes": strings(b"junk")}, "", "no JPEG or PNG photo"),
        (GOOD | {"image_bytes": strings(photo_bytes()[:300])}, "", "Invalid JPEG"),
        (GOOD | {"image_bytes": strings(photo_bytes(500, 500))}, "", "1 to 100000 pixels"),
        ({name: value[:0] for name, value in GOOD.items()}, "", "1 to 1024 rows"),
        (
            {"image_bytes": strings(photo_bytes(), photo_bytes()), "expression": strings("a")},
            "segment_expressions",
            'input "image_bytes" expects shape (1,)',
        ),
        (TENSORS | {"image": TENSORS["image"] * np.nan}, "segment_tensors", "image must hold finite numbers alone"),
        (TENSORS | {"token_ids": TENSORS["token_ids"] + 9999}, "segment_tensors", "token_ids must be 0 to"),
        (TENSORS | {"token_ids": TENSORS["token_ids"] - 2}, "segment_tensors", "token_ids must be 0 to"),
        (TENSORS | {"image": TENSORS["image"][:, :32]}, "segment_tensors", 'input "image" expects shape (None, 64, 64'),
        (TENSORS | {"image": TENSORS["image"][:1]}, "segment_tensors", "equally many rows"),
    ],
)
def test_wrong_requests(predict, inputs, signature, words):
    refused(predict, predict_request("lts", inputs, signature), "INVALID_ARGUMENT", words)


@pytest.mark.parametrize(
    ("shape", "content", "words"),
    [
        ((2**40, 64, 64, 3), b"", f"claims {2**40 * 64 * 64 * 3} values and sends 0"),
        ((-1, 64, 64, 3), b"", "no valid shape"),
        ((1, 64, 64, 3), b"1234", "needs 49152 bytes. Received: 4"),
    ],
)
def test_malformed_tensors_cost_nothing_and_say_why(predict, shape, content, words):
    request = predict_request("lts", TENSORS, "segment_tensors")
    proto = request.inputs["image"]
    proto.tensor_content = content
    for dimension, size in zip(proto.tensor_shape.dim, shape, strict=True):
        dimension.size = size
    refused(predict, request, "INVALID_ARGUMENT", 'input "image"', words)


def test_one_clients_bad_rows_fail_no_stranger(predict):
    """Good and bad requests meet in the network's shared batches."""
    good = predict_request("lts", {name: array[:1] for name, array in TENSORS.items()}, "segment_tensors")
    wrong = [
        TENSORS | {"token_ids": TENSORS["token_ids"] + 9999},
        TENSORS | {"image": TENSORS["image"] * np.inf},
        TENSORS | {"image": TENSORS["image"][:, :32]},
        TENSORS | {"token_ids": TENSORS["token_ids"][:, :3]},
    ]
    bad = [predict_request("lts", inputs, "segment_tensors") for inputs in wrong]
    expected = arrays_of(predict(good))["mask"]

    def ask(index):
        if index % 2:
            with pytest.raises(grpc.RpcError) as refusal:
                predict(bad[index // 2 % len(bad)], timeout=60)
            assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        else:
            np.testing.assert_allclose(arrays_of(predict(good, timeout=60))["mask"], expected, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))


def test_concurrent_requests_are_all_answered_alike(predict):
    request = predict_request("lts", GOOD)
    expected = predict(request).outputs["mask_png_bytes"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: predict(request, timeout=60).outputs["mask_png_bytes"], range(80)))
    assert all(answer == expected for answer in answers)


def test_many_sentences_on_one_photo_equal_single_ones(client):
    expressions = [f"{side} {color} dog" for side in ("left", "right") for color in ("red", "blue", "")]
    together = client.segment(photo_bytes(), expressions)
    for expression, answer in zip(expressions, together, strict=True):
        (alone,) = client.segment(photo_bytes(), [expression])
        np.testing.assert_array_equal(alone.mask, answer.mask)


def test_mutated_requests_get_a_proper_status(server, predict):
    features = predict(predict_request("lts", {"image_bytes": GOOD["image_bytes"]}, "encode_photo")).outputs
    encoded = {"expression": GOOD["expression"]} | dict(features)
    cases = [("", GOOD), ("segment_expressions", GOOD), ("segment_tensors", TENSORS), ("segment_encoded", encoded)]
    contents = [predict_request("lts", inputs, signature).SerializeToString() for signature, inputs in cases]
    before = predict(predict_request("lts", GOOD))

    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(contents) - 1), changes_of(contents))
    def mutate(index, changes):
        content = changed(contents[index], changes, contents)
        try:
            raw(content, timeout=60)
        except grpc.RpcError as error:
            assert error.code().name in REFUSALS, (error.code(), error.details(), content)
            assert "\n" not in error.details()

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        mutate()
    assert predict(predict_request("lts", GOOD)) == before
