"""`python -m serving server`: from flags to a running server."""

import importlib.metadata
import logging
import sys
from pathlib import Path

from serving import config_files
from serving.core.limits import Limits
from serving.errors import StartError
from serving.flags import FLAGS
from serving.options import RequestLogSettings, ServerOptions, check_port, check_socket, make_settings
from serving.parsing import parse_flags
from serving.quiet import import_tensorflow

__all__ = ["make_options", "run"]

_MEGABYTE = 1 << 20


def run(words):
    """Serves until SIGTERM or SIGINT.

    Args:
        words: list of str, the flags.

    Raises:
        StartError: for wrong flags, files, folders or ports, all before TensorFlow is loaded but for the session's
            configuration, which is TensorFlow's to read.
    """
    if {"-h", "--help"} & set(words):
        print(_help())
        return
    values, given = parse_flags(words)
    if values["version"]:
        print(_versions())
        return
    settings, options = make_options(values, given)
    if options.grpc_socket_path:
        check_socket(options.grpc_socket_path)
    for port in (options.port, options.rest_port or 0):
        check_port(options.host, port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", stream=sys.stderr)
    import_tensorflow()
    from serving.core.session import session_config
    from serving.process import serve

    try:
        session_config(options)
    except ValueError as error:
        raise StartError(
            f"--tensorflow_session_config_file={values['tensorflow_session_config_file']}: {error}"
        ) from None
    serve(settings, options)


def make_options(values, given=()):
    """Reads the files that flags name, and puts everything together.

    Args:
        values: dict from the name of each flag to its value.
        given: names of the flags that were given.

    Returns:
        `(dict from model name to ModelSettings, ServerOptions)`.

    Raises:
        StartError: as `run`.
    """
    if values["rest_api_port"] and values["rest_api_port"] == values["port"]:
        raise StartError(f"--rest_api_port and --port must differ. Received: {values['port']} for both")
    options = ServerOptions(
        **_listening(values),
        **_files(values),
        **_sessions(values),
        poll_seconds=values["file_system_poll_wait_seconds"],
        model_config_poll_seconds=values["model_config_file_poll_wait_seconds"],
        num_load_threads=values["num_load_threads"],
        max_num_load_retries=values["max_num_load_retries"],
        load_retry_interval_seconds=values["load_retry_interval_micros"] / 1e6,
        enable_model_warmup=values["enable_model_warmup"],
        num_request_iterations_for_warmup=values["num_request_iterations_for_warmup"],
        allow_version_labels_for_unavailable_models=values["allow_version_labels_for_unavailable_models"],
        signature_method_name_check=values["enable_signature_method_name_check"],
        tensor_content=values["enable_serialization_as_tensor_content"],
        max_predictions=values["max_predictions"],
        limits=_limits(values),
        photo_cache_bytes=values["photo_cache_megabytes"] * _MEGABYTE,
        request_log=_request_log(values, given),
        grace_seconds=values["shutdown_grace_seconds"],
    )
    return _models(values), options


def _models(values):
    if values["model_config_file"]:
        return config_files.read_models(values["model_config_file"])
    if not values["model_base_path"]:
        raise StartError(
            "--model_base_path or --model_config_file is needed: the folder of a model, or a file of several"
        )
    if not values["model_name"]:
        raise StartError("--model_name must not be empty")
    return make_settings({values["model_name"]: values["model_base_path"]})


def _listening(values):
    return {
        "host": values["host"],
        "port": values["port"],
        "grpc_socket_path": values["grpc_socket_path"] or None,
        "grpc_channel_arguments": config_files.read_channel_arguments(values["grpc_channel_arguments"]),
        "grpc_max_threads": values["grpc_max_threads"] or None,
        "health_service": values["enable_grpc_healthcheck_service"],
        "profiler": values["enable_profiler"],
        "rest_port": values["rest_api_port"] or None,
        "rest_threads": values["rest_api_num_threads"] or None,
        "rest_timeout_seconds": values["rest_api_timeout_in_ms"] / 1000,
        "rest_cors": values["rest_api_enable_cors_support"],
    }


def _files(values):
    batching = None
    if values["enable_batching"]:
        batching = config_files.read_batching(values["batching_parameters_file"])
    elif values["batching_parameters_file"]:
        raise StartError("--batching_parameters_file is set without --enable_batching")
    monitoring, ssl = values["monitoring_config_file"], values["ssl_config_file"]
    return {
        "batching": batching,
        "per_model_batching": values["enable_per_model_batching_parameters"],
        "metrics_path": config_files.read_metrics_path(monitoring) if monitoring else None,
        "ssl": config_files.read_ssl(ssl) if ssl else None,
        "model_config_file": Path(values["model_config_file"]) if values["model_config_file"] else None,
    }


def _sessions(values):
    within, between = values["tensorflow_intra_op_parallelism"], values["tensorflow_inter_op_parallelism"]
    both = values["tensorflow_session_parallelism"]
    if both and (within or between):
        raise StartError(
            "--tensorflow_session_parallelism sets what --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism set; give either it or them"
        )
    path = values["tensorflow_session_config_file"]
    return {
        "intra_op_threads": within or both,
        "inter_op_threads": between or both,
        "session_config_text": config_files.read_text(path) if path else "",
        "gpu_memory_fraction": values["per_process_gpu_memory_fraction"],
        "saved_model_tags": tuple(filter(None, values["saved_model_tags"].split(","))) or ("serve",),
    }


def _limits(values):
    return Limits(
        max_predictions=values["max_predictions"],
        max_rows=values["max_request_rows"],
        max_bytes=values["max_inflight_megabytes"] * _MEGABYTE,
        max_pixels=values["max_inflight_megapixels"] * 1_000_000,
        rows_running=values["max_rows_running"],
    )


def _request_log(values, given):
    if not values["request_log_path"]:
        lost = sorted(name for name in given if name.startswith("request_log_"))
        if lost:
            raise StartError(f"--{lost[0]} is set without --request_log_path")
        return None
    return RequestLogSettings(
        path=Path(values["request_log_path"]),
        sampling_rate=values["request_log_sampling_rate"],
        photos=values["request_log_photos"],
        max_bytes=values["request_log_max_megabytes"] * _MEGABYTE,
    )


def _help():
    """The flags of the table, in the form of TensorFlow Serving's usage."""
    lines = ["usage: python -m serving server --model_base_path=FOLDER | --model_config_file=FILE [flags]", ""]
    for flag in FLAGS.values():
        default = str(flag.default).lower() if flag.kind is bool else flag.default
        lines.append(f"  --{flag.name}={default!s}" if default != "" else f"  --{flag.name}=")
        lines.append(f"      {flag.help}" + ("" if flag.effect == "honoured" else f" [{flag.effect}]"))
    return "\n".join(lines)


def _versions():
    return "\n".join(
        f"{text}: {_version(name)}"
        for text, name in (("TensorFlow ModelServer", "lts-serving"), ("TensorFlow Library", "tensorflow"))
    )


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
