"""The messages, with TensorFlow's and the wheel `tensorflow-serving-api`'s own as the other side."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from tensorflow.tsl.profiler.protobuf import profiler_options_pb2, xplane_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2,
    prediction_log_pb2,
    prediction_service_pb2,
)

from serving.wire.protos import POOL, PROTO_SET, message, method_types

WHEELS = (
    get_model_status_pb2,
    model_service_pb2,
    prediction_log_pb2,
    prediction_service_pb2,
    profiler_options_pb2,
    xplane_pb2,
)
SOURCES = ("tensorflow_serving.proto", "tensorflow_profiler.proto")
THEIRS = descriptor_pool.Default()  # the imports above fill it

# Fields of TensorFlow that no request or answer here needs: they are unknown fields, kept on the wire and passed over.
LEFT_OUT = {
    "tensorflow.ProfileOptions": {
        "advanced_configuration",
        "device_tracer_level",
        "device_type",
        "enable_hlo_proto",
        "host_tracer_level",
        "include_dataset_ops",
        "python_tracer_level",
        "raise_error_on_start_failure",
        "repository_path",
        "session_id",
        "start_timestamp_ns",
        "trace_options",
        "version",
    },
    "tensorflow.profiler.XSpace": {"errors", "hostnames", "warnings"},
    "tensorflow.profiler.XPlane": {"event_metadata", "id", "name", "stat_metadata", "stats"},
    "tensorflow.profiler.XLine": {"display_id", "display_name", "duration_ps", "id", "name", "timestamp_ns"},
    "tensorflow.profiler.XEvent": {"duration_ps", "metadata_id", "num_occurrences", "offset_ps", "stats"},
    "tensorflow.TensorInfo.CompositeTensor": {"type_spec"},
    "tensorflow.serving.PredictRequest": {"client_id", "predict_streamed_options", "request_options"},
    "tensorflow.serving.PredictionLog": {"predict_streamed_log", "session_run_log"},
}
# Messages that the wheels lack: numbers as in TensorFlow Serving's own source and TensorFlow's library.
NOT_IN_THE_WHEEL = {
    "tensorflow.ProfileRequest": {
        "opts": 4,
        "repository_root": 5,
        "session_id": 6,
        "host_name": 7,
        "emit_xspace": 9,
    },
    "tensorflow.ProfileResponse": {"empty_trace": 7, "xspace": 8},
    "tensorflow.TerminateRequest": {"session_id": 1},
    "tensorflow.TerminateResponse": {},
    "tensorflow.serving.BatchingParameters": {
        "max_batch_size": 1,
        "batch_timeout_micros": 2,
        "max_enqueued_batches": 3,
        "num_batch_threads": 4,
        "thread_pool_name": 5,
        "allowed_batch_sizes": 6,
        "pad_variable_length_inputs": 7,
    },
    "tensorflow.serving.MonitoringConfig": {"prometheus_config": 1},
    "tensorflow.serving.PlatformConfig": {"source_adapter_config": 1},
    "tensorflow.serving.PlatformConfigMap": {"platform_configs": 1},
    "tensorflow.serving.PlatformConfigMap.PlatformConfigsEntry": {"key": 1, "value": 2},
    "tensorflow.serving.PrometheusConfig": {"enable": 1, "path": 2},
    "tensorflow.serving.SSLConfig": {"server_key": 1, "server_cert": 2, "custom_ca": 3, "client_verify": 4},
}


def files():
    """Our files, without Google's own."""
    found = descriptor_pb2.FileDescriptorSet.FromString(PROTO_SET.read_bytes()).file
    return [file for file in found if not file.name.startswith("google/")]


def names(prefix, kinds):
    for kind in kinds:
        yield f"{prefix}.{kind.name}"
        yield from names(f"{prefix}.{kind.name}", kind.nested_type)


MESSAGES = sorted(name for file in files() for name in names(file.package, file.message_type))


def fields(descriptor):
    """Number and type of each field, whether there may be many or none, and what it holds."""
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.has_presence,
            getattr(field.message_type or field.enum_type, "full_name", None),
            getattr(field.containing_oneof, "name", None),
        )
        for field in descriptor.fields
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_is_tensorflows(name):
    ours = fields(POOL.FindMessageTypeByName(name))
    if name in NOT_IN_THE_WHEEL:
        with pytest.raises(KeyError):
            THEIRS.FindMessageTypeByName(name)
        assert {field: value[0] for field, value in ours.items()} == NOT_IN_THE_WHEEL[name]
        return
    theirs = fields(THEIRS.FindMessageTypeByName(name))
    assert set(theirs) - set(ours) == LEFT_OUT.get(name, set())
    assert ours == {field: value for field, value in theirs.items() if field in ours}


def test_every_enum_is_tensorflows():
    enums = [f"{file.package}.{enum.name}" for file in files() for enum in file.enum_type]
    for kind in MESSAGES:
        enums += [enum.full_name for enum in POOL.FindMessageTypeByName(kind).enum_types]
    assert "tensorflow.DataType" in enums and "tensorflow.serving.ModelVersionStatus.State" in enums
    for name in enums:
        ours, theirs = POOL.FindEnumTypeByName(name), THEIRS.FindEnumTypeByName(name)
        assert {value.name: value.number for value in ours.values} == {
            value.name: value.number for value in theirs.values
        }, name


@pytest.mark.parametrize("name", ["tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"])
def test_every_method_is_tensorflows(name):
    theirs = THEIRS.FindServiceByName(name).methods
    assert {method: [kind.DESCRIPTOR.full_name for kind in kinds] for method, kinds in method_types(name).items()} == {
        method.name: [method.input_type.full_name, method.output_type.full_name] for method in theirs
    }


def test_a_field_that_was_left_out_survives():
    log = message("tensorflow.serving.PredictionLog")
    theirs = prediction_log_pb2.PredictionLog()
    theirs.session_run_log.request.model_spec.name = "lts"
    read = log.FromString(theirs.SerializeToString())
    assert read.WhichOneof("log_type") is None
    assert prediction_log_pb2.PredictionLog.FromString(read.SerializeToString()) == theirs


def test_the_compiled_messages_are_those_of_the_files(tmp_path):
    made = tmp_path / "made.binpb"
    # In a process of its own: the compiler and TensorFlow do not live together.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO_SET.parent}", "--include_imports"]
    subprocess.run([*command, f"--descriptor_set_out={made}", *SOURCES], check=True)
    made, kept = (descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()) for path in (made, PROTO_SET))
    assert [file.name for file in made.file] == [file.name for file in kept.file]
    for new, old in zip(made.file, kept.file, strict=True):
        assert new == old, new.name
