import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lts_keras.config.errors import ConfigError
from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from lts_keras.export.recorded import MOST_QUESTIONS, recorded_questions
from lts_keras.export.warm_up import WARM_UP_FILE
from tests.small_models import photo_bytes, small_model

PHOTOS = [photo_bytes(seed=seed) for seed in range(3)]


def record(signature, photos, expressions, name="image_bytes"):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array(photos, object)))
    request.inputs["expression"].CopyFrom(tf.make_tensor_proto(np.array(expressions, object)))
    return log.SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in records:
            writer.write(one)
    return path


def test_real_photos_and_expressions_stand_in_the_warm_up(tmp_path):
    path = write(
        tmp_path / "log",
        [
            record("serving_default", PHOTOS[:2], [b"red", b"the dog"]),
            record("segment_expressions", PHOTOS[2:], [b"left", b"right"]),
            record("serving_default", [photo_bytes(400, 400), b"no photo"], [b"too large", b"broken"]),
        ],
    )
    model, config = (
        small_model(),
        ExportConfig(warm_up_requests=str(path), max_photo_pixels=100_000, batch_sizes=(1, 4)),
    )
    export_saved_model(model, Tokenizer(model.vocabulary, 6), tmp_path / "saved", config)
    asked, signatures = set(), tf.saved_model.load(str(tmp_path / "saved")).signatures
    for one in tf.data.TFRecordDataset(str(tmp_path / "saved" / WARM_UP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(one).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
        signatures[request.model_spec.signature_name](**inputs)
        if request.model_spec.signature_name == "serving_default":
            asked |= set(zip(inputs["image_bytes"].numpy(), inputs["expression"].numpy(), strict=True))
    expected = [(PHOTOS[0], b"red"), (PHOTOS[1], b"the dog"), (PHOTOS[2], b"left"), (PHOTOS[2], b"right")]
    assert asked == set(expected)


def test_no_more_than_a_bounded_number_is_taken(tmp_path):
    path = write(
        tmp_path / "log", [record("segment_expressions", PHOTOS[:1], [f"dog {n}".encode() for n in range(99)])]
    )
    assert len(recorded_questions(path, 64, 100_000)) == MOST_QUESTIONS


@pytest.mark.parametrize(
    ("write_file", "words"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"no TFRecords at all"), "no TFRecord file of a request log"),
        (lambda path: write(path, [b"\xff\xff"]), "no TFRecord file of a request log"),
        (
            lambda path: write(path, [record("serving_default", [b"9"], [b"x"], "image_bytes/sha256")]),
            "--request_log_photos",
        ),
    ],
)
def test_a_file_without_real_questions_is_named(tmp_path, write_file, words):
    path = tmp_path / "log"
    write_file(path)
    with pytest.raises(ConfigError, match=re.escape(f"export.warm_up_requests: {path}: ") + f".*{words}"):
        recorded_questions(path, 64, 100_000)
