"""What ends a training before its time."""

__all__ = ["NotFiniteError", "TrainingError"]


class TrainingError(RuntimeError):
    """Training that cannot go on; the message is one line."""

    exit_code = 1


class NotFiniteError(TrainingError):
    """A loss or a weight that is not finite.

    Attributes:
        epoch: int, counted from 0.
        step: int, counted from 0; `None` where the weights behind the epoch are meant.
    """

    def __init__(self, message, epoch, step=None):
        super().__init__(message)
        self.epoch = epoch
        self.step = step
