"""A function of rows whose concurrent callers share batches, inside the graph and so in any server."""

import tensorflow as tf

__all__ = ["MOST_ROWS", "BatchQueue"]

MOST_ROWS = 1024
"""A request may bring this many rows; no more of them than the largest batch are in a queue at a time."""


class BatchQueue:
    """The rows of concurrent requests put into batches of the allowed sizes, one batch at a time.

    What `tf.nondifferentiable_batch_function` does, but traced once, and with one queue for all signatures.

    Args:
        function: from tensors with a leading axis of rows to a list of such tensors.
        specs: list of `tf.TensorSpec`, its arguments, with `None` rows.
        name: str, the queue's name in the graph.
        batch_sizes: ascending tuple of int, numbers of rows that the function is run on. Of a batch of another size
            the last requests wait for the next one; a single request of another size is filled up.
        timeout_micros: int. So long a batch that is not full waits for more rows.

    Call arguments are those of the function.

    Returns:
        List of tensors.
    """

    def __init__(self, function, specs, name, batch_sizes, timeout_micros):
        self.function = tf.function(function, autograph=False).get_concrete_function(*specs)
        self._name, self._batch_sizes, self._timeout_micros = name, list(batch_sizes), timeout_micros

    @property
    def variables(self):
        """The variables that the function reads, in the order in which it first does.

        `graph.variables` has them in an order that is another one in each process.
        """
        by_handle = {id(variable.handle): variable for variable in self.function.graph.variables}
        return [by_handle[id(handle)] for handle in self.function.captured_inputs if id(handle) in by_handle]

    def __call__(self, *rows):
        """The function of these rows, see the class."""
        outputs = tf.raw_ops.BatchFunction(
            in_tensors=rows,
            captured_tensors=self.function.captured_inputs,
            f=self.function,
            num_batch_threads=1,
            max_batch_size=MOST_ROWS,
            allowed_batch_sizes=self._batch_sizes,
            batch_timeout_micros=self._timeout_micros,
            # As many batches as the most rows of one request make, each of them alone in its batch: so it is never the
            # number of batches that refuses what the number of rows allows.
            max_enqueued_batches=MOST_ROWS,
            enable_large_batch_splitting=True,
            # Seven waiting photos run as four, two and one: filled up, they would cost eight.
            batch_padding_policy="BATCH_DOWN",
            shared_name=self._name,
            Tout=[output.dtype for output in self.function.outputs],
        )
        for output, inner in zip(outputs, self.function.outputs, strict=True):
            output.set_shape((None, *inner.shape[1:]))
        return outputs
