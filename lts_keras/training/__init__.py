"""Training: run state, optimizers, callbacks, devices."""
