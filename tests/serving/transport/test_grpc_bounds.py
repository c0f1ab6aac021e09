"""What a gRPC client cannot do: take the server's memory or end it, whatever it sends."""

import collections
import concurrent.futures
import dataclasses

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from serving.wire.amounts import MOST_FIELDS
from tests.serving.asking import add_example, predict_request
from tests.serving.mutations import changed, changes_of
from tests.serving.other_models import write_odd_dtypes, write_photos
from tests.serving.transport.grpc_bombs import BOMBS, FLOAT, GOOD, field, photos, shape, spec, strings
from tests.serving.transport.grpc_process import grpc_process
from tests.small_models import photo_bytes

MOST_MEBIBYTES = 64
PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
PREDICT = PREDICTION + "Predict"
FAULTS_OF_OURS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "DATA_LOSS", "ABORTED"}


@dataclasses.dataclass
class Asked:
    """A server in a process of its own, and a channel to it."""

    process: object
    channel: object

    def code(self, method, content, timeout=60):
        """Name of the status of a call that brings raw bytes, and its words."""
        try:
            self.channel.unary_unary(method)(content, timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


@pytest.fixture(scope="module")
def asked(half_folder, tmp_path_factory):
    base = tmp_path_factory.mktemp("bounds")
    write_odd_dtypes(base / "odd" / "1")
    write_photos(base / "photos" / "1")
    log = base / "log"
    models = {"half": half_folder, "odd": base / "odd", "photos": base / "photos"}
    options = [("grpc.max_send_message_length", -1)]
    with grpc_process(models, log) as process:
        with grpc.insecure_channel(f"127.0.0.1:{process.port}", options=options) as channel:
            asking = Asked(process, channel)
            assert asking.code(PREDICT, GOOD)[0] == "OK"
            yield asking
    text = log.read_text(encoding="utf-8")
    assert "Traceback" not in text and "ERROR" not in text, text


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_little_memory(asked, name):
    make, code = BOMBS[name]
    content, found = make(), []
    assert len(content) < 8 * 2**20
    grown = asked.process.grown(lambda: found.append(asked.code(PREDICT, content)))
    assert found[0][0] == code, found
    assert grown < MOST_MEBIBYTES
    assert asked.code(PREDICT, GOOD)[0] == "OK"


@pytest.mark.parametrize(
    ("method", "content"),
    [
        (PREDICTION + "Classify", lambda: spec("half") + field(2, field(1, b"\x0a\x00" * 2**20))),
        (PREDICTION + "Regress", lambda: spec("half") + field(2, field(2, b"\x0a\x00" * 2**20))),
        (PREDICTION + "MultiInference", lambda: b"\x0a\x00" * 2**20),
        (PREDICTION + "GetModelMetadata", lambda: spec("half") + b"\x12\x00" * 2**20),
        (MODEL + "HandleReloadConfigRequest", lambda: field(1, field(1, b"\x0a\x00" * 2**20))),
    ],
)
def test_bombs_of_other_methods(asked, method, content):
    content, found = content(), []
    grown = asked.process.grown(lambda: found.append(asked.code(method, content)))
    assert found[0] == ("RESOURCE_EXHAUSTED", f"the request has more than {MOST_FIELDS} fields")
    assert grown < MOST_MEBIBYTES


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_bomb_is_refused_within_little_memory(asked, compression):
    found = []
    content = spec("half") + field(2, field(1, b"x"), field(2, FLOAT, shape(2**25), field(4, bytes(2**27))))
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{asked.process.port}", options=options, compression=compression) as channel:
        asking = Asked(asked.process, channel)
        grown = asked.process.grown(lambda: found.append(asking.code(PREDICT, content)))
        assert found[0][0] == "RESOURCE_EXHAUSTED" and "times as many; send it as it is" in found[0][1]
        assert grown < MOST_MEBIBYTES
        assert asking.code(PREDICT, GOOD)[0] == "OK"


def test_many_bombs_at_once(asked):
    contents = [make() for make, _ in BOMBS.values()]
    codes = []

    def throw():
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            codes.extend(pool.map(lambda content: asked.code(PREDICT, content)[0], contents))

    grown = asked.process.grown(throw)
    assert set(codes) == {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "NOT_FOUND", "FAILED_PRECONDITION"}
    assert grown < 512 + MOST_MEBIBYTES  # the bytes that may be in the house, with room
    assert asked.code(PREDICT, GOOD)[0] == "OK"


def real_requests():
    """Pairs of a method and the bytes of a request that is answered, of every method that changes nothing."""
    odd = {
        "text": strings(b"a", b"b"),
        "short": tf.make_tensor_proto([1.5], tf.bfloat16),
        "number": tf.make_tensor_proto(7, tf.int64),
    }
    yield PREDICT, GOOD
    yield PREDICT, photos([photo_bytes()], [b"the left dog", b"a red circle"], "segment_expressions")
    yield PREDICT, predict_request("half", {"x": np.ones(3, np.float32)}, outputs=["y"]).SerializeToString()
    yield PREDICT, predict_request("half", {"x": tf.make_tensor_proto([1.0] * 20)}, version=1).SerializeToString()
    yield PREDICT, predict_request("odd", odd).SerializeToString()
    for kind, method, signature in (
        (classification_pb2.ClassificationRequest, "Classify", "classify_x_to_y"),
        (regression_pb2.RegressionRequest, "Regress", "regress_x_to_y"),
    ):
        request = kind()
        request.model_spec.name, request.model_spec.signature_name = "half", signature
        add_example(request.input.example_list_with_context.examples, x=2.0, more=1.0)
        yield PREDICTION + method, request.SerializeToString()
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    add_example(request.input.example_list.examples, x=2.0)
    yield PREDICTION + "MultiInference", request.SerializeToString()
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    yield PREDICTION + "GetModelMetadata", request.SerializeToString()
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half"
    yield MODEL + "GetModelStatus", request.SerializeToString()
    request = model_management_pb2.ReloadConfigRequest()
    # Whatever becomes of it, this folder holds no model: such a reload is refused.
    request.config.model_config_list.config.add(name="half", base_path="/proc/none", model_platform="tensorflow")
    yield MODEL + "HandleReloadConfigRequest", request.SerializeToString()


REAL = list(real_requests())
CONTENTS = [content for _, content in REAL]


def is_wish_for_no_models(method, content):
    """Whether a mutation has become a proper request to serve nothing any more, which the server would fulfil."""
    if not method.endswith("HandleReloadConfigRequest"):
        return False
    try:
        config = model_management_pb2.ReloadConfigRequest.FromString(content).config
    except DecodeError:
        return False
    return config.WhichOneof("config") == "model_config_list" and not config.model_config_list.config


def test_mutated_requests_get_a_proper_status_and_take_nothing(asked):
    assert {asked.code(method, content)[0] for method, content in REAL[:-1]} == {"OK"}
    counts, resident = collections.Counter(), []

    @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(REAL) - 1), changes_of(CONTENTS))
    def mutate(index, changes):
        method, content = REAL[index]
        content = changed(content, changes, CONTENTS)
        assume(not is_wish_for_no_models(method, content))
        code, details = asked.code(method, content)
        counts[code] += 1
        assert code not in FAULTS_OF_OURS, (code, details, content)
        assert "\n" not in details
        if counts.total() == 500:  # what a server keeps once is there: threads, executors, pools
            resident.append(asked.process.resident())

    mutate()
    assert asked.process.resident() - resident[0] < MOST_MEBIBYTES
    assert counts.total() >= 2000 and counts["INVALID_ARGUMENT"] > 500
    assert asked.code(PREDICT, GOOD)[0] == "OK"
