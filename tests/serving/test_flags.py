"""The table of flags, the parser that it makes and the page that shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import StartError
from serving.flags import ACCEPTED, FLAGS, HONOURED, REFUSED
from serving.parsing import flags_page, parse_flags
from tests.conftest import ROOT

# As tensorflow_model_server 2.18 lists them in its --help.
TENSORFLOW_SERVINGS = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name model_base_path
num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file tensorflow_intra_op_parallelism
tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
num_request_iterations_for_warmup version monitoring_config_file remove_unused_fields_from_bundle_metagraph
prefer_tflite_model num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision
skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
""".split()

TAKEN = [flag for flag in FLAGS.values() if flag.effect != REFUSED and flag.name != "flagfile"]


def texts(flag):
    """Values that a flag can have: as text, and as they are meant."""
    if flag.kind is bool:
        return st.sampled_from([("true", True), ("false", False), ("1", True), ("0", False), ("TRUE", True)])
    if flag.kind is str:
        return (
            st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1)
            .filter(lambda text: not text.startswith("--"))
            .map(lambda text: (text, text))
        )
    low = -(10**6) if flag.low is None else int(flag.low)
    high = 10**6 if flag.high is None else int(flag.high)
    return st.integers(low, high).map(lambda number: (str(number), flag.kind(number)))


def test_all_of_tensorflow_servings_flags_are_here_in_its_order():
    assert [flag.name for flag in FLAGS.values() if not flag.ours] == TENSORFLOW_SERVINGS
    assert len(TENSORFLOW_SERVINGS) == 48


def test_the_table_says_why_where_a_flag_is_not_honoured():
    for flag in FLAGS.values():
        assert flag.effect in (HONOURED, ACCEPTED, REFUSED)
        assert flag.effect == HONOURED or flag.note, flag.name
        assert type(flag.default) is flag.kind, flag.name


def test_the_page_is_the_tables():
    assert (ROOT / "docs" / "serving_flags.md").read_text(encoding="utf-8") == flags_page()


def test_without_words_every_flag_has_its_default():
    values, given = parse_flags([])
    assert values == {name: flag.default for name, flag in FLAGS.items()}
    assert given == set()


@given(st.data(), st.sampled_from(TAKEN), st.booleans())
def test_both_forms_give_the_same_value(data, flag, apart):
    text, expected = data.draw(texts(flag))
    words = [f"--{flag.name}", text] if apart else [f"--{flag.name}={text}"]
    values, given = parse_flags([*words, "--port=1"])
    assert values[flag.name] == (1 if flag.name == "port" else expected)
    assert values["port"] == 1
    assert given == {flag.name, "port"}


def test_a_bool_alone_is_true_and_the_last_word_counts():
    words = ["--enable_batching", "--port=1", "--enable_model_warmup=false", "--enable_model_warmup", "--port", "2"]
    values, _ = parse_flags(words)
    assert (values["enable_batching"], values["enable_model_warmup"], values["port"]) == (True, True, 2)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--prot=1"], "unknown flag --prot; did you mean --port?"),
        (["--something_else_entirely=1"], "unknown flag --something_else_entirely"),
        (["port=1"], "flags begin with --. Received: 'port=1'"),
        (["-port=1"], "flags begin with --. Received: '-port=1'"),
        (["--port=x"], "--port must be a whole number in 0..65535. Received: 'x'"),
        (["--port=65536"], "--port must be a whole number in 0..65535. Received: 65536"),
        (["--port=1.5"], "--port must be a whole number in 0..65535. Received: '1.5'"),
        (["--port"], "--port needs a value, as in --port=8500"),
        (["--model_base_path", "--port=1"], "--model_base_path needs a value, as in --model_base_path=VALUE"),
        (["--enable_batching=maybe"], "--enable_batching must be true or false. Received: 'maybe'"),
        (["--file_system_poll_wait_seconds=nan"], "must be a number of at least 0. Received: 'nan'"),
        (["--file_system_poll_wait_seconds=-1"], "must be a number of at least 0. Received: -1"),
        (["--per_process_gpu_memory_fraction=1.5"], "must be a number in 0..1. Received: 1.5"),
        (["--max_predictions=0"], "--max_predictions must be a whole number of at least 1. Received: 0"),
        (["--use_alts_credentials"], "--use_alts_credentials is not supported. It works on Google's own"),
        (["--platform_config_file=x"], "--platform_config_file is not supported. There is no platform but"),
        (["--mixed_precision=bfloat16"], "--mixed_precision is not supported. It would change"),
        (["--flagfile=nowhere"], "--flagfile: nowhere: cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, line):
    with pytest.raises(StartError) as error:
        parse_flags(words)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_refused_flag_may_have_its_default():
    values, _ = parse_flags(["--use_alts_credentials=false", "--mixed_precision="])
    assert (values["use_alts_credentials"], values["mixed_precision"]) == (False, "")


def test_a_flag_file_is_read_where_it_stands(tmp_path):
    (tmp_path / "inner").write_text("--model_name=inner\n")
    (tmp_path / "flags").write_text(f"# a comment\n\n  --port=1\n--enable_batching\n--flagfile={tmp_path}/inner\n")
    values, given = parse_flags(["--port=2", f"--flagfile={tmp_path}/flags", "--model_name=outer"])
    assert (values["port"], values["enable_batching"], values["model_name"]) == (1, True, "outer")
    assert given == {"port", "enable_batching", "model_name"}


def test_flag_files_that_name_each_other_end(tmp_path):
    (tmp_path / "flags").write_text(f"--flagfile={tmp_path}/flags\n")
    with pytest.raises(StartError, match="more than 8 flag files"):
        parse_flags(["--flagfile", str(tmp_path / "flags")])
