"""A gRPC server in a process of its own, whose memory is that of nobody else. Run as `python -m` with model folders."""

import functools
import sys

from tests.serving.transport.rest_process import rest_process

__all__ = ["grpc_process"]

grpc_process = functools.partial(rest_process, module=__name__)
"""As `rest_process`, over gRPC."""


def main(arguments):
    """Serves until standard input is closed."""
    from tests.serving.houses import open_house  # TensorFlow is only in the new process

    models = dict(argument.split("=", 1) for argument in arguments)
    with open_house(models) as house:
        print(house.target.rpartition(":")[2], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
