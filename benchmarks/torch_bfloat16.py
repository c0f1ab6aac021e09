"""Runs the PyTorch program's race.py with its model under PyTorch's own bfloat16 autocast; in PyTorch's environment.

Called in the folder of race.py, with race.py's arguments.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import race  # noqa: E402 - found in the folder that this is called in
import torch  # noqa: E402

plain_model = race.build_model


def build_model(args):
    """The model whose every call is one autocast, so that its weights are cast anew, as in training."""
    model = plain_model(args)
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)
    return model


if __name__ == "__main__":
    race.build_model = build_model
    race.main()
