"""Losses of segmentation and localization (equations 11-13)."""

import keras
from keras import ops

__all__ = ["BoxSupervision", "SummedBinaryCrossentropy", "lts_losses"]


@keras.saving.register_keras_serializable(package="lts_keras")
class SummedBinaryCrossentropy(keras.losses.Loss):
    """Sigmoid cross-entropy from logits, summed over the pixels, mean over the batch, in float32 (equations 11, 12).

    The minus sign that the paper leaves out is there. Like every loss of Keras it divides by the batch, also over
    replicas, so that gradients which Keras sums over replicas come out right.

    Args:
        pixel_reduction: `"sum"`, as in the paper, or `"mean"`. Defaults to `"sum"`.

    Call arguments:
        y_true: Float tensor of 0 and 1, `(batch, height, width, 1)` or `(batch, K, height, width, 1)`: the ground
            truth averaged over the area of each cell of the logits' grid, then 1 where that is at least 0.5.
        y_pred: Logits of the same shape.
        sample_weight: optional, `(batch,)` or `(batch, K)`; 0 leaves an expression out.

    Returns:
        Scalar.
    """

    def __init__(self, pixel_reduction="sum", name="summed_binary_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        if pixel_reduction not in ("sum", "mean"):
            raise ValueError(f"pixel_reduction must be 'sum' or 'mean'. Received: {pixel_reduction!r}")
        self.pixel_reduction = pixel_reduction

    def call(self, y_true, y_pred):
        # max(z, 0) - z y + log(1 + exp(-|z|)): finite for every logit.
        logits, target = ops.cast(y_pred, "float32"), ops.cast(y_true, "float32")
        losses = ops.relu(logits) - logits * target + ops.softplus(-ops.abs(logits))
        reduce = ops.sum if self.pixel_reduction == "sum" else ops.mean
        return reduce(losses, axis=(-3, -2, -1))

    def get_config(self):
        return super().get_config() | {"pixel_reduction": self.pixel_reduction}


@keras.saving.register_keras_serializable(package="lts_keras")
class BoxSupervision(keras.losses.Loss):
    """Teaches a mask by the object's box alone: BoxInst's projection and pairwise terms.

    With m the mask's probabilities and b the filled box, the projection term compares the largest values of each row
    and of each column, `D(max_x m, max_x b) + D(max_y m, max_y b)`, with the Dice loss
    `D(p, q) = 1 - 2 sum(p q) / (sum(p^2) + sum(q^2))`. The pairwise term says that neighbours i, j of the same colour,
    at least one of them in the box, belong together: the mean over them of `-log(m_i m_j + (1 - m_i)(1 - m_j))`. Both
    are means; times the number of cells they are of the size of equation 11, which sums.

    Args:
        projection: float, weight of the projection term. Defaults to `0.1`.
        pairwise: float, weight of the pairwise term. Defaults to `0.1`.

    Call arguments:
        y_true: Float tensor `(batch, height, width, 5)` or `(batch, K, height, width, 5)`: the filled box, then the
            channels of `color_edges`.
        y_pred: Logits of the mask, of the same shape with one channel.
        sample_weight: optional, `(batch,)` or `(batch, K)`; 0 for objects that have a mask.

    Returns:
        Scalar.

    Reference:
     - Tian et al., "BoxInst: High-Performance Instance Segmentation with Box Annotations", CVPR 2021, equations 2-6.
    """

    OFFSETS = ((0, 2), (2, 0), (2, 2), (2, -2))
    """Rows and columns to the neighbour of each channel of edges, see `lts_keras.data.input.color_edges`."""

    def __init__(self, projection=0.1, pairwise=0.1, name="box_supervision", **kwargs):
        super().__init__(name=name, **kwargs)
        self.projection = projection
        self.pairwise = pairwise

    def call(self, y_true, y_pred):
        logits, target = ops.cast(y_pred, "float32")[..., 0], ops.cast(y_true, "float32")
        box, edges = target[..., 0], target[..., 1:]
        mask = ops.sigmoid(logits)
        loss = 0.0
        if self.projection:
            axes = (-1, -2)
            loss += self.projection * sum(_dice(ops.max(mask, axis=axis), ops.max(box, axis=axis)) for axis in axes)
        if self.pairwise:
            loss += self.pairwise * self._pairwise(logits, box, edges)
        cells = ops.cast(ops.shape(logits)[-1] * ops.shape(logits)[-2], "float32")
        return loss * cells

    def _pairwise(self, logits, box, edges):
        inside, outside = -ops.softplus(-logits), -ops.softplus(logits)
        total = count = 0.0
        for channel, (rows, columns) in enumerate(self.OFFSETS):

            def neighbour(value, shift=(-rows, -columns)):
                return ops.roll(value, shift, axis=(-2, -1))

            # Edges are 0 where a roll leads around the border.
            counted = edges[..., channel] * ops.maximum(box, neighbour(box))
            both, neither = inside + neighbour(inside), outside + neighbour(outside)
            total += ops.sum(-ops.logaddexp(both, neither) * counted, axis=(-2, -1))
            count += ops.sum(counted, axis=(-2, -1))
        return total / ops.maximum(count, 1.0)

    def get_config(self):
        return super().get_config() | {"projection": self.projection, "pairwise": self.pairwise}


def _dice(one, other):
    common = ops.sum(one * other, axis=-1)
    return 1 - 2 * common / ops.maximum(ops.sum(one**2, axis=-1) + ops.sum(other**2, axis=-1), 1e-6)


def lts_losses(location_weight=0.1, pixel_reduction="sum", box_supervision=None):
    """Arguments of `compile` for equation 13, `L = L_seg + location_weight * L_loc`.

    Args:
        location_weight: float, lambda. `0.1`, or `0.025` with the mean over pixels, which is the same balance.
        pixel_reduction: `"sum"` or `"mean"`.
        box_supervision: `BoxSupervision`, added for the output `box_mask`, see `LTS.supervises_boxes`; not in the
            paper. `None`: none.

    Returns:
        dict with `loss` and `loss_weights`.
    """
    losses = {name: SummedBinaryCrossentropy(pixel_reduction, name=name) for name in ("mask", "prior")}
    weights = {"mask": 1.0, "prior": location_weight}
    if box_supervision is not None:
        losses["box_mask"], weights["box_mask"] = box_supervision, 1.0
    return {"loss": losses, "loss_weights": weights}
