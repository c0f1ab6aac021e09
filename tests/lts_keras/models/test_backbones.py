import keras
import numpy as np
import pytest

from lts_keras.config.errors import ConfigError
from lts_keras.layers.conv_block import ConvBlock
from lts_keras.layers.darknet import convolutions, darknet53
from lts_keras.models.backbones import backbone_channels, freeze_backbone, make_backbone
from lts_keras.weights import WeightsError


def three_maps(outputs=lambda maps: maps, size=None):
    """A small model of built-in layers with maps at strides 8, 16 and 32."""
    image = keras.Input((size, size, 3))
    x, maps = image, []
    for index in range(5):
        x = keras.layers.Conv2D(2 + index, 3, strides=2, padding="same", name=f"conv_{index}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{index}")(x)
        maps.append(x)
    return keras.Model(image, outputs(maps[2:]), name="small")


def trainable_names(model):
    return [layer.name for layer in model.layers if layer.trainable and layer.weights]


def assert_frozen_layers_infer(model):
    """A call in training mode moves the statistics of the trainable batch norms and of no other."""
    norms = [layer.norm if isinstance(layer, ConvBlock) else layer for layer in model.layers]
    norms = [norm for norm in norms if isinstance(norm, keras.layers.BatchNormalization)]
    before = [norm.moving_mean.numpy() for norm in norms]
    model(np.random.default_rng(0).random((2, 64, 64, 3), dtype="float32"), training=True)
    moved = [(old != norm.moving_mean.numpy()).any() for old, norm in zip(before, norms, strict=True)]
    assert moved == [norm.trainable for norm in norms]


@pytest.fixture(scope="module")
def darknet():
    return darknet53(width=2)


@pytest.mark.parametrize(("trainable", "names"), [("none", []), ("last_two", ["extra_4", "extra_5"]), ("all", None)])
def test_darknet_freezes_by_choice(darknet, trainable, names):
    model = make_backbone(darknet, trainable=trainable)
    assert trainable_names(model) == ([block.name for block in convolutions(model)] if names is None else names)
    assert len(model.trainable_variables) == 3 * len(trainable_names(model))
    assert_frozen_layers_infer(model)


def test_last_two_convolutions_of_another_model_take_their_batch_norm_along():
    model = make_backbone(three_maps(), trainable="last_two")
    assert trainable_names(model) == ["conv_3", "norm_3", "conv_4", "norm_4"]
    assert_frozen_layers_infer(model)


def test_freezing_again_undoes_the_last(darknet):
    for trainable in ("none", "all", "last_two", "all"):
        freeze_backbone(darknet, trainable)
    assert len(darknet.trainable_variables) == 3 * 58


def test_a_wrong_choice_is_named(darknet):
    with pytest.raises(ConfigError, match="Received: 'last_three'"):
        make_backbone(darknet, trainable="last_three")


def test_extra_convolutions_are_optional():
    model = make_backbone("darknet53", extra_convs=False)
    assert len(convolutions(model)) == 52 and backbone_channels(model) == {"c3": 256, "c4": 512, "c5": 1024}


def test_a_frozen_backbone_that_was_saved_can_be_frozen_again():
    """Keras brings the variables of frozen layers back as trainable ones."""
    model = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(make_backbone(three_maps())))
    assert trainable_names(make_backbone(model)) == ["conv_3", "norm_3", "conv_4", "norm_4"]
    assert len(make_backbone(model).trainable_variables) == 8
    assert make_backbone(model, trainable="none").trainable_variables == []


@pytest.mark.parametrize(
    "outputs",
    [
        lambda maps: maps[::-1],
        lambda maps: tuple(maps),
        lambda maps: {"stride32": maps[2], "stride8": maps[0], "stride16": maps[1]},
    ],
)
def test_maps_are_told_apart_by_size(outputs):
    model = make_backbone(three_maps(outputs))
    assert backbone_channels(model) == {"c3": 4, "c4": 5, "c5": 6}
    maps = model(np.zeros((1, 64, 32, 3), "float32"))
    assert [tuple(maps[name].shape[1:3]) for name in ("c3", "c4", "c5")] == [(8, 4), (4, 2), (2, 1)]


def test_a_fixed_input_size_is_kept():
    assert make_backbone(three_maps(size=96)).input.shape == (None, 96, 96, 3)


@pytest.mark.parametrize(
    "model",
    [
        three_maps(lambda maps: maps[:2]),
        three_maps(lambda maps: maps[-1]),
        three_maps(lambda maps: [maps[0], maps[0], maps[1]]),
        three_maps(lambda maps: [*maps[:2], keras.layers.Flatten()(keras.layers.GlobalMaxPooling2D()(maps[2]))]),
        keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Conv2D(2, 3)]),
        keras.Sequential([keras.layers.Conv2D(2, 3)]),
    ],
)
def test_models_without_three_maps_are_refused(model):
    with pytest.raises(WeightsError, match=r"strides 8, 16 and 32. Received|one input \(batch, height, width, 3\)"):
        make_backbone(model)


def test_keras_file(tmp_path):
    source = three_maps()
    source.save(tmp_path / "backbone.keras")
    model = make_backbone(str(tmp_path / "backbone.keras"), trainable="none")
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype="float32")
    for value, expected in zip(model(image).values(), source(image), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert model.trainable_variables == []


def test_shared_backbone_keeps_its_maps(shared_data):
    path = shared_data / "weights" / "yolox_nano_backbone_pafpn.keras"
    image = np.random.default_rng(0).random((1, 96, 64, 3), dtype="float32")
    expected = keras.saving.load_model(path)(image)
    maps = make_backbone(str(path))(image)
    for name, stride in (("c3", 8), ("c4", 16), ("c5", 32)):
        np.testing.assert_allclose(maps[name], expected[f"stride{stride}"], atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"not a zip", "cut", "lambda"])
def test_bad_files_are_one_clear_line(tmp_path, content):
    path = tmp_path / "backbone.keras"
    if content == "lambda":
        unsafe = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Lambda(lambda x: x)])
        unsafe.save(path)
    else:
        three_maps().save(path)
        path.write_bytes(path.read_bytes()[:-200] if content == "cut" else content)
    with pytest.raises(WeightsError, match="backbone.keras: ") as caught:
        make_backbone(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="no such backbone file"):
        make_backbone(str(tmp_path / "missing.keras"))


@pytest.mark.parametrize(
    ("name", "taps", "scaled"),
    [
        # The colours white and red, as the network wants them.
        ("MobileNet", ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"), [[1, 1, 1], [1, -1, -1]]),
        (
            "ResNet50",
            ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
            [[151.061, 138.221, 131.32], [-103.939, -116.779, 131.32]],
        ),
        ("MobileNetV3Small", None, [[255, 255, 255], [255, 0, 0]]),
    ],
)
def test_networks_of_keras_applications(name, taps, scaled):
    model = make_backbone(name)
    maps = model(np.zeros((1, 64, 96, 3), "float32"))
    assert [tuple(value.shape[1:3]) for value in maps.values()] == [(8, 12), (4, 6), (2, 3)]
    scaling = keras.Model(model.input, model.get_layer("input_scaling").output)
    colors = np.array([[1, 1, 1], [1, 0, 0]], "float32").reshape(2, 1, 1, 3)
    np.testing.assert_allclose(np.reshape(scaling(colors), (2, 3)), scaled, atol=1e-3)
    if taps:
        expected = keras.Model(model.input, [model.get_layer(tap).output for tap in taps])(np.ones((1, 32, 32, 3)))
        for value, wanted in zip(model(np.ones((1, 32, 32, 3))).values(), expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert backbone_channels(again) == backbone_channels(model)


@pytest.mark.parametrize("name", ["InceptionV3", "NASNetMobile"])
def test_networks_without_these_strides_are_refused(name):
    with pytest.raises(WeightsError, match=f"^{name}: "):
        make_backbone(name)


def test_unknown_name_comes_with_the_nearest():
    with pytest.raises(ConfigError, match="Received: 'Resnet50'; did you mean 'ResNet50'?"):
        make_backbone("Resnet50")
