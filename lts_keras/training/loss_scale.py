"""Loss scaling on several devices: whether a step's gradients are finite is decided by all of them together."""

import keras
import tensorflow as tf

__all__ = ["decide_together"]


def decide_together(optimizer):
    """Makes a `LossScaleOptimizer` leave out a step on all replicas when one replica's gradients overflow.

    Keras lets the first replica of each process decide, by its own gradients. Where another one's overflow, their sum
    becomes the weights on one machine; on several machines one goes on to sum gradients and the others do not, so that
    all of them wait for ever.

    Args:
        optimizer: Keras optimizer, changed in place; one that scales no loss stays as it is.

    Returns:
        The optimizer.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        own = type(optimizer).check_finite

        def check_finite(grads):
            finite = own(optimizer, grads)
            context = tf.distribute.get_replica_context()
            if context is None or context.num_replicas_in_sync == 1:
                return finite
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(finite, "float32")) > (
                context.num_replicas_in_sync - 0.5
            )

        optimizer.check_finite = check_finite
    return optimizer
