import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lts_keras.layers.darknet import convolutions, darknet53
from lts_keras.weights import WeightsError
from lts_keras.weights.darknet import load_darknet, read_darknet

LAYERS = [("one", (3, 3, 3, 4)), ("two", (1, 1, 4, 2)), ("three", (3, 3, 2, 5))]
SIZES = [4 * shape[3] + int(np.prod(shape)) for _, shape in LAYERS]


def darknet_file(path, values, version=(0, 2, 0), seen=32013312):
    """Writes a file as Darknet does: 64 bits for the images seen from version 0.2 on."""
    wide = version[0] * 10 + version[1] >= 2
    header = np.array(version, "<i4").tobytes() + np.array([seen], "<i8" if wide else "<i4").tobytes()
    path.write_bytes(header + np.asarray(values, "<f4").tobytes())
    return path


def random_values(count, seed=0):
    return np.random.default_rng(seed).random(count, dtype="float32")


def values_of(block):
    """A ConvBlock's weights in Darknet's order."""
    gamma, beta, mean, variance = block.norm.get_weights()
    kernel = block.conv.get_weights()[0].transpose(3, 2, 0, 1)
    return np.concatenate([beta, gamma, mean, variance, kernel.ravel()])


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0)])
def test_order_and_layout(tmp_path, version):
    path = darknet_file(tmp_path / "w", np.arange(sum(SIZES)), version)
    report, weights = read_darknet(path, LAYERS)
    assert report.version == ".".join(map(str, version)) and report.seen == 32013312
    for number, array in enumerate(weights[0][:4]):  # beta, gamma, mean, variance
        np.testing.assert_array_equal(array, np.arange(4) + 4 * number)
    kernel = weights[0][4]
    assert kernel.shape == (3, 3, 3, 4)
    out, channel, row, column = 2, 1, 0, 2
    assert kernel[row, column, channel, out] == 16 + ((out * 3 + channel) * 3 + row) * 3 + column
    assert weights[1][0][0] == SIZES[0]


def test_a_file_of_a_whole_network_comes_back(tmp_path):
    source, target = darknet53(width=2), darknet53(width=2)
    rng = np.random.default_rng(0)
    for block in convolutions(source):
        block.set_weights([rng.random(weight.shape, dtype="float32") for weight in block.get_weights()])
    path = darknet_file(tmp_path / "w", np.concatenate([values_of(block) for block in convolutions(source)]))
    report = load_darknet(target, path)
    assert len(report.loaded) == 58 and not report.left_random and not report.left_over
    for old, new in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("count", "left_over", "layers"), [(26, 0, 58), (52, 0, 58), (58, 0, 58), (58, 1000, 58), (57, 0, 52)]
)
def test_loads_as_many_convolutions_as_there_are(tmp_path, count, left_over, layers):
    source = convolutions(darknet53(width=2))
    values = np.concatenate([*(values_of(block) for block in source[:count]), random_values(left_over)])
    target = darknet53(extra_convs=layers == 58, width=2)
    before = [values_of(block) for block in convolutions(target)]
    report = load_darknet(target, darknet_file(tmp_path / "w", values))
    names = [block.name for block in source]
    loaded = min(count, layers)
    assert report.loaded == tuple(names[:loaded]) and report.left_random == tuple(names[loaded:layers])
    assert report.left_over == values.size - sum(values_of(block).size for block in source[:loaded])
    for index, block in enumerate(convolutions(target)):
        expected = values_of(source[index]) if index < loaded else before[index]
        np.testing.assert_array_equal(values_of(block), expected)
    assert f"{loaded} convolutions loaded" in str(report)


def test_yolov3_and_the_classifier_end_as_known(tmp_path):
    """The published files' sizes, to the byte: 62,001,757 values and, for ImageNet's classifier, 1000 x 1025 more."""
    layers = [(block.name, tuple(block.conv.kernel.shape)) for block in convolutions(darknet53())]
    sizes = [4 * shape[3] + int(np.prod(shape)) for _, shape in layers]
    assert 20 + 4 * sum(sizes[:52]) == 162_482_580  # darknet53.conv.74
    path = darknet_file(tmp_path / "w", [])
    with path.open("r+b") as file:  # holes read as zeros and take no room
        file.truncate(248_007_048)  # yolov3.weights
    report, _ = read_darknet(path, layers)
    assert len(report.loaded) == 58 and report.left_over == 62_001_757 - sum(sizes)
    assert report.is_detector and read_darknet(path, layers[:52])[0].is_detector
    with path.open("r+b") as file:
        file.truncate(20 + 4 * (sum(sizes[:52]) + 1_025_000))  # darknet53.weights
    for number in (58, 52):
        report, _ = read_darknet(path, layers[:number])
        assert len(report.loaded) == 52 and report.left_over == 1_025_000 and "classifier" in str(report)
        assert not report.is_detector
    with path.open("r+b") as file:
        file.truncate(162_482_580)
    assert not read_darknet(path, layers)[0].is_detector


@settings(max_examples=60)
@given(num_bytes=st.integers(0, 20 + 4 * sum(SIZES) - 1))
def test_cut_anywhere_it_is_an_error_or_a_convolutions_end(tmp_path_factory, num_bytes):
    folder = tmp_path_factory.mktemp("cut")
    path = darknet_file(folder / "w", random_values(sum(SIZES)))
    path.write_bytes(path.read_bytes()[:num_bytes])
    ends = [20 + 4 * sum(SIZES[:count]) for count in (1, 2)]
    if num_bytes in ends:
        assert len(read_darknet(path, LAYERS)[1]) == ends.index(num_bytes) + 1
        return
    with pytest.raises(WeightsError, match="cut short|not a Darknet weights file") as caught:
        read_darknet(path, LAYERS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04" + bytes(100), "version 67324752"),
        (bytes(100), "version 0.0.0"),
        (np.array([0, 2, 0, -1, -1, 0], "<i4").tobytes(), "images seen"),
        (np.array([0, 2, 0, 0, 0], "<i4").tobytes(), "no convolution"),
    ],
)
def test_nonsense_is_refused(tmp_path, content, message):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_darknet(tmp_path / "w", LAYERS)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        read_darknet(tmp_path / "missing", LAYERS)
    with pytest.raises(WeightsError, match="folder"):
        read_darknet(tmp_path, LAYERS)


@pytest.mark.parametrize(("value", "message"), [(-1.0, "negative variances"), (np.nan, "not finite")])
def test_another_networks_values_are_noticed_and_nothing_is_loaded(tmp_path, value, message):
    model = darknet53(width=2)
    before = model.get_weights()
    values = np.concatenate([values_of(block) for block in convolutions(darknet53(width=2))])
    first = values_of(convolutions(model)[0]).size
    values[first + 3 * 4] = value  # a variance of the second convolution, which has 4 filters
    with pytest.raises(WeightsError, match=rf"convolution 2 \(stages_0_down\).*{message}"):
        load_darknet(model, darknet_file(tmp_path / "w", values))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_backbone_that_is_no_darknet_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="darknet53"):
        read_darknet(darknet_file(tmp_path / "w", []), [])


def test_first_26_convolutions(shared_data):
    path = shared_data / "weights" / "darknet53.conv.26"
    model = darknet53()
    report = load_darknet(model, path)
    assert len(report.loaded) == 26 and report.loaded[-1] == "stages_2_residuals_7_expand"
    assert len(report.left_random) == 32 and report.left_over == 0
    stored = np.fromfile(path, "<f4", offset=20)
    np.testing.assert_array_equal(np.concatenate([values_of(block) for block in convolutions(model)[:26]]), stored)
