"""What TensorFlow Serving's own test of its server asks over gRPC, asked here with its own messages."""

import time

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.config_files import read_models
from serving.errors import StartError
from serving.options import ServerOptions
from serving.server import Server
from serving.wire.protos import BatchingParameters
from tests.serving.other_models import write_half_plus_two

VERSION = 123
OPTIONS = {"host": "127.0.0.1", "port": 0, "enable_model_warmup": False}


def config_of(**models):
    """Text of a `ModelServerConfig`."""
    entries = [
        f'config: {{ name: "{name}", base_path: "{path}", model_platform: "tensorflow" }}'
        for name, path in models.items()
    ]
    return f"model_config_list: {{ {', '.join(entries)} }}"


@pytest.fixture(scope="module")
def models(half_plus_two, tmp_path_factory):
    """Folders of versions by name: `half_plus_two` and `half_plus_three`, the version's folder with leading zeros."""
    base = tmp_path_factory.mktemp("stock")
    for name in ("half_plus_two", "half_plus_three"):
        (base / name).mkdir()
    (base / "half_plus_two" / f"{VERSION:08d}").symlink_to(half_plus_two)
    write_half_plus_two(base / "half_plus_three" / f"{VERSION:08d}", offset=3.0)
    return {name: base / name for name in ("half_plus_two", "half_plus_three")}


@pytest.fixture(scope="module")
def address(models, tmp_path_factory):
    """A server of `default`, with what the stock test starts its servers with."""
    socket = tmp_path_factory.mktemp("socket") / "tf-serving.sock"
    arguments = (("grpc.max_connection_age_ms", 2000), ("grpc.lb_policy_name", "grpclb"))
    options = ServerOptions(**OPTIONS, grpc_socket_path=str(socket), grpc_channel_arguments=arguments)
    with Server({"default": models["half_plus_two"]}, options) as server:
        yield {"tcp": f"localhost:{server.port}", "unix": f"unix:{socket}"}


def call(target, method, request, stub=prediction_service_pb2_grpc.PredictionServiceStub):
    with grpc.insecure_channel(target) as channel:
        return getattr(stub(channel), method)(request, 5.0)


def ask(target, model="default", signature="serving_default", shape=(1,), output="y"):
    """`y` for `x` = 2, and the `ModelSpec` that answered; the request is written value by value, as the stock test."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].float_val.append(2.0)
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add().size = size
    if output:
        request.output_filter.append(output)
    response = call(target, "Predict", request)
    assert response.outputs["y"].dtype == tf.float32.as_datatype_enum
    assert len(response.outputs["y"].float_val) == 1
    return response.outputs["y"].float_val[0], response.model_spec


def example_of(request, **features):
    example = request.input.example_list.examples.add()
    for name, value in features.items():
        example.features.feature[name].float_list.value.append(value)


def check_spec(spec, signature, name="default"):
    assert (spec.name, spec.signature_name, spec.version.value) == (name, signature, VERSION)


def test_a_missing_model_is_told_with_the_word_that_clients_wait_for(address):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "intentionally_missing_model"
    with pytest.raises(grpc.RpcError) as refusal:
        call(address["tcp"], "Predict", request)
    assert refusal.value.code() == grpc.StatusCode.NOT_FOUND
    assert "Servable" in refusal.value.details()


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.parametrize("output", ["y", None])
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_predict_over_a_port_and_a_unix_socket(address, way, output, shape):
    value, spec = ask(address[way], shape=shape, output=output)
    assert value == 3.0
    check_spec(spec, "serving_default")


def test_status_names_the_version_without_an_error(address):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "default"
    response = call(address["tcp"], "GetModelStatus", request, model_service_pb2_grpc.ModelServiceStub)
    (entry,) = response.model_version_status
    assert (entry.version, entry.state, entry.status.error_code) == (VERSION, entry.AVAILABLE, 0)


def test_metadata_declares_the_shapes_of_the_file(address):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "default"
    response = call(address["tcp"], "GetModelMetadata", request)
    check_spec(response.model_spec, "")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {
        "serving_default",
        "classify_x_to_y",
        "regress_x_to_y",
        "regress_x_to_y2",
        "regress_x2_to_y3",
    }
    default = signatures.signature_def["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    assert (default.inputs["x"].name, default.outputs["y"].name) == ("x:0", "y:0")
    assert [dimension.size for dimension in default.inputs["x"].tensor_shape.dim] == [-1, 1]


def test_classify(address):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "default", "classify_x_to_y"
    example_of(request, x=2.0)
    response = call(address["tcp"], "Classify", request)
    ((entry,),) = [list(one.classes) for one in response.result.classifications]
    assert (entry.label, entry.score) == ("", 3.0)
    check_spec(response.model_spec, "classify_x_to_y")


def test_regress(address):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "default", "regress_x_to_y"
    example_of(request, x=2.0)
    response = call(address["tcp"], "Regress", request)
    assert [one.value for one in response.result.regressions] == [3.0]
    check_spec(response.model_spec, "regress_x_to_y")


def test_multi_inference(address):
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "default", signature
    example_of(request, x=2.0)
    first, second = call(address["tcp"], "MultiInference", request).results
    assert [one.value for one in first.regression_result.regressions] == [3.0]
    assert [one.score for one in second.classification_result.classifications[0].classes] == [3.0]
    check_spec(first.model_spec, "regress_x_to_y")
    check_spec(second.model_spec, "classify_x_to_y")


def test_two_models_of_a_configuration_file(models, tmp_path):
    path = tmp_path / "good_model_config.txt"
    path.write_text(config_of(**models), encoding="utf-8")
    with Server(read_models(path), ServerOptions(**OPTIONS)) as server:
        for name, expected in (("half_plus_two", 3.0), ("half_plus_three", 4.0)):
            for output in ("y", None):
                value, spec = ask(f"localhost:{server.port}", name, output=output)
                assert value == expected
                check_spec(spec, "serving_default", name)


def test_a_bad_configuration_file_is_told_in_the_words_that_the_stock_test_looks_for(tmp_path):
    path = tmp_path / "bad_model_config.txt"
    path.write_text("improperly formatted file\n", encoding="utf-8")
    with pytest.raises(StartError, match=r"Error parsing text-format tensorflow\.serving\.ModelServerConfig"):
        read_models(path)


def test_a_configuration_file_is_looked_at_again(models, tmp_path):
    path = tmp_path / "model_config.txt"
    path.write_text(config_of(half_plus_two=models["half_plus_two"]), encoding="utf-8")
    options = ServerOptions(**OPTIONS, model_config_file=path, model_config_poll_seconds=0.1)
    with Server(read_models(path), options) as server:
        target = f"localhost:{server.port}"
        assert ask(target, "half_plus_two")[0] == 3.0
        path.write_text(config_of(half_plus_three=models["half_plus_three"]), encoding="utf-8")
        until = time.monotonic() + 20
        while not server.manager.serves("half_plus_three") and time.monotonic() < until:
            time.sleep(0.02)
        assert ask(target, "half_plus_three")[0] == 4.0
        with pytest.raises(grpc.RpcError, match="Servable not found for request"):
            ask(target, "half_plus_two")


def test_a_configuration_file_that_is_not_polled_stays_as_it_was(models, tmp_path):
    path = tmp_path / "model_config.txt"
    path.write_text(config_of(half_plus_two=models["half_plus_two"]), encoding="utf-8")
    options = ServerOptions(**OPTIONS, model_config_file=path, model_config_poll_seconds=0.0, poll_seconds=0.05)
    with Server(read_models(path), options) as server:
        path.write_text(config_of(half_plus_three=models["half_plus_three"]), encoding="utf-8")
        server.manager.refresh()
        assert ask(f"localhost:{server.port}", "half_plus_two")[0] == 3.0
        assert server.manager.names == ["half_plus_two"]


def test_models_that_tensorflow_2_saves(tmp_path):
    """A function of any rank, one with two signatures, a Keras model, and one whose weights a strategy mirrors."""
    root = tf.Module()
    root.first, root.second = tf.Variable(3.0), tf.Variable(2.0)
    any_rank = [tf.TensorSpec(None, tf.float32, name="x")]
    product = tf.function(lambda x: {"y": root.first * root.second * x}, input_signature=any_rank)
    tf.saved_model.save(root, str(tmp_path / "product" / "00000123"), signatures=product)
    one, two = (tf.function(lambda x, value=value: {"y": value}, input_signature=any_rank) for value in (1.0, 2.0))
    signatures = {"serving_default": one, "custom_signature_key": two}
    tf.saved_model.save(root, str(tmp_path / "two" / "00000123"), signatures=signatures)
    model = tf.keras.Sequential([tf.keras.Input((1,), name="x"), tf.keras.layers.Dense(1, kernel_initializer="ones")])
    archive = tf.keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda x: {"y": model(x)}, [tf.TensorSpec((None, 1), tf.float32, name="x")])
    archive.write_out(str(tmp_path / "keras" / "00000123"), verbose=False)
    bases = {name: tmp_path / name for name in ("product", "two", "keras")}
    with Server(bases, ServerOptions(**OPTIONS)) as server:
        target = f"localhost:{server.port}"
        assert ask(target, "product", output=None)[0] == 12.0
        assert ask(target, "two")[0] == 1.0
        value, spec = ask(target, "two", signature="custom_signature_key")
        assert value == 2.0
        check_spec(spec, "custom_signature_key", "two")
        assert ask(target, "keras", shape=(1, 1), output=None)[0] == 2.0


def test_batching_parameters_as_the_stock_test_gives_them(models):
    text = """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 1000000 }
        num_batch_threads { value: 8 }
    """
    options = ServerOptions(**OPTIONS, batching=text_format.Parse(text, BatchingParameters()))
    with Server({"default": models["half_plus_two"]}, options) as server:
        for output in ("y", None):
            assert ask(f"localhost:{server.port}", output=output)[0] == 3.0
