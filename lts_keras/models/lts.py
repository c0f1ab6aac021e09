"""LTS: locate, then segment (figure 2).

The paper's symbols and the names used here: I `image`, X `token_ids`, F_v1 F_v2 F_v3 `c5` `c4` `c3`, f_text
`sentence`, F_m3 `fused` = concat(`joint`, `visual`), H_mask `prior`, P_mask `mask`.
"""

import keras
from keras import ops

from lts_keras.adam import Adam
from lts_keras.data.input.placement import RESIZES
from lts_keras.layers.fusion import Fusion
from lts_keras.layers.locator import call_with, join_halves, locate
from lts_keras.layers.relevance_filter import RelevanceFilter
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.layers.sentence_encoder import SentenceEncoder
from lts_keras.losses import lts_losses
from lts_keras.metrics import lts_metrics
from lts_keras.models import preset
from lts_keras.models.backbones import make_backbone
from lts_keras.models.boxes import build_boxes, check_box, serialize_box
from lts_keras.models.freezing import restore_flags
from lts_keras.models.synchronization import synchronize_batch_norm
from lts_keras.models.three_maps import with_three_maps
from lts_keras.prediction.predictor import Predictor
from lts_keras.prediction.presence import Presence

__all__ = ["BOXES", "LTS"]

BOXES = ("backbone", "sentence_encoder", "fusion", "locator", "segmentation_head")
VOCABULARY_SIZE = 9000
"""Rows of the embedding of a model without a vocabulary."""


@keras.saving.register_keras_serializable(package="lts_keras")
class LTS(keras.Model):
    """Referring image segmentation: an image and token ids in, the logits of a mask and of a position prior out.

    The model is made of the five boxes of figure 2, each a layer that is built outside and injected; `None` stands
    for the paper's. `lts_keras.models.variants` makes every row of the paper's tables.

    It has two halves. `encode_image` computes everything that the image alone decides; `segment` adds a sentence.
    Several sentences on one image pay the first half once, in training as in serving. A subclass changes the halves and
    not `call`: evaluation and prediction ask these.

    Args:
        backbone: `keras.Model` or layer with maps at strides 8, 16, 32, from RGB in 0..1, see `make_backbone`. It
            trains as it was given. Defaults to Darknet-53 with the six further convolutions, all but the last two
            frozen.
        sentence_encoder: layer from token ids to `(sentence, words)`, or `sentence` alone. Defaults to
            `SentenceEncoder`.
        fusion: layer with `encode_image`, `fuse` and `fusion_dim`, the width of each half. Defaults to `Fusion`.
        locator: `Locator`, or any layer with `call(fused, sentence)`; `NoLocator` for none. Defaults to
            `RelevanceFilter`.
        segmentation_head: layer with `call(features, prior)`; `PriorUpsampler` makes the prior the mask. Defaults to
            `SegmentationHead`.
        vocabulary: sequence of str, the words of ids 2, 3, ...; 0 is padding, 1 the unknown word. Needed to predict
            from strings. Without it the default embedding has 9000 rows. Defaults to `None`.
        image_size: int, pixels, a multiple of 32. Side of the square that photos become. Defaults to `416`.
        image_resize: how they become it: `"letterbox"` (grey beside them) or `"plain"` (stretched, as the paper says
            literally). Defaults to `"letterbox"`.
        max_tokens: int. Where predictions cut a sentence. Defaults to `15`.
        threshold: float. Probability above which a pixel belongs to the mask. Defaults to `0.25`.
        synchronized_batch_norm: bool, whether batch statistics are taken over all replicas; `None`: where there is
            more than one.
        **kwargs: `name`, and `dtype`, which reaches the boxes that are made here; one that is given keeps its own.

    Call arguments:
        inputs: dict with `token_ids`, integers `(batch, tokens)`, or `(batch, K, tokens)` for K sentences on each
            image, and either `image`, float `(batch, height, width, 3)`, RGB in 0..1, sides multiples of 32, or the
            maps of a frozen backbone, `c3`, `c4`, `c5`, computed before. `expression_mask`, bool `(batch, K)`, is
            optional: rows that are `False` only fill, nothing is computed for them, and their logits are zeros. Other
            keys are passed over.

    Returns:
        dict of float32 logits: `mask` `(batch, height / 4, width / 4, 1)` and `prior`
        `(batch, height / 8, width / 8, 1)`, with a further axis K behind the batch for K sentences. Where there is no
        localization, `prior` is the mask averaged to its size.

    Raises:
        ValueError: for a box that cannot be used, naming the argument.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021.
    """

    supervises_boxes = False
    """Whether a call gives the mask once more as `box_mask`, for a loss on objects that have a box alone."""
    presence = Presence()
    """How sure the model is that something is there; an evaluation may calibrate it, see `Presence`."""

    def __init__(
        self,
        backbone=None,
        sentence_encoder=None,
        fusion=None,
        locator=None,
        segmentation_head=None,
        *,
        vocabulary=None,
        image_size=416,
        image_resize="letterbox",
        max_tokens=15,
        threshold=0.25,
        synchronized_batch_norm=None,
        **kwargs,
    ):
        kwargs.setdefault("name", "lts")
        super().__init__(**kwargs)
        if image_size % 32 or image_size <= 0:
            raise ValueError(f"image_size must be a multiple of 32. Received: {image_size}")
        if image_resize not in RESIZES:
            raise ValueError(f"image_resize must be one of {', '.join(RESIZES)}. Received: {image_resize!r}")
        boxes = (backbone, sentence_encoder, fusion, locator, segmentation_head)
        for name, box in zip(BOXES, boxes, strict=True):
            check_box(name, box)
        self.vocabulary = None if vocabulary is None else list(vocabulary)
        self.image_size = image_size
        self.image_resize = image_resize
        self.max_tokens = max_tokens
        self.threshold = threshold
        self.synchronized_batch_norm = synchronized_batch_norm

        policy = self.dtype_policy
        rows = VOCABULARY_SIZE if vocabulary is None else len(self.vocabulary) + 2
        self.backbone = make_backbone(dtype=policy) if backbone is None else with_three_maps(backbone, "backbone")
        self.sentence_encoder = sentence_encoder or SentenceEncoder(rows, dtype=policy, name="sentence_encoder")
        self.fusion = fusion or Fusion(dtype=policy, name="fusion")
        self.locator = locator or RelevanceFilter(dtype=policy, name="locator")
        self.segmentation_head = segmentation_head or SegmentationHead(dtype=policy, name="segmentation_head")
        if vocabulary is not None and self.vocabulary_size != rows:
            raise ValueError(
                f"sentence_encoder must have vocabulary_size={rows} for {rows - 2} words, padding and the unknown "
                f"word. Received: {self.vocabulary_size}"
            )
        self.build()

    @property
    def vocabulary_size(self):
        """Rows of the embedding, with 0 (padding) and 1 (unknown)."""
        rows = VOCABULARY_SIZE if self.vocabulary is None else len(self.vocabulary) + 2
        return getattr(self.sentence_encoder, "vocabulary_size", rows)

    def build(self, input_shape=None):
        """Makes all variables; done by the constructor, since no shape but the channels matters."""
        if not self.built:
            build_boxes(self)
            synchronize_batch_norm(self, self.synchronized_batch_norm)
            self.built = True
            restore_flags(self)

    def _lock_state(self):
        """As in Keras' functional models: built in the constructor, a subclass still adds layers behind it."""

    def build_from_config(self, config):
        """Makes the variables of what a subclass added, before they are written or read.

        The boxes have theirs since the constructor, so that Keras takes the whole for built.
        """
        if all(layer.built for layer in self._flatten_layers()):
            return
        image = keras.Input((self.image_size, self.image_size, 3))
        self({"image": image, "token_ids": keras.Input((self.max_tokens,), dtype="int32")})
        restore_flags(self)

    def encode_image(self, image, training=None):
        """Everything that the image alone decides.

        Args:
            image: Float tensor `(batch, height, width, 3)`, RGB in 0..1, sides multiples of 32.
            training: bool.

        Returns:
            dict of tensors with a leading batch axis, for `segment`.
        """
        return self.encode_maps(self.backbone(image, training=training), training=training)

    def encode_maps(self, maps, training=None):
        """As `encode_image`, from the backbone's maps `c3`, `c4`, `c5`."""
        features = self.fusion.encode_image(maps, training=training)
        if hasattr(self.segmentation_head, "encode_image"):
            features |= self.segmentation_head.encode_image(features["visual"], first_channel=self.fusion.fusion_dim)
        return features

    def encode_sentence(self, token_ids, training=None):
        """Returns `(sentence, words)` of token ids `(K, tokens)`; `words` is `None` where the encoder gives none."""
        outputs = call_with(self.sentence_encoder, token_ids, training=training)
        return outputs if isinstance(outputs, tuple | list) else (outputs, None)

    def segment(self, features, token_ids, image_index=None, training=None):
        """Locates and segments what each sentence refers to.

        Args:
            features: dict, from `encode_image`.
            token_ids: Integer tensor `(K, tokens)`, right-padded with 0.
            image_index: Integer tensor `(K,)`, the image that each sentence belongs to; not given, sentence k belongs
                to image k.
            training: bool.

        Returns:
            dict of float32 logits: `mask` `(K, height / 4, width / 4, 1)`, `prior` `(K, height / 8, width / 8, 1)`.
        """
        if image_index is not None:
            features = {name: ops.take(value, image_index, axis=0) for name, value in features.items()}
        sentence, words = self.encode_sentence(token_ids, training=training)
        joint = self.fusion.fuse(features, sentence, training=training)
        prior = locate(
            self.locator, joint, features["visual"], sentence, words=words, token_ids=token_ids, training=training
        )
        if hasattr(self.segmentation_head, "refine"):
            mask = self.segmentation_head.refine(features, joint, prior, training=training)
        else:
            fused = join_halves(joint, features["visual"])
            mask = call_with(self.segmentation_head, fused, prior, training=training)
        if prior is None:
            prior = ops.average_pool(mask, 2)
        return {"mask": ops.cast(mask, "float32"), "prior": ops.cast(prior, "float32")}

    def call(self, inputs, training=None):
        token_ids = inputs["token_ids"]
        if "image" in inputs:
            features = self.encode_image(inputs["image"], training=training)
        else:
            features = self.encode_maps({name: inputs[name] for name in ("c3", "c4", "c5")}, training=training)
        if len(token_ids.shape) == 2:
            return self._outputs(self.segment(features, token_ids, training=training))
        batch, count, tokens = ops.shape(token_ids)
        rows, index = ops.reshape(token_ids, (-1, tokens)), ops.repeat(ops.arange(batch), count)
        real = inputs.get("expression_mask")
        if real is not None:
            # Rows that only fill are left out and not masked: they would enter the statistics of batch norms.
            (real,) = ops.nonzero(ops.reshape(real, (-1,)))
            rows, index = ops.take(rows, real, axis=0), ops.take(index, real, axis=0)
        outputs = self.segment(features, rows, image_index=index, training=training)
        if real is not None:
            outputs = {name: _spread(value, real, batch * count) for name, value in outputs.items()}
        spread = {name: ops.reshape(value, (-1, count, *ops.shape(value)[1:])) for name, value in outputs.items()}
        return self._outputs(spread)

    def _outputs(self, outputs):
        return outputs | {"box_mask": outputs["mask"]} if self.supervises_boxes else outputs

    def compile(
        self, optimizer="auto", loss="auto", loss_weights=None, metrics=None, weighted_metrics="auto", **kwargs
    ):
        """As `keras.Model.compile`; what is `"auto"` is the paper's.

        Args:
            optimizer: `"auto"` is Adam at 1e-3.
            loss: `"auto"` is equations 11-13, `lts_losses`, with its weights unless `loss_weights` are given.
            loss_weights, metrics, **kwargs: as in Keras.
            weighted_metrics: `"auto"` is `lts_metrics` at the model's threshold.
        """
        self.build_from_config({})  # an optimizer, and a state to go on from, must meet all variables
        if loss == "auto":
            paper = lts_losses()
            loss, loss_weights = paper["loss"], loss_weights or paper["loss_weights"]
        super().compile(
            optimizer=Adam(1e-3) if optimizer == "auto" else optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=lts_metrics(self.threshold) if weighted_metrics == "auto" else weighted_metrics,
            **kwargs,
        )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Lets Keras make what a batch decides, the means of losses for example, from one replica's share of it.

        Keras itself takes a batch's mean over the replicas, which the ids of photos and of refs do not have. Without
        replicas it makes them while it traces a step, and must then trace the step a second time. What a batch looks
        like is enough to make them before.
        """
        if self._distribute_strategy is None:
            spec = getattr(getattr(iterator, "_distributed_dataset", None), "element_spec", None)
            shapes = [getattr(one, "shape", None) for one in keras.tree.flatten(spec)]
            known = all(shape is not None and shape.rank is not None for shape in shapes)
            if spec is not None and known and self.built and not self.run_eagerly:
                self._symbolic_build(data_batch=spec)
            return
        if iterator is not None:
            batches = next(iter(iterator))[-1]
            local = self._distribute_strategy.experimental_local_results
            data_batch = keras.tree.map_structure(lambda value: local(value)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def compile_from_config(self, config):
        """Compiles as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return super().get_config() | {
            **{name: serialize_box(getattr(self, name)) for name in BOXES},
            "vocabulary": self.vocabulary,
            "image_size": self.image_size,
            "image_resize": self.image_resize,
            "max_tokens": self.max_tokens,
            "threshold": self.threshold,
            "synchronized_batch_norm": self.synchronized_batch_norm,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in BOXES:
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        model = cls(**config)
        model.build_from_config({})
        return model

    def save_to_preset(self, folder):
        """Writes weights, configuration and vocabulary: all that predicting on a raw photo and string needs."""
        preset.save_to_preset(self, folder)

    @classmethod
    def from_preset(cls, folder):
        """Reads what `save_to_preset` wrote; raises `WeightsError` where a file is missing or cut short."""
        return preset.from_preset(cls, folder)

    def predictor(self):
        """Returns a `Predictor`: `predictor(photo, "the left dog")` gives the mask at the photo's own size."""
        return Predictor(self)


def _spread(value, rows, count):
    """Puts `(N, ...)` at N of `count` rows, zeros elsewhere."""
    return ops.scatter(rows[:, None], value, (count, *ops.shape(value)[1:]))
