"""The server's flags in one table, which makes the parser, the page `docs/serving_flags.md` and a test.

Those of TensorFlow Serving's `tensorflow_model_server` are all here, by their own names. What has no effect says so;
what should change how answers come about, and cannot, is refused.
"""

import dataclasses

__all__ = ["ACCEPTED", "FLAGS", "HONOURED", "REFUSED", "Flag"]

HONOURED, ACCEPTED, REFUSED = "honoured", "accepted without effect", "refused"


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        name: str, without the dashes.
        kind: `int`, `float`, `bool` or `str`.
        default: value of that kind; TensorFlow Serving's, unless `note` says otherwise.
        help: str, what it does.
        effect: `HONOURED`, `ACCEPTED`, or `REFUSED` for any other value than the default.
        note: str, why it is not honoured, or how it differs.
        low, high: bounds of a number, inclusive; `None` for none.
        ours: bool. Whether TensorFlow Serving lacks it.
    """

    name: str
    kind: type
    default: object
    help: str
    effect: str = HONOURED
    note: str = ""
    low: float | None = None
    high: float | None = None
    ours: bool = False


def _refused(name, kind, default, text, note):
    return Flag(name, kind, default, text, REFUSED, note)


def _accepted(name, kind, default, text, note):
    return Flag(name, kind, default, text, ACCEPTED, note)


_LITE = "There is no TensorFlow Lite here; like a folder without `model.tflite`, the SavedModel is served."
_PORT = {"low": 0, "high": 65535}

_STOCK = (
    Flag("port", int, 8500, "Port of gRPC", note="0 takes any free one; the log names it.", **_PORT),
    Flag("grpc_socket_path", str, "", "path of a Unix socket for gRPC beside the port"),
    Flag("rest_api_port", int, 0, "HTTP port; 0 for none", **_PORT),
    Flag("rest_api_num_threads", int, 0, "HTTP requests answered at a time; 0 for 4 a processor", low=0),
    Flag("rest_api_timeout_in_ms", int, 30000, "how long an HTTP request may take; 0 for no limit", low=0),
    Flag("rest_api_enable_cors_support", bool, False, "CORS headers in HTTP answers"),
    Flag(
        "enable_batching",
        bool,
        False,
        "server-side batching of requests",
        note="Leave it off for this project's exports: they batch in the graph, behind decoding.",
    ),
    Flag("allow_version_labels_for_unavailable_models", bool, False, "lets a label name a version that is not served"),
    Flag("batching_parameters_file", str, "", "text proto `BatchingParameters`; needs `--enable_batching`"),
    Flag("enable_per_model_batching_parameters", bool, False, "reads `batching_params.pbtxt` in a version's folder"),
    Flag("model_config_file", str, "", "text proto `ModelServerConfig`: several models, version policies, labels"),
    Flag("model_config_file_poll_wait_seconds", int, 0, "time between two looks at that file; 0 looks once", low=0),
    Flag("model_name", str, "default", "name of the model in requests; not read with `--model_config_file`"),
    Flag("model_base_path", str, "", "folder with one folder per version; not read with `--model_config_file`"),
    Flag("num_load_threads", int, 0, "versions loaded at a time; 0 as 1", low=0),
    _accepted(
        "num_unload_threads",
        int,
        0,
        "threads that unload",
        "A version is closed by whoever gives back its last lease; no request waits for that.",
    ),
    Flag("max_num_load_retries", int, 5, "how often a failed load is tried again", low=0),
    Flag("load_retry_interval_micros", int, 60_000_000, "time between two tries; below 0 for none"),
    Flag(
        "file_system_poll_wait_seconds",
        float,
        1.0,
        "time between two looks for versions; 0 looks once",
        low=0,
        note="Fractions are allowed; negative values, for TensorFlow Serving's own tests, are not.",
    ),
    _accepted(
        "flush_filesystem_caches",
        bool,
        True,
        "empties the file system's caches after a load",
        "TensorFlow's file systems for local folders keep none.",
    ),
    Flag(
        "tensorflow_session_parallelism",
        int,
        0,
        "threads of a session, within and between operators; 0: TensorFlow's choice",
        low=0,
    ),
    Flag("tensorflow_session_config_file", str, "", "text proto `tensorflow.ConfigProto` for the sessions"),
    Flag("tensorflow_intra_op_parallelism", int, 0, "threads within an operator; 0: TensorFlow's choice", low=0),
    Flag("tensorflow_inter_op_parallelism", int, 0, "operators at a time; 0: TensorFlow's choice", low=0),
    _refused(
        "use_alts_credentials",
        bool,
        False,
        "Google's ALTS instead of TLS",
        "It works on Google's own machines alone; `--ssl_config_file` gives TLS.",
    ),
    Flag("ssl_config_file", str, "", "text proto `SSLConfig`: TLS for gRPC, with `client_verify` mutual"),
    _refused(
        "platform_config_file",
        str,
        "",
        "text proto `PlatformConfigMap` instead of the TensorFlow platform",
        "There is no platform but `tensorflow`; what the file says of it has flags of its own here.",
    ),
    Flag(
        "per_process_gpu_memory_fraction",
        float,
        0.0,
        "of each GPU's memory, taken at start; 0 lets it grow",
        low=0,
        high=1,
    ),
    Flag(
        "saved_model_tags",
        str,
        "serve",
        "tags of the graph to load, separated by commas",
    ),
    Flag("grpc_channel_arguments", str, "", "Options of gRPC itself, `key=value` separated by commas"),
    Flag(
        "grpc_max_threads",
        int,
        0,
        "Requests answered over gRPC at a time; 0 for 16 more than `--max_predictions`",
        low=0,
        note="TensorFlow Serving's default is 4 a processor.",
    ),
    Flag("enable_model_warmup", bool, True, "runs a version's recorded requests before it is served"),
    Flag("num_request_iterations_for_warmup", int, 0, "how often each of them is run; 0 as 1", low=0),
    Flag("version", bool, False, "prints the versions and ends"),
    Flag("monitoring_config_file", str, "", "text proto `MonitoringConfig`: the Prometheus page of the HTTP port"),
    _accepted(
        "remove_unused_fields_from_bundle_metagraph",
        bool,
        True,
        "frees memory of the graph's description",
        "Only its signatures are kept anyway.",
    ),
    _accepted("prefer_tflite_model", bool, False, "serves `model.tflite` where there is one", _LITE),
    _accepted("num_tflite_pools", int, 0, "pools of TensorFlow Lite interpreters", _LITE),
    _accepted("num_tflite_interpreters_per_pool", int, 1, "interpreters in each of them", _LITE),
    Flag("enable_signature_method_name_check", bool, False, "Classify and Regress ask a signature for its method name"),
    _accepted(
        "xla_cpu_compilation_enabled",
        bool,
        False,
        "lets graphs ask for XLA on CPUs",
        "Graphs that ask for XLA get it, as everywhere in TensorFlow's Python wheel.",
    ),
    _accepted("xla_gpu_compilation_enabled", bool, False, "lets graphs ask for XLA on GPUs", "As for CPUs."),
    Flag(
        "enable_profiler",
        bool,
        True,
        "TensorFlow's profiler service on the gRPC port",
        note="It answers clients on the same machine alone, since it writes where they say.",
    ),
    _refused(
        "thread_pool_factory_config_file",
        str,
        "",
        "text proto `ThreadPoolConfig`",
        "It names C++ classes that are linked into a server; threads are set by `--tensorflow_*_parallelism`.",
    ),
    _refused(
        "mixed_precision",
        str,
        "",
        "rewrites the graph to `bfloat16`",
        "It would change answers that the export measured; export with `export.precision: bfloat16`.",
    ),
    _accepted("skip_initialize_tpu", bool, False, "leaves TPUs alone", "They are always left alone."),
    Flag(
        "enable_grpc_healthcheck_service",
        bool,
        True,
        "Health service of gRPC",
        note="TensorFlow Serving's default is false.",
    ),
    Flag(
        "enable_serialization_as_tensor_content",
        bool,
        False,
        "numbers in answers as `tensor_content`: shorter and 10 to 30 times faster to write and to read",
        note="Every client of TensorFlow reads both forms.",
    ),
)

_OURS = (
    Flag("host", str, "0.0.0.0", "address to listen on, for gRPC and HTTP"),
    Flag("max_predictions", int, 32, "requests taken at a time; more are refused with `RESOURCE_EXHAUSTED`", low=1),
    Flag("max_request_rows", int, 1024, "rows of one request", low=1),
    Flag("max_inflight_megabytes", int, 512, "bytes of all requests at a time", low=1),
    Flag(
        "max_inflight_megapixels",
        int,
        200,
        "decoded pixels of all requests at a time; a photo counts for each of its sentences",
        low=1,
    ),
    Flag("max_rows_running", int, 16, "rows in the graph at a time; more wait in order of arrival", low=1),
    Flag("photo_cache_megabytes", int, 256, "memory for encodings of photos seen lately; 0 for none", low=0),
    Flag("request_log_path", str, "", "prefix of TFRecord files of `PredictionLog`s; empty for no request log"),
    Flag("request_log_sampling_rate", float, 0.01, "fraction of the answered requests that is logged", low=0, high=1),
    Flag("request_log_photos", bool, False, "keeps the photos in the request log; else their statistics alone"),
    Flag("request_log_max_megabytes", int, 1024, "of all log files together; the oldest go first", low=1),
    Flag("shutdown_grace_seconds", float, 30.0, "within how many seconds after SIGTERM the process is gone", low=0),
    Flag("flagfile", str, "", "file with one flag a line, read where it stands; `#` starts a comment"),
    Flag("verbose", bool, False, "shows the traceback of a failure"),
)

FLAGS = {flag.name: flag for flag in (*_STOCK, *(dataclasses.replace(flag, ours=True) for flag in _OURS))}
"""dict from name to `Flag`, in the order of TensorFlow Serving's `--help`, then this project's own."""
