"""Options that every data set here runs with."""

import tensorflow as tf

__all__ = ["pipeline_options"]


def pipeline_options(deterministic, num_workers=None):
    """Returns `tf.data.Options`.

    Args:
        deterministic: bool. Keeps the order whatever the threads' timing.
        num_workers: int. Threads of the data set's own; those that all share by default.
    """
    options = tf.data.Options()
    options.deterministic = deterministic
    # An iterator with autotuning has a thread that sleeps for up to a minute and often misses the call to end (seen in
    # TensorFlow 2.21): destroying it, at the end of `fit`, took 24 to 41 s. Without, `AUTOTUNE` means as many threads
    # as there are processors, at most 16, which is what it settled on here.
    options.autotune.enabled = False
    # Sharing out is done by the data sets themselves; tf.distribute must not do it again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    if num_workers is not None:
        options.threading.private_threadpool_size = num_workers
    # Several photos at a time beat several threads on one photo.
    options.threading.max_intra_op_parallelism = 1
    return options
