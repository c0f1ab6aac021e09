import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from lts_keras import LTS
from lts_keras.layers.conv_block import ConvBlock
from lts_keras.layers.relevance_filter import SharedFilter
from lts_keras.losses import lts_losses
from lts_keras.metrics import lts_metrics
from lts_keras.models.variants import make_lts
from lts_keras.weights import WeightsError
from tests.lts_keras.models.literal import literal_forward

VARIANTS = {
    "filter": {},
    "two_filters": {"num_filters": 2},
    "three_filters": {"num_filters": 3},
    "word_filter": {"locator": "word_filter"},
    "transformer": {"locator": "transformer", "dropout": 0.0},
    "filtered_transformer": {"locator": "transformer", "num_filters": 3, "dropout": 0.0},
    "no_fusion": {"fusion": False},
    "no_filter": {"locator": None},
    "no_segmentation": {"segmentation": False},
    "fusion_alone": {"locator": None, "segmentation": False},
    "odd_rates": {"aspp_rates": (1, 3, 6)},
    "coordinates": {"coordinates": True},
    "summed_gru": {"gru_merge": "sum"},
}


def three_maps():
    """A backbone with the paper's strides and few layers; Darknet's many make a test slow and no sharper."""
    image = keras.Input((None, None, 3))
    x, maps = image, {}
    for index, filters in enumerate((4, 4, 6, 8, 10)):
        x = ConvBlock(filters, 3, strides=2)(x)
        maps[f"c{index + 1}"] = x
    return keras.Model(image, {name: maps[name] for name in ("c3", "c4", "c5")}, name="three_maps")


def small(**arguments):
    """An LTS of all the paper's parts, narrow enough for tests."""
    defaults = {
        "vocabulary": ["the", "left", "dog", "red", "cup"],
        "backbone": three_maps(),
        "trainable_backbone": "none",
        "image_size": 64,
        "max_tokens": 5,
        "embedding_dim": 7,
        "gru_units": 6,
        "joint_dim": 16,
        "fusion_dim": 8,
        "num_heads": 2,
        "feed_forward_dim": 12,
        "aspp_dim": 4,
    }
    return make_lts(**(defaults | arguments))


def batch(rng, count=3, size=64):
    token_ids = rng.integers(1, 7, (count, 5)).astype("int32")
    token_ids[1, 2:] = 0
    token_ids[-1] = 0  # an empty sentence
    return rng.random((count, size, size, 3), "float32"), token_ids


def randomize(model, rng):
    """Statistics and offsets of batch norm away from 0 and 1, where mistakes hide."""
    for variable in model.variables:
        if "moving" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif "beta" in variable.path or "bias" in variable.path:
            variable.assign(rng.normal(0, 0.3, variable.shape))


@pytest.mark.parametrize("variant", VARIANTS)
def test_fast_form_equals_the_equations(variant):
    rng = np.random.default_rng(0)
    model = small(**VARIANTS[variant])
    randomize(model, rng)
    image, token_ids = batch(rng)
    outputs = model({"image": image, "token_ids": token_ids})
    reference = literal_forward(model, model.backbone(image), token_ids)
    for name in ("mask", "prior"):
        if reference[name] is not None:
            np.testing.assert_allclose(outputs[name], reference[name], rtol=1e-4, atol=1e-5)
    assert outputs["mask"].shape == (3, 16, 16, 1)
    assert outputs["prior"].shape == (3, 8, 8, 1)
    assert np.isfinite(outputs["mask"]).all()


@pytest.mark.parametrize("variant", ["filter", "two_filters", "word_filter", "transformer", "odd_rates"])
def test_fast_form_has_the_gradients_of_the_equations(variant):
    rng = np.random.default_rng(1)
    model = small(**VARIANTS[variant])
    randomize(model, rng)
    image, token_ids = batch(rng)
    maps = model.backbone(image)
    truth = {"mask": rng.integers(0, 2, (3, 16, 16, 1)), "prior": rng.integers(0, 2, (3, 8, 8, 1))}
    losses = lts_losses()["loss"]
    statistics = [ops.convert_to_numpy(variable) for variable in model.variables]

    def gradients(forward):
        for variable, value in zip(model.variables, statistics, strict=True):
            variable.assign(value)
        with tf.GradientTape() as tape:
            outputs = forward()
            loss = losses["mask"](truth["mask"], outputs["mask"]) + 0.1 * losses["prior"](
                truth["prior"], outputs["prior"]
            )
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        moved = [ops.convert_to_numpy(variable) for variable in model.non_trainable_variables]
        return float(loss), [tf.convert_to_tensor(gradient).numpy() for gradient in found], moved

    loss, fast, fast_moved = gradients(lambda: model({**maps, "token_ids": token_ids}, training=True))
    reference_loss, literal, literal_moved = gradients(lambda: literal_forward(model, maps, token_ids, training=True))
    assert loss == pytest.approx(reference_loss, rel=1e-5)
    scale = max(np.abs(gradient).max() for gradient in literal)
    for variable, one, other in zip(model.trainable_variables, fast, literal, strict=True):
        # A gradient that is nought but for rounding (a key bias, say) has no relative error of its own.
        bound = 1e-3 * max(np.abs(other).max(), 1e-4 * scale)
        assert np.abs(one - other).max() <= bound, variable.path
    for one, other in zip(fast_moved, literal_moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_paper_setting_has_the_paper_shapes_and_equals_the_equations():
    rng = np.random.default_rng(2)
    model = LTS()
    image = rng.random((1, 416, 416, 3), "float32")
    token_ids = rng.integers(1, 9000, (1, 15)).astype("int32")
    outputs = model({"image": image, "token_ids": token_ids})
    reference = literal_forward(model, model.backbone(image), token_ids)
    assert reference["fused"].shape == (1, 52, 52, 1024)
    assert outputs["prior"].shape == (1, 52, 52, 1)
    assert outputs["mask"].shape == (1, 104, 104, 1)
    for name in ("mask", "prior"):
        assert np.abs(outputs[name] - reference[name]).max() < 1e-3
    learned = sum(np.prod(variable.shape) for variable in model.variables if "moving" not in variable.path)
    assert learned / 1e6 == pytest.approx(75.1, abs=0.05)


def test_many_expressions_on_one_image_equal_single_calls():
    rng = np.random.default_rng(3)
    model = small()
    randomize(model, rng)
    image, _ = batch(rng, 2)
    token_ids = rng.integers(0, 7, (8, 5)).astype("int32")
    index = np.array([0, 1, 1, 0, 0, 1, 0, 1])
    together = model.segment(model.encode_image(image), token_ids, image_index=index)
    for row in range(8):
        single = model({"image": image[index[row] : index[row] + 1], "token_ids": token_ids[row : row + 1]})
        for name in ("mask", "prior"):
            np.testing.assert_allclose(together[name][row], single[name][0], atol=1e-5)


def test_expressions_grouped_by_image_keep_their_place():
    rng = np.random.default_rng(4)
    model = small()
    image, _ = batch(rng, 2)
    token_ids = rng.integers(0, 7, (2, 3, 5)).astype("int32")
    grouped = model({"image": image, "token_ids": token_ids})
    assert grouped["mask"].shape == (2, 3, 16, 16, 1)
    single = model({"image": image[1:], "token_ids": token_ids[1:, 2]})
    np.testing.assert_allclose(grouped["mask"][1, 2], single["mask"][0], atol=1e-5)


def test_examples_do_not_touch_each_other():
    rng = np.random.default_rng(5)
    model = small(locator="transformer")
    image, token_ids = batch(rng)
    before = model({"image": image, "token_ids": token_ids})
    image[1], token_ids[1] = 0, 3
    after = model({"image": image, "token_ids": token_ids})
    np.testing.assert_allclose(before["mask"][0], after["mask"][0], atol=1e-6)
    assert np.abs(before["mask"][1] - after["mask"][1]).max() > 1e-4


def test_any_image_size_in_steps_of_32():
    model = small()
    token_ids = np.ones((1, 3), "int32")
    for height, width in ((32, 96), (96, 64)):
        outputs = model({"image": np.zeros((1, height, width, 3), "float32"), "token_ids": token_ids})
        assert outputs["mask"].shape == (1, height // 4, width // 4, 1)


@pytest.mark.parametrize("variant", ["filter", "word_filter", "transformer", "no_filter", "fusion_alone"])
def test_keras_file_and_preset_give_equal_outputs(variant, tmp_path):
    rng = np.random.default_rng(6)
    model = small(**VARIANTS[variant])
    randomize(model, rng)
    image, token_ids = batch(rng)
    expected = model({"image": image, "token_ids": token_ids})
    model.save(tmp_path / "lts.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "lts.keras"), LTS.from_preset(tmp_path / "preset")):
        outputs = loaded({"image": image, "token_ids": token_ids})
        np.testing.assert_array_equal(outputs["mask"], expected["mask"])
        np.testing.assert_array_equal(outputs["prior"], expected["prior"])
        assert loaded.vocabulary == model.vocabulary


def test_preset_cut_short_is_refused_by_name(tmp_path):
    small().save_to_preset(tmp_path / "preset")
    weights = tmp_path / "preset" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="model.weights.h5"):
        LTS.from_preset(tmp_path / "preset")
    with pytest.raises(WeightsError, match="no such file"):
        LTS.from_preset(tmp_path / "nowhere")


def test_a_model_fits_and_forgets_nothing_frozen():
    rng = np.random.default_rng(7)
    model = small()
    image, token_ids = batch(rng)
    frozen = [ops.convert_to_numpy(variable) for variable in model.backbone.variables]
    truth = {"mask": np.zeros((3, 16, 16, 1)), "prior": np.zeros((3, 8, 8, 1))}
    model.compile(optimizer=keras.optimizers.Adam(1e-2), weighted_metrics=lts_metrics(), **lts_losses())
    history = model.fit({"image": image, "token_ids": token_ids}, truth, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    for before, variable in zip(frozen, model.backbone.variables, strict=True):
        np.testing.assert_array_equal(before, variable)


def test_a_first_step_is_traced_once(monkeypatch):
    """Tracing is most of a start: Keras would do it twice, as the means of the losses come into being in the first."""
    model, steps = small(), []
    step = model.train_step
    monkeypatch.setattr(model, "train_step", lambda data: steps.append(1) or step(data))
    image, token_ids = batch(np.random.default_rng(7))
    truth = {"mask": np.zeros((3, 16, 16, 1)), "prior": np.zeros((3, 8, 8, 1))}
    model.compile(optimizer=keras.optimizers.SGD(1e-4), weighted_metrics=lts_metrics(), **lts_losses())
    model.fit({"image": image, "token_ids": token_ids}, truth, epochs=2, verbose=0)
    assert len(steps) == 1


def test_a_locator_of_ones_own_can_be_injected(tmp_path):
    model = small(locator=SharedFilter(name="locator"))
    image, token_ids = batch(np.random.default_rng(8))
    expected = model({"image": image, "token_ids": token_ids})["prior"]
    np.testing.assert_allclose(expected[0].shape, (8, 8, 1))
    model.save(tmp_path / "lts.keras")
    loaded = keras.saving.load_model(tmp_path / "lts.keras")
    np.testing.assert_array_equal(loaded({"image": image, "token_ids": token_ids})["prior"], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 100}, "multiple of 32. Received: 100"),
        ({"locator": "magic"}, "Received: 'magic'"),
        ({"locator": None, "fusion": False}, "none would enter"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)
