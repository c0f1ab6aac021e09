"""The `Input` of Classify, Regress and MultiInference: examples, each as the bytes that a graph parses."""

import numpy as np

from serving.errors import invalid_argument

__all__ = ["read_examples"]


def read_examples(request_input):
    """Reads the examples of a request.

    Args:
        request_input: `Input`.

    Returns:
        Object array `(rows,)` of serialized `Example`s. One that comes with a context has the context's features too;
        where both have a feature, its own counts.

    Raises:
        RequestError: `INVALID_ARGUMENT` if there are none.
    """
    kind = request_input.WhichOneof("kind")
    rows = getattr(request_input, kind) if kind else None
    if rows is None or not rows.examples:
        raise invalid_argument("Input is empty.")
    # Messages written one behind the other are one message on the wire, and later entries of a map replace earlier.
    context = rows.context.SerializeToString() if kind == "example_list_with_context" else b""
    examples = np.empty(len(rows.examples), object)
    examples[:] = [context + example.SerializeToString() for example in rows.examples]
    return examples
