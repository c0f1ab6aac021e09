"""LTS: locate, then segment (figure 2).

The paper's symbols and the names used here: I `image`, X `token_ids`, F_v1 F_v2 F_v3 `c5` `c4` `c3`, f_text
`sentence`, F_m3 `fused` = concat(`joint`, `visual`), H_mask `prior`, P_mask `mask`.
"""

import keras
from keras import ops

from lts_keras.layers.coordinates import NUM_COORDINATES, append_coordinates
from lts_keras.layers.fusion import Fusion
from lts_keras.layers.relevance_filter import RelevanceFilter, SharedFilter, WordFilter
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.layers.sentence_encoder import SentenceEncoder
from lts_keras.layers.transformer_locator import TransformerLocator
from lts_keras.models import preset
from lts_keras.models.backbones import backbone_channels, make_backbone
from lts_keras.prediction.predictor import Predictor

__all__ = ["LTS"]

LOCATORS = ("filter", "word_filter", "transformer", None)


@keras.saving.register_keras_serializable(package="lts_keras")
class LTS(keras.Model):
    """Referring image segmentation: an image and token ids in, the logits of a mask and of a position prior out.

    The model has two halves. `encode_image` computes everything that the image alone decides; `segment` adds a
    sentence. Several sentences on one image pay the first half once, in training as in serving.

    Args:
        vocabulary_size: int. Rows of the embedding, with 0 (padding) and 1 (unknown); ignored where `vocabulary` is
            given. Defaults to `9000`.
        vocabulary: sequence of str, the words of ids 2, 3, ... Needed to predict from strings. Defaults to `None`.
        backbone: `"darknet53"`, a name in `keras.applications`, or a `keras.Model` with maps at strides 8, 16, 32.
        extra_convs: bool. Whether Darknet's c5 passes the six YOLO head convolutions. Defaults to `True`.
        trainable_backbone: `"last_two"` (convolutions), `"none"` or `"all"`. Frozen batch norm infers.
        image_size: int, pixels, a multiple of 32. Side of the letterbox that predictions use. Defaults to `416`.
        max_tokens: int. Where predictions cut a sentence. Defaults to `15`.
        threshold: float. Probability above which a pixel belongs to the mask. Defaults to `0.25`.
        embedding_dim: int. Defaults to `300`.
        trainable_embedding: bool. Defaults to `True`.
        gru_units: int. Units per direction. Defaults to `512`.
        gru_merge: `"concat"` or `"sum"` of the two directions. Defaults to `"concat"`.
        joint_dim: int. Width of equation 5. Defaults to `1024`.
        fusion_dim: int. Width of each half of equation 7; d_k is twice that. Defaults to `512`.
        fusion: bool. `False` keeps the sentence out of equation 5 (table 2). Defaults to `True`.
        locator: `"filter"` (equation 8), `"word_filter"` (table 5), `"transformer"` (equation 9), `None` (table 2:
            no localization; the head gets no prior), or a layer with their `locate`.
        num_filters: int, 1 to 3. Filters in a row (table 5); with the transformer it is the first (table 7). Defaults
            to `1`.
        num_heads: int. Of the transformer. Defaults to `4`.
        feed_forward_dim: int. Of the transformer. Defaults to `1024`.
        dropout: float. Of the transformer. Defaults to `0.1`.
        segmentation: bool. `False` makes the upsampled prior the mask (table 2). Defaults to `True`.
        aspp_dim: int. Channels of each ASPP branch. Defaults to `256`.
        aspp_rates: sequence of int. Defaults to `(6, 12, 18)`.
        coordinates: bool. Joins eight channels of position to c3, c4 and c5; not in the paper. Defaults to `False`.

    Call arguments:
        inputs: dict with `token_ids`, integers `(batch, tokens)`, or `(batch, K, tokens)` for K sentences on each
            image, and either `image`, float `(batch, height, width, 3)`, RGB in 0..1, sides multiples of 32, or the
            maps of a frozen backbone, `c3`, `c4`, `c5`, computed before.

    Returns:
        dict of float32 logits: `mask` `(batch, height / 4, width / 4, 1)` and `prior`
        `(batch, height / 8, width / 8, 1)`, with a further axis K behind the batch for K sentences. Where there is no
        localization, `prior` is the mask averaged to its size.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021.
    """

    def __init__(
        self,
        vocabulary_size=9000,
        vocabulary=None,
        backbone="darknet53",
        extra_convs=True,
        trainable_backbone="last_two",
        image_size=416,
        max_tokens=15,
        threshold=0.25,
        embedding_dim=300,
        trainable_embedding=True,
        gru_units=512,
        gru_merge="concat",
        joint_dim=1024,
        fusion_dim=512,
        fusion=True,
        locator="filter",
        num_filters=1,
        num_heads=4,
        feed_forward_dim=1024,
        dropout=0.1,
        segmentation=True,
        aspp_dim=256,
        aspp_rates=(6, 12, 18),
        coordinates=False,
        **kwargs,
    ):
        kwargs.setdefault("name", "lts")
        super().__init__(**kwargs)
        if image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32. Received: {image_size}")
        if locator is None and not fusion:
            raise ValueError("without a locator, fusion must be True: no sentence would enter the model")
        self.vocabulary = None if vocabulary is None else list(vocabulary)
        self.vocabulary_size = vocabulary_size if vocabulary is None else len(self.vocabulary) + 2
        self.extra_convs = extra_convs
        self.trainable_backbone = trainable_backbone
        self.image_size = image_size
        self.max_tokens = max_tokens
        self.threshold = threshold
        self.embedding_dim = embedding_dim
        self.trainable_embedding = trainable_embedding
        self.gru_units = gru_units
        self.gru_merge = gru_merge
        self.joint_dim = joint_dim
        self.fusion_dim = fusion_dim
        self.use_fusion = fusion
        self.locator_argument = locator
        self.num_filters = num_filters
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout = dropout
        self.use_segmentation = segmentation
        self.aspp_dim = aspp_dim
        self.aspp_rates = tuple(aspp_rates)
        self.coordinates = coordinates

        policy = self.dtype_policy
        self.backbone_argument = backbone
        self.backbone = make_backbone(backbone, extra_convs=extra_convs, trainable=trainable_backbone)
        self.sentence_encoder = SentenceEncoder(
            self.vocabulary_size,
            embedding_dim,
            gru_units,
            gru_merge,
            trainable_embedding,
            dtype=policy,
            name="sentence_encoder",
        )
        self.fusion = Fusion(joint_dim, fusion_dim, use_sentence=fusion, dtype=policy, name="fusion")
        self.locator = self._make_locator(locator)
        if segmentation:
            self.segmentation_head = SegmentationHead(aspp_dim, aspp_rates, dtype=policy, name="segmentation_head")
        self.build()

    def _make_locator(self, locator):
        options = {"dtype": self.dtype_policy, "name": "locator"}
        if locator == "filter":
            return RelevanceFilter(self.num_filters, **options)
        if locator == "word_filter":
            return WordFilter(**options)
        if locator == "transformer":
            return TransformerLocator(self.num_heads, self.feed_forward_dim, self.dropout, self.num_filters, **options)
        if locator is None:
            # With segmentation nothing stands for the prior; without it the features need one score per position.
            return None if self.use_segmentation else SharedFilter(**options)
        if isinstance(locator, keras.layers.Layer):
            return locator
        raise ValueError(f"locator must be one of {LOCATORS} or a layer. Received: {locator!r}")

    def build(self, input_shape=None):
        """Makes all variables; done by the constructor, since no shape but the channels matters."""
        if self.built:
            return
        extra = NUM_COORDINATES if self.coordinates else 0
        channels = backbone_channels(self.backbone)
        maps_shape = {name: (None, None, None, count + extra) for name, count in channels.items()}
        self.sentence_encoder.build((None, self.max_tokens))
        sentence_shape = (None, self.sentence_encoder.width)
        self.fusion.build(maps_shape, sentence_shape)
        fused_shape = (None, None, None, 2 * self.fusion_dim)
        if self.locator is not None and not self.locator.built:
            self.locator.build(fused_shape, sentence_shape)
        if self.use_segmentation:
            self.segmentation_head.build(fused_shape, None if self.locator is None else (None, None, None, 1))
        self.built = True

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
        maps = {name: append_coordinates(value) if self.coordinates else value for name, value in maps.items()}
        features = self.fusion.encode_image(maps, training=training)
        if self.use_segmentation:
            features |= self.segmentation_head.encode_image(features["visual"], first_channel=self.fusion_dim)
        return features

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
        sentence, words = self.sentence_encoder(token_ids, training=training)
        joint = self.fusion.fuse(features, sentence, training=training)
        prior = None
        if self.locator is not None:
            prior = self.locator.locate(
                joint, features["visual"], sentence, words=words, token_ids=token_ids, training=training
            )
        if self.use_segmentation:
            mask = self.segmentation_head.refine(features, joint, prior, training=training)
        else:
            _, height, width, _ = ops.shape(prior)
            mask = ops.image.resize(prior, (2 * height, 2 * width), interpolation="bilinear")
        if prior is None:
            prior = ops.average_pool(mask, 2)
        return {"mask": mask, "prior": prior}

    def call(self, inputs, training=None):
        token_ids = inputs["token_ids"]
        if "image" in inputs:
            features = self.encode_image(inputs["image"], training=training)
        else:
            features = self.encode_maps({name: inputs[name] for name in ("c3", "c4", "c5")}, training=training)
        if len(token_ids.shape) == 2:
            return self.segment(features, token_ids, training=training)
        _, count, tokens = ops.shape(token_ids)
        batch = ops.shape(features["visual"])[0]
        index = ops.repeat(ops.arange(batch), count)
        outputs = self.segment(features, ops.reshape(token_ids, (-1, tokens)), image_index=index, training=training)
        return {name: ops.reshape(value, (-1, count, *ops.shape(value)[1:])) for name, value in outputs.items()}

    def get_config(self):
        backbone, locator = self.backbone_argument, self.locator_argument
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "vocabulary": self.vocabulary,
            "backbone": _serialize(backbone),
            "extra_convs": self.extra_convs,
            "trainable_backbone": self.trainable_backbone,
            "image_size": self.image_size,
            "max_tokens": self.max_tokens,
            "threshold": self.threshold,
            "embedding_dim": self.embedding_dim,
            "trainable_embedding": self.trainable_embedding,
            "gru_units": self.gru_units,
            "gru_merge": self.gru_merge,
            "joint_dim": self.joint_dim,
            "fusion_dim": self.fusion_dim,
            "fusion": self.use_fusion,
            "locator": _serialize(locator),
            "num_filters": self.num_filters,
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout": self.dropout,
            "segmentation": self.use_segmentation,
            "aspp_dim": self.aspp_dim,
            "aspp_rates": list(self.aspp_rates),
            "coordinates": self.coordinates,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("backbone", "locator"):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
        return cls(**config)

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


def _serialize(value):
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.layers.Layer) else value
