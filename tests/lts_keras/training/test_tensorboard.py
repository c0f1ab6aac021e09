import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lts_keras.losses import lts_losses
from lts_keras.training.tensorboard import Pictures, draw_sample
from tests.small_models import WORDS, small_model


def batch(count=3, sentences=None, seed=0):
    """`(x, y, sample_weight)` as training and validation data sets give, as tensors."""
    random = np.random.default_rng(seed)
    rows = (count,) if sentences is None else (count, sentences)
    truth = {"mask": random.integers(0, 2, (*rows, 16, 16, 1)), "prior": random.integers(0, 2, (*rows, 8, 8, 1))}
    x = {
        "image": random.uniform(size=(count, 64, 64, 3)).astype("float32"),
        "token_ids": random.integers(2, len(WORDS) + 2, (*rows, 6)).astype("int32"),
    }
    y = {name: value.astype("float32") for name, value in truth.items()}
    return keras.tree.map_structure(tf.constant, (x, y, {"mask": np.ones(rows), "prior": np.ones(rows)}))


@pytest.fixture(scope="module")
def model():
    model = small_model()
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2], [1e-4, 1e-5])
    model.compile(keras.optimizers.SGD(rate), **lts_losses())
    return model


def logged(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    return events.Reload()


def pictures(folder):
    """`{tag: {step: uint8 picture}}`."""
    events = logged(folder / "pictures")
    tags = [tag for tag in events.Tags()["tensors"] if "expression" not in tag]
    steps = {tag: {event.step: event.tensor_proto.string_val[2] for event in events.Tensors(tag)} for tag in tags}
    return {tag: {step: tf.io.decode_png(png).numpy() for step, png in one.items()} for tag, one in steps.items()}


def test_a_sample_is_drawn_as_photo_prior_mask_and_truth():
    photo = np.full((16, 16, 3), 0.5, np.float32)
    mask, truth = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    mask[0, 0] = truth[3, 3] = True
    drawn = draw_sample(photo, np.array([[0.2, 0.2], [0.2, 0.4]], np.float32), mask, truth)
    assert drawn.shape == (16, 4 * 16 + 3 * 4, 3) and drawn.dtype == np.uint8
    panels = [drawn[:, start : start + 16] for start in (0, 20, 40, 60)]
    assert (drawn[:, 16:20] == 255).all() and (panels[0] == 128).all()
    # 0.5 of grey and 0.5 of the colour; the prior is stretched, so its maximum has 0.8 of the colour.
    grey = [128, 128, 128]
    assert panels[1][0, 0].tolist() == grey and panels[1][8, 8].tolist() == [230, 199, 46]
    assert panels[2][3, 3].tolist() == [191, 96, 96] and panels[2][4, 3].tolist() == grey
    assert panels[3][12, 12].tolist() == [96, 173, 112] and panels[3][3, 3].tolist() == grey


def test_every_validation_has_pictures_of_the_same_samples_beside_the_scalars(model, tmp_path):
    data = batch()
    dataset = tf.data.Dataset.from_tensors(data)
    callback = Pictures(tmp_path, data, num_pictures=2)
    validation = {"validation_data": dataset, "validation_freq": 2}
    model.fit(dataset, epochs=5, initial_epoch=1, verbose=0, shuffle=False, callbacks=[callback], **validation)
    drawn = pictures(tmp_path)
    assert {tag: sorted(steps) for tag, steps in drawn.items()} == {"sample_0": [1, 3], "sample_1": [1, 3]}
    x, y, _ = data
    outputs = model(x, training=False)
    # Behind the last validation came another epoch, so only what the data alone decides is compared to the pixel.
    for number in range(2):
        prior, mask = (tf.sigmoid(outputs[name][number, ..., 0]).numpy() for name in ("prior", "mask"))
        expected = draw_sample(x["image"][number].numpy(), prior, mask > 0.5, y["mask"][number, ..., 0].numpy() > 0)
        picture = drawn[f"sample_{number}"][3]
        np.testing.assert_array_equal(picture[:, :64], expected[:, :64])
        np.testing.assert_array_equal(picture[:, 204:], expected[:, 204:])
    text = logged(tmp_path / "pictures").Tensors("sample_1/expression")[0].tensor_proto.string_val[0].decode()
    assert text == " ".join(WORDS[one - 2] for one in x["token_ids"][1].numpy())
    scalars = logged(tmp_path / "train")
    rates = [float(tf.make_ndarray(event.tensor_proto)) for event in scalars.Tensors("epoch_learning_rate")]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5])
    assert len(logged(tmp_path / "validation").Tensors("epoch_loss")) == 2


def test_the_answer_drawn_is_the_models(model, tmp_path):
    data = batch(seed=1)
    callback = Pictures(tmp_path, data, num_pictures=1)
    callback.set_model(model)
    callback.draw(7)
    callback._pictures_writer.close()
    outputs = model(data[0], training=False)
    prior, mask = (tf.sigmoid(outputs[name][0, ..., 0]).numpy() for name in ("prior", "mask"))
    truth = data[1]["mask"][0, ..., 0].numpy() > 0
    expected = draw_sample(data[0]["image"][0].numpy(), prior, mask > model.threshold, truth)
    np.testing.assert_allclose(pictures(tmp_path)["sample_0"][7].astype(int), expected, atol=1)


def test_several_sentences_fill_up_and_rows_that_only_fill_are_left_out(model):
    x, y, weight = batch(count=2, sentences=3)
    x["expression_mask"] = tf.constant([[True, False, False], [True, True, True]])
    weight["mask"] = tf.constant([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    callback = Pictures("unused", (x, y, weight), num_pictures=4)
    inputs, truths, photos = callback._samples
    places = [(0, 0), (1, 0), (1, 2)]  # all photos' first sentences, then further ones
    np.testing.assert_array_equal(inputs["token_ids"], [x["token_ids"][place].numpy() for place in places])
    np.testing.assert_array_equal(truths, [y["mask"][place].numpy()[..., 0] > 0 for place in places])
    np.testing.assert_array_equal(photos, [x["image"][place[0]].numpy() for place in places])


def test_cached_maps_are_drawn_on_the_photos_that_are_given(model, tmp_path):
    x, y, _ = batch(count=2)
    maps = {name: value for name, value in model.backbone(x["image"]).items()}
    for photos in (None, x["image"]):
        callback = Pictures(tmp_path, (maps | {"token_ids": x["token_ids"]}, y), photos=photos)
        callback.set_model(model)
        callback.draw(0)
        np.testing.assert_array_equal(callback._samples[2], np.zeros((2, 64, 64, 3)) if photos is None else photos)
        callback._pictures_writer.close()


def test_without_validation_every_epoch_is_drawn_and_without_samples_none(model, tmp_path):
    dataset = tf.data.Dataset.from_tensors(batch())
    callback = Pictures(tmp_path / "a", batch(), num_pictures=1, validates=False)
    model.fit(dataset, epochs=2, verbose=0, shuffle=False, callbacks=[callback, Pictures(tmp_path / "b")])
    assert sorted(pictures(tmp_path / "a")["sample_0"]) == [0, 1]
    assert not (tmp_path / "b/pictures").exists() and (tmp_path / "b/train").exists()
    nothing = Pictures(tmp_path, (*batch()[:2], {"mask": np.zeros(3)}))
    assert nothing._samples is None


def test_the_averaged_weights_are_drawn_where_they_are_validated(tmp_path):
    seen = {}

    class Look(Pictures):
        def draw(self, epoch):
            seen[epoch] = self.model.trainable_variables[0].numpy()

    class AfterTest(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen["trained"] = self.model.trainable_variables[0].numpy()

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    x = np.ones((4, 1), "float32")
    callbacks = [Look(tmp_path), keras.callbacks.SwapEMAWeights(swap_on_epoch=False), AfterTest()]
    model.fit(x, 3 * x, batch_size=1, validation_data=(x, x), verbose=0, callbacks=callbacks)
    # Far from the goal of 3, the average lags behind.
    assert seen[0] < seen["trained"]
