"""What a command's user can mend and no other part of the library names."""

__all__ = ["InspectError"]


class InspectError(ValueError):
    """Something that cannot be shown; the message is one line that names it."""

    exit_code = 2
