"""From records to batches: tf.data pipelines for training and evaluation."""
