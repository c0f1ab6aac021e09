"""A tf.data service: other processes, on this or other machines, make the batches that training reads.

    python -m lts_keras.data.input.service dispatcher --port 5050
    python -m lts_keras.data.input.service worker --dispatcher host:5050 [--port 0] [--address host2:6001]

One dispatcher, any number of workers, which all need the data folder under the same path (or on shared storage);
training gets `train.data_service=grpc://host:5050`. Every sample is made once an epoch, by whichever worker is free;
the order is free. Ctrl-C or SIGTERM stops either cleanly. There is no authentication: keep the ports inside a trusted
network.
"""

import argparse
import signal
import sys
import threading

__all__ = ["main", "start_dispatcher", "start_worker"]


def start_dispatcher(port=0, work_dir=None):
    """Starts a dispatcher in this process.

    Args:
        port: int; 0 takes a free one.
        work_dir: folder for its journal. With one, a dispatcher that was killed and started again goes on.

    Returns:
        `tf.data.experimental.service.DispatchServer`; its `target` is the address for workers and training.
    """
    tf = _tensorflow()
    config = tf.data.experimental.service.DispatcherConfig(
        port=port, fault_tolerant_mode=work_dir is not None, work_dir=work_dir
    )
    return tf.data.experimental.service.DispatchServer(config)


def start_worker(dispatcher, port=0, address=None):
    """Starts a worker in this process and registers it.

    Args:
        dispatcher: `host:port` of the dispatcher.
        port: int; 0 takes a free one.
        address: `host:port` under which training reaches this worker, where that is not `localhost`.

    Returns:
        `tf.data.experimental.service.WorkerServer`.
    """
    tf = _tensorflow()
    config = tf.data.experimental.service.WorkerConfig(
        dispatcher_address=dispatcher, worker_address=address, port=port, dispatcher_timeout_ms=60_000
    )
    return tf.data.experimental.service.WorkerServer(config)


def _tensorflow():
    """TensorFlow with TF Text's operators, which a dataset's graph names: both roles must have them loaded."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    return tf


def parse_arguments(argv=None):
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lts_keras.data.input.service",
        description="Run a part of a tf.data service that makes batches for training, until it is stopped.",
        epilog="Exit codes: 0 stopped, 1 failed, 2 wrong use.",
    )
    roles = parser.add_subparsers(dest="role", required=True, metavar="role")
    dispatcher = roles.add_parser("dispatcher", help="hand out the work; one for each training job or team")
    dispatcher.add_argument("--port", type=int, default=5050, help="0 takes a free one (default: %(default)s)")
    dispatcher.add_argument("--work_dir", help="folder of its journal, to go on after a restart")
    worker = roles.add_parser("worker", help="make batches; as many as are useful")
    worker.add_argument("--dispatcher", required=True, metavar="HOST:PORT", help="address of the dispatcher")
    worker.add_argument("--port", type=int, default=0, help="0 takes a free one (default: %(default)s)")
    worker.add_argument(
        "--address", metavar="HOST:PORT", help="under which training reaches this worker (default: localhost)"
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Runs a dispatcher or worker until SIGTERM or SIGINT; returns the exit code."""
    args = parse_arguments(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if args.role == "dispatcher":
            server = start_dispatcher(args.port, args.work_dir)
            print(f"dispatcher: {server.target}", flush=True)
        else:
            server = start_worker(args.dispatcher, args.port, args.address)
            print(f"worker of {args.dispatcher}", flush=True)
    except Exception as error:  # TensorFlow raises a class of its own for each status.
        print(f"error: the {args.role} did not start: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 1
    # Signals interrupt a wait with a limit only.
    while not stop.wait(0.5):
        pass
    server._stop()
    print(f"{args.role} stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
