"""How sure a model is that what an expression names is in the photo at all."""

import dataclasses

import numpy as np

__all__ = ["LEAST", "Presence"]

LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1: beyond, float32's logits are noise."""


@dataclasses.dataclass(frozen=True)
class Presence:
    """Presence as a probability, from the highest values of mask and prior (Platt's scaling of two logits).

    `sigmoid(bias + mask_weight * logit(largest mask probability) + prior_weight * logit(largest prior probability))`.
    As it stands before any calibration, it is the largest mask probability.

    Attributes:
        bias, mask_weight, prior_weight: float.
        threshold: float. Below it the answer is that nothing is there: an empty mask. `None`, the paper's: never.

    Reference:
     - Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    bias: float = 0.0
    mask_weight: float = 1.0
    prior_weight: float = 0.0
    threshold: float | None = None

    def __call__(self, mask, prior):
        """Presence of largest probabilities; `lts_keras.prediction.answer` has it as graph operations.

        Args:
            mask, prior: float arrays of one shape, the largest probability of each.

        Returns:
            float32 array of that shape, 0..1.
        """
        logit = self.bias + self.mask_weight * _logit(mask) + self.prior_weight * _logit(prior)
        return (1 / (1 + np.exp(-logit))).astype(np.float32)


def _logit(probability):
    kept = np.clip(np.asarray(probability, np.float64), LEAST, 1 - LEAST)
    return np.log(kept) - np.log1p(-kept)
