"""TensorFlow Serving's configuration files, and what is wrong with them."""

import pytest

from serving.config_files import (
    METRICS_PATH,
    read_batching,
    read_channel_arguments,
    read_metrics_path,
    read_models,
)
from serving.errors import StartError

# As in TensorFlow Serving's own test data.
BATCHING = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 8 }
"""
MONITORING = """
prometheus_config {
  enable: true,
  path: "/monitoring/prometheus/metrics"
}
"""


def write(tmp_path, text):
    (tmp_path / "file").write_text(text)
    return tmp_path / "file"


def test_stock_files_parse(tmp_path):
    batching = read_batching(write(tmp_path, BATCHING))
    assert (batching.max_batch_size.value, batching.batch_timeout_micros.value) == (128, 0)
    assert read_batching("").thread_pool_name.value == "model_server_batch_threads"
    assert read_metrics_path(write(tmp_path, MONITORING)) == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ('prometheus_config { path: "/m" }', None),
        ("prometheus_config { enable: true }", METRICS_PATH),
        ('prometheus_config { enable: true path: "/m" }', "/m"),
    ],
)
def test_the_page_of_metrics_is_there_where_the_file_says_so(tmp_path, text, path):
    assert read_metrics_path(write(tmp_path, text)) == path


def test_models_of_a_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    text = f"""
    model_config_list {{
      config {{ name: "a" base_path: "{tmp_path / "a"}" model_platform: "tensorflow" }}
      config {{
        name: "b", base_path: "{tmp_path / "b"}"
        model_version_policy {{ specific {{ versions: 3 versions: 5 }} }}
        version_labels {{ key: "stable" value: 3 }}
        logging_config {{ sampling_config {{ sampling_rate: 0.1 }} }}
      }}
    }}
    """
    settings = read_models(write(tmp_path, text))
    assert settings["a"].base_path == tmp_path / "a"
    assert (settings["b"].specific, settings["b"].labels) == ((3, 5), (("stable", 3),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("improperly formatted", "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1 : "),
        ("model_config_lost {}", "has no field named"),
        ('model_config_list { config { name: "a" base_path: "/nowhere" } }', "Could not find base path /nowhere"),
        ("model_config_list { config { } }", "a model needs a name and a base_path"),
        ("custom_model_config { }", "Only ModelConfigList is currently supported"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(StartError) as error:
        read_models(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_batching, read_models, read_metrics_path])
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(StartError, match="nowhere: cannot be read: No such file or directory"):
        read(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StartError, match="binary: cannot be read: "):
        read(tmp_path / "binary")


def test_the_path_of_metrics_begins_with_a_slash(tmp_path):
    with pytest.raises(StartError, match="prometheus_config.path must begin with /. Received: 'm'"):
        read_metrics_path(write(tmp_path, 'prometheus_config { enable: true path: "m" }'))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 8", "must match max_batch_size"),
        ("max_batch_size { value: 2 } allowed_batch_sizes: 2 allowed_batch_sizes: 1", "monotonically increasing"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1. Received: 0"),
    ],
)
def test_batching_that_makes_no_sense_is_told_at_the_start(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(StartError) as error:
        read_batching(path)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)


def test_channel_arguments_are_whole_numbers_or_text():
    text = "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb,grpc.x=99999999999,grpc.y=a=b,"
    assert read_channel_arguments(text) == (
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.lb_policy_name", "grpclb"),
        ("grpc.x", "99999999999"),  # beyond what gRPC takes as a number
        ("grpc.y", "a=b"),
    )
    assert read_channel_arguments("") == ()
    for wrong in ("grpc.x", "=5", "a=1,b"):
        with pytest.raises(StartError, match="must be key=value,key=value. Received: "):
            read_channel_arguments(wrong)
