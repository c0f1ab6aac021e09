"""The five boxes: given from outside, saved, frozen, of another precision, left out where a row only fills."""

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from keras import ops

from lts_keras import LTS
from lts_keras.layers.batch_norm import BatchNormalization
from lts_keras.layers.fusion import Fusion
from lts_keras.layers.locator import Locator, NoLocator
from lts_keras.layers.prior_upsampler import PriorUpsampler
from lts_keras.layers.relevance_filter import RelevanceFilter
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.layers.sentence_encoder import SentenceEncoder
from lts_keras.models.backbones import make_backbone
from tests.conftest import run_python
from tests.lts_keras.models.literal import literal_forward
from tests.lts_keras.models.test_lts import batch, randomize, small, three_maps


def boxes(**replaced):
    """Arguments of a narrow LTS, box by box."""
    return {
        "backbone": three_maps(),
        "sentence_encoder": SentenceEncoder(7, 5, 4),
        "fusion": Fusion(8, 4),
        "locator": RelevanceFilter(),
        "segmentation_head": SegmentationHead(4),
        "image_size": 64,
        "max_tokens": 5,
    } | replaced


@keras.saving.register_keras_serializable(package="tests")
class CallAlone(Locator):
    """A locator of one's own: `call` and nothing else."""

    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, activation="tanh")
        self.score = keras.layers.Dense(1)

    def call(self, fused, sentence):
        return self.score(self.hidden(fused)) + ops.mean(sentence, axis=-1)[:, None, None, None]

    def get_config(self):
        return super().get_config() | {"width": self.width}


@keras.saving.register_keras_serializable(package="tests")
class PlainLocator(keras.layers.Layer):
    """The same without the base class, and with variables made in `build`."""

    def build(self, fused_shape, sentence_shape):
        self.kernel = self.add_weight((fused_shape[-1], sentence_shape[-1]), name="kernel")

    def call(self, fused, sentence, training=None):
        return ops.einsum("bhwc,cs,bs->bhw", fused, self.kernel, sentence)[..., None]


@keras.saving.register_keras_serializable(package="tests")
class PlainHead(keras.layers.Layer):
    """A segmentation head of one's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.up = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same")

    def call(self, features, prior):
        return self.up(ops.concatenate([features, ops.cast(prior, features.dtype)], axis=-1))


@keras.saving.register_keras_serializable(package="tests")
class MeanOfWords(keras.layers.Layer):
    """A text encoder of one's own that gives the sentence alone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(7, 6)

    def call(self, token_ids):
        return ops.mean(self.embedding(token_ids), axis=1)


@pytest.mark.parametrize("locator", [CallAlone, PlainLocator])
def test_a_locator_with_call_alone_works_and_is_saved(locator, tmp_path):
    rng = np.random.default_rng(0)
    model = LTS(**boxes(locator=locator()))
    randomize(model, rng)
    image, token_ids = batch(rng)
    outputs = model({"image": image, "token_ids": token_ids})
    sentence, _ = model.sentence_encoder(token_ids)
    fused = model.fusion(model.backbone(image), sentence)
    prior = model.locator(fused, sentence)
    np.testing.assert_allclose(outputs["prior"], prior, atol=1e-5)
    np.testing.assert_allclose(outputs["mask"], model.segmentation_head(fused, prior), atol=1e-4)
    model.save_to_preset(tmp_path / "preset")
    loaded = LTS.from_preset(tmp_path / "preset")
    assert type(loaded.locator) is locator
    np.testing.assert_array_equal(loaded({"image": image, "token_ids": token_ids})["mask"], outputs["mask"])


def test_a_head_and_a_text_encoder_of_ones_own(tmp_path):
    rng = np.random.default_rng(1)
    model = LTS(**boxes(segmentation_head=PlainHead(), sentence_encoder=MeanOfWords()))
    image, token_ids = batch(rng)
    outputs = model({"image": image, "token_ids": token_ids})
    assert outputs["mask"].shape == (3, 16, 16, 1)
    model.save(tmp_path / "lts.keras")
    loaded = keras.saving.load_model(tmp_path / "lts.keras")
    np.testing.assert_array_equal(loaded({"image": image, "token_ids": token_ids})["mask"], outputs["mask"])
    model.compile(keras.optimizers.SGD(1e-3))
    truth = {"mask": np.ones((3, 16, 16, 1)), "prior": np.ones((3, 8, 8, 1))}
    before = model.locator.projections[0].kernel.numpy()
    model.fit({"image": image, "token_ids": token_ids}, truth, verbose=0)
    assert (before != model.locator.projections[0].kernel.numpy()).any()


def test_a_backbone_written_as_a_class():
    class OwnBackbone(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.steps = [keras.layers.Conv2D(4 + index, 3, strides=2, padding="same") for index in range(5)]

        def call(self, image):
            maps = [image]
            for step in self.steps:
                maps.append(step(maps[-1]))
            return maps[3:]

    model = LTS(**boxes(backbone=OwnBackbone()))
    image, token_ids = batch(np.random.default_rng(2))
    assert model({"image": image, "token_ids": token_ids})["prior"].shape == (3, 8, 8, 1)
    assert len(model.backbone.trainable_variables) == 10


def test_boxes_are_attributes_of_the_arguments_names():
    given = boxes()
    model = LTS(**given)
    for name in ("backbone", "sentence_encoder", "fusion", "locator", "segmentation_head"):
        assert getattr(model, name) is given[name]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"backbone": "ResNet50"}, r"backbone must be a layer: .*make_backbone\('ResNet50'\)"),
        ({"locator": "filter"}, "locator must be a layer, or None for the paper's. Received: 'filter'"),
        ({"fusion": keras.layers.Dense(3)}, "fusion must have encode_image, fuse, fusion_dim"),
        (
            {"backbone": keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(2, 3)])},
            "three maps at strides",
        ),
        ({"vocabulary": ["a", "dog"]}, "sentence_encoder must have vocabulary_size=4 for 2 words.*Received: 7"),
        ({"locator": NoLocator(), "segmentation_head": PriorUpsampler()}, "PriorUpsampler needs a prior"),
        ({"locator": NoLocator(), "fusion": Fusion(8, 4, use_sentence=False)}, "none would enter the model"),
        ({"image_size": 0}, "multiple of 32. Received: 0"),
        ({"locator": keras.layers.Concatenate()}, "locator: Concatenate cannot be called: "),
        ({"sentence_encoder": keras.layers.Embedding(7, 3)}, r"sentence_encoder must give \(batch, width\)"),
    ],
)
def test_a_box_that_does_not_fit_is_one_line(replaced, message):
    with pytest.raises(ValueError, match=message) as error:
        LTS(**boxes(**replaced))
    assert "\n" not in str(error.value)


def test_a_prior_of_more_channels_is_refused():
    class TwoMaps(keras.layers.Layer):
        def call(self, fused, sentence):
            return fused[..., :2]

    with pytest.raises(ValueError, match=r"locator must give logits .*Received: \(None, None, None, 2\)"):
        LTS(**boxes(locator=TwoMaps()))


def trainable_paths(model):
    return [variable.path.partition("/")[2] for variable in model.trainable_variables]


def plain_three_maps():
    """As `three_maps`, of Keras' own layers, whose variables come back trainable."""
    image = keras.Input((None, None, 3))
    x, maps = image, []
    for index in range(5):
        x = keras.layers.Conv2D(2 + index, 3, strides=2, padding="same", name=f"conv_{index}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{index}")(x)
        maps.append(x)
    return keras.Model(image, maps[2:], name="plain")


@pytest.mark.parametrize("backbone", [three_maps, plain_three_maps])
@pytest.mark.parametrize("trainable", ["none", "last_two", "all"])
def test_what_trains_survives_keras_file_and_preset(backbone, trainable, tmp_path):
    model = LTS(**boxes(backbone=make_backbone(backbone(), trainable=trainable), locator=CallAlone(trainable=False)))
    count = {"none": 0, "last_two": 2, "all": 5}[trainable]
    per_convolution = 3 if backbone is three_maps else 4
    assert len(model.backbone.trainable_variables) == count * per_convolution
    assert model.locator.trainable_variables == []
    model.save(tmp_path / "lts.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "lts.keras"), LTS.from_preset(tmp_path / "preset")):
        assert trainable_paths(loaded) == trainable_paths(model)
        assert loaded.locator.trainable_variables == []


def test_precision_reaches_every_box_that_is_made_inside():
    model = small(dtype="mixed_bfloat16", backbone=plain_three_maps())
    policies = {layer.dtype_policy.name for layer in model._flatten_layers() if layer.weights}
    # Kernels of equation 8 are computed and kept in float32.
    assert policies == {"mixed_bfloat16", "float32"}
    assert all(layer.compute_dtype == "bfloat16" for layer in model.backbone.layers if layer.weights)
    assert {projection.dtype_policy.name for projection in model.locator.projections} == {"float32"}
    image, token_ids = batch(np.random.default_rng(3))
    outputs = model({"image": image, "token_ids": token_ids})
    assert outputs["mask"].dtype == outputs["prior"].dtype == "float32"


def test_a_box_from_outside_keeps_its_precision():
    model = LTS(**boxes(dtype="mixed_bfloat16"))
    assert model.fusion.compute_dtype == "float32" and model.backbone.layers[-1].compute_dtype == "float32"
    assert model.compute_dtype == "bfloat16"


@pytest.mark.parametrize("source", ["darknet_tiny", "MobileNet", "file"])
def test_precision_of_a_backbone_by_name_or_file(source, tmp_path):
    if source == "file":
        plain_three_maps().save(tmp_path / "backbone.keras")
        source = tmp_path / "backbone.keras"
    image = np.random.default_rng(4).random((1, 64, 64, 3), "float32")
    keras.utils.set_random_seed(0)
    exact = make_backbone(source)
    half = make_backbone(source, dtype="mixed_bfloat16")
    assert all(value.dtype == "bfloat16" for value in half(image).values())
    assert len(half.trainable_variables) == len(exact.trainable_variables)
    half.set_weights(exact.get_weights())
    for name, value in exact(image).items():
        scale = np.abs(value).max() + 1e-3
        np.testing.assert_allclose(ops.cast(half(image)[name], "float32") / scale, value / scale, atol=0.1)


def test_a_backbone_that_has_the_precision_already_is_not_copied():
    backbone = make_backbone(plain_three_maps())
    assert make_backbone(backbone, dtype="float32") is backbone
    assert make_backbone(backbone, dtype="mixed_bfloat16") is not backbone


def test_compile_without_arguments_is_the_papers():
    model = small()
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    image, token_ids = batch(np.random.default_rng(5))
    truth = {"mask": np.zeros((3, 16, 16, 1)), "prior": np.zeros((3, 8, 8, 1))}
    logs = model.evaluate({"image": image, "token_ids": token_ids}, truth, return_dict=True, verbose=0)
    outputs = model({"image": image, "token_ids": token_ids})
    mask, prior = (np.log1p(np.exp(outputs[name])).sum(axis=(1, 2, 3)).mean() for name in ("mask", "prior"))
    assert logs["loss"] == pytest.approx(mask + 0.1 * prior, rel=1e-4)
    assert {"mask_mean_iou", "mask_overall_iou", "mask_precision_at_50", "prior_localization_accuracy"} <= logs.keys()


def test_compile_takes_what_is_given_and_a_compiled_model_is_saved(tmp_path):
    model = small()
    model.compile(optimizer="sgd", loss={"mask": "mse", "prior": "mse"}, weighted_metrics=None)
    model.save(tmp_path / "lts.keras")
    loaded = keras.saving.load_model(tmp_path / "lts.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.SGD) and loaded.loss == {"mask": "mse", "prior": "mse"}


def grouped(rng, real):
    """Three sentences on each of two images."""
    image = rng.random((2, 64, 64, 3), "float32")
    token_ids = rng.integers(1, 7, (2, 3, 5)).astype("int32")
    return {"image": image, "token_ids": token_ids, "expression_mask": np.array(real)}


@hypothesis.settings(max_examples=8)
@hypothesis.given(st.lists(st.booleans(), min_size=6, max_size=6).filter(any), st.booleans())
def test_rows_that_only_fill_are_left_out(real, training):
    model = LEFT_OUT
    real = np.reshape(real, (2, 3))
    inputs = grouped(np.random.default_rng(6), real) | {"ref_id": np.array([["a"] * 3] * 2)}
    before = [variable.numpy() for variable in model.variables]
    outputs = model(inputs, training=training)
    moved = [variable.numpy() for variable in model.variables]
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    features = model.encode_image(inputs["image"], training=training)
    image_index, place = np.nonzero(real)
    expected = model.segment(
        features, inputs["token_ids"][real], image_index=image_index.astype("int32"), training=training
    )
    for name in ("mask", "prior"):
        np.testing.assert_allclose(ops.convert_to_numpy(outputs[name])[real], expected[name], atol=1e-5)
        assert not np.any(ops.convert_to_numpy(outputs[name])[~real])
    for variable, value in zip(model.variables, moved, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-6)
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)


LEFT_OUT = small(trainable_backbone="all")


def test_rows_that_only_fill_change_no_gradient_and_the_call_is_traced_once():
    model = small(locator="transformer", dropout=0.0)
    rng = np.random.default_rng(7)
    model.compile(keras.optimizers.SGD(0.1))
    count = 0

    @tf.function(reduce_retracing=True)
    def gradients(inputs, truth, weights):
        nonlocal count
        count += 1
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = model.compute_loss(inputs, truth, outputs, weights)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    inputs = grouped(rng, [[True, True, False], [True, False, False]])
    truth = {"mask": rng.integers(0, 2, (2, 3, 16, 16, 1)), "prior": rng.integers(0, 2, (2, 3, 8, 8, 1))}
    weights = {name: inputs["expression_mask"].astype("float32") for name in ("mask", "prior")}
    before = [variable.numpy() for variable in model.non_trainable_variables]
    first = gradients(inputs, truth, weights)
    traced = count
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        variable.assign(value)
    # What stands in the rows that fill does not matter, nor what is asked of them.
    fills = ~inputs["expression_mask"]
    inputs["token_ids"][fills] = 3
    truth["mask"][fills] = 1
    second = gradients(inputs, truth, weights)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=1e-6)
    assert count == traced


@pytest.mark.parametrize("synchronized", [None, True, False])
def test_synchronization_reaches_every_batch_norm(synchronized):
    model = small(backbone=plain_three_maps(), synchronized_batch_norm=synchronized)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    own = [norm for norm in norms if isinstance(norm, BatchNormalization)]
    assert len(norms) > len(own) > 8
    foreign = [norm for norm in norms if norm not in own]
    assert {norm.synchronized for norm in foreign} == {bool(synchronized)}
    if synchronized is not None:
        assert {norm.synchronized for norm in own} == {synchronized}
    assert LTS.from_config(model.get_config()).synchronized_batch_norm is synchronized


def test_fast_form_equals_the_equations_with_every_box_made_outside():
    rng = np.random.default_rng(8)
    model = LTS(**boxes(fusion=Fusion(8, 4, coordinates=True), segmentation_head=SegmentationHead(4, rates=(1, 2))))
    randomize(model, rng)
    image, token_ids = batch(rng)
    outputs = model({"image": image, "token_ids": token_ids})
    reference = literal_forward(model, model.backbone(image), token_ids)
    for name in ("mask", "prior"):
        np.testing.assert_allclose(outputs[name], reference[name], rtol=1e-4, atol=1e-5)


TWO_REPLICAS = """
import keras
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests.lts_keras.models.test_boxes import plain_three_maps, small
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    for given in (None, False):
        model = small(backbone=plain_three_maps(), synchronized_batch_norm=given)
        norms = [layer for layer in model.backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
        print(given, {norm.synchronized for norm in norms}, model.fusion.c3_projection.norm.synchronized)
"""


def test_a_foreign_batch_norm_is_synchronized_under_more_than_one_replica():
    done = run_python("-c", TWO_REPLICAS)
    assert done.stdout.splitlines()[-2:] == ["None {True} None", "False {False} False"], done.stderr[-2000:]
