"""TensorBoard's log of a training: scalars, the learning rate, and what the model answers on the same few samples."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

__all__ = ["Pictures", "draw_sample"]

_PREDICTED, _TRUTH, _HOT = (1.0, 0.25, 0.25), (0.25, 0.86, 0.38), (1.0, 0.85, 0.1)
_GAP = 4


class Pictures(keras.callbacks.TensorBoard):
    """Writes scalars with the learning rate, as Keras does, and pictures behind every validation.

    A picture shows side by side the photo, the prior, the mask and the truth of one sample; the sentences stand beside
    them as text. Validated and drawn are the same weights, so this stands before `SwapEMAWeights` in the callbacks.

    Args:
        log_dir: path of the log; the pictures go to `pictures/` in it.
        element: `(x, y)` or `(x, y, sample_weight)`, one element of a training or validation data set, whose first
            samples are drawn; `None` for scalars alone.
        num_pictures: int. Defaults to `4`.
        photos: float array `(batch, side, side, 3)` to draw on where `x` has a backbone's maps and no `image`.
        validates: bool. Whether the training validates; otherwise every epoch is drawn.
        kwargs: further arguments of `keras.callbacks.TensorBoard`.
    """

    def __init__(self, log_dir, element=None, num_pictures=4, photos=None, validates=True, **kwargs):
        super().__init__(str(log_dir), **({"write_graph": False, "profile_batch": 0} | kwargs))
        self.num_pictures = num_pictures
        self.validates = validates
        self._samples = None if element is None else _choose(element, num_pictures, photos)
        self._pictures_dir = str(Path(log_dir) / "pictures")
        self._pictures_writer = None
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if not self.validates:
            self.draw(epoch)

    def on_test_end(self, logs=None):
        super().on_test_end(logs)
        if self.validates:
            self.draw(self._epoch)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        if self._pictures_writer is not None:
            self._pictures_writer.close()
            self._pictures_writer = None

    def draw(self, epoch):
        """Answers the samples with the model as it is and writes their pictures under this epoch."""
        if self._samples is None:
            return
        inputs, truths, photos = self._samples
        outputs = self.model(inputs, training=False)
        priors, masks = (tf.sigmoid(tf.cast(outputs[name], "float32")).numpy()[..., 0] for name in ("prior", "mask"))
        first = self._pictures_writer is None
        if first:
            self._pictures_writer = tf.summary.create_file_writer(self._pictures_dir)
        with self._pictures_writer.as_default(step=epoch):
            for number, (photo, truth, prior, mask) in enumerate(zip(photos, truths, priors, masks, strict=True)):
                picture = draw_sample(photo, prior, mask > getattr(self.model, "threshold", 0.5), truth)
                tf.summary.image(f"sample_{number}", picture[None], max_outputs=1)
                if first:
                    tf.summary.text(f"sample_{number}/expression", self._sentence(inputs["token_ids"][number]))
        self._pictures_writer.flush()

    def _sentence(self, token_ids):
        """The words, or the ids of a model without a vocabulary."""
        vocabulary = getattr(self.model, "vocabulary", None)
        ids = [int(one) for one in token_ids if one]
        words = ["[unknown]" if one == 1 else vocabulary[one - 2] for one in ids] if vocabulary else map(str, ids)
        return " ".join(words) or "[empty]"


def draw_sample(photo, prior, mask, truth):
    """Draws one sample.

    Args:
        photo: float array `(side, side, 3)`, 0 to 1.
        prior: float array `(side / 8, side / 8)` of probabilities; stretched to its own range, since where it is
            highest matters and not how high.
        mask: bool array `(side / 4, side / 4)`, the answer.
        truth: bool array `(side / 4, side / 4)`.

    Returns:
        uint8 array `(side, 4 * side + 12, 3)`: photo, prior, mask, truth, with white between them.
    """
    side = len(photo)
    low, high = float(prior.min()), float(prior.max())
    heat = (prior - low) / (high - low) if high > low else np.zeros_like(prior)
    grey = np.repeat(photo.mean(axis=-1, keepdims=True), 3, axis=-1)
    panels = [
        photo,
        _tint(grey, 0.8 * _enlarge(heat, side), _HOT),
        _tint(photo, 0.5 * _enlarge(mask, side), _PREDICTED),
        _tint(photo, 0.5 * _enlarge(truth, side), _TRUTH),
    ]
    gap = np.ones((side, _GAP, 3), np.float32)
    row = [part for panel in panels for part in (gap, panel)][1:]
    return (np.concatenate(row, axis=1).clip(0, 1) * 255).round().astype(np.uint8)


def _tint(picture, share, color):
    return picture + share[..., None] * (np.array(color, np.float32) - picture)


def _enlarge(cells, side):
    times = side // len(cells)
    return np.asarray(cells, np.float32).repeat(times, axis=0).repeat(times, axis=1)


def _choose(element, count, photos):
    """Takes the first samples of an element that has something to show, other photos before other sentences.

    Returns:
        `(inputs, truths, photos)`: a dict for the model with one sentence a row, bool masks, float photos; equally many
        rows each; `None` where no sample has something to show.
    """
    x, y, weight = (*keras.tree.map_structure(np.asarray, tuple(element)), None)[:3]
    token_ids, truth = x["token_ids"], y["mask"]
    real = np.ones(token_ids.shape[:-1], bool)
    if isinstance(weight, dict):
        real &= weight["mask"] > 0
    real &= np.asarray(x.get("expression_mask", real), bool)
    # Sentence by sentence, so that the first ones of all photos come first.
    places = [place[::-1] for place in np.argwhere(real.T)][:count]
    if not places:
        return None
    rows = tuple(np.array(places, int).reshape(-1, real.ndim).T)
    names = ("image",) if "image" in x else ("c3", "c4", "c5")
    inputs = {name: x[name][rows[0]] for name in names} | {"token_ids": token_ids[rows]}
    side = 4 * truth.shape[-2]
    shown = x.get("image") if photos is None else np.asarray(photos)
    shown = np.zeros((len(token_ids), side, side, 3)) if shown is None else shown
    return inputs, truth[rows][..., 0] > 0.5, shown[rows[0]].astype(np.float32)
