import io
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from lts_keras.export.saved_model import find_operators
from tests.small_models import photo_bytes, small_model
from tests.turned import CODES, KINDS, flat_scene, turned_photo

EXPRESSIONS = ["the left dog", "Red circle!", "the man’s LEFT", "zzz unheard-of", ""]

# What the graph is made of: TensorFlow's own operators, some of them in gradients that are saved along, and two of TF
# Text. A new one must be linked by stock TensorFlow Serving, which `check_operators` cannot know for operators younger
# than its release.
OPERATORS = set(
    """Abs AddV2 All Any ArgMax Assert AssignVariableOp AvgPool BatchFunction BatchMatMulV2 BatchToSpaceND BiasAdd
    BroadcastTo CaseFoldUTF8 Cast ConcatV2 Const Conv2D Conv2DBackpropInput Cumsum DecodeImage DecodeJpeg
    DecodePng DecodeRaw DenseBincount DepthToSpace DisableCopyOnRead DivNoNan EncodePng EnsureShape Equal ExpandDims
    ExtractJpegShape Fill Floor FloorDiv FloorMod FusedBatchNormV3 GatherV2 Greater GreaterEqual
    HashTableV2 Identity IdentityN IsFinite LeakyRelu Less LessEqual LogicalAnd LogicalNot LogicalOr LookupTableFindV2
    Log Log1p LookupTableImportV2 MatMul Max Maximum Mean MergeV2Checkpoints Min Minimum Mul Neg NoOp NormalizeUTF8
    NotEqual Pack Pad PadV2 PartitionedCall Placeholder Prod RaggedTensorToTensor Range ReadVariableOp RealDiv Relu
    Reshape ResizeArea ResizeBicubic ResizeNearestNeighbor RestoreV2 ReverseV2 Round Rsqrt SaveV2
    Select SelectV2 Shape ShardedFilename Sigmoid Size SpaceToBatchND Split SplitV Squeeze
    StatefulPartitionedCall StatelessIf StatelessWhile StaticRegexFullMatch StaticRegexReplace
    StridedSlice StringJoin StringLength StringSplitV2 StringStrip Sub Substr Sum Tanh TensorListConcatV2
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Tile
    Transpose UnicodeTranscode Unpack UnsortedSegmentSum VarHandleOp Where While ZerosLike""".split()
)


def ask(exported, images, expressions, signature="serving_default"):
    answers = exported.signatures[signature](
        image_bytes=tf.constant(images, tf.string), expression=tf.constant(expressions, tf.string)
    )
    return {name: value.numpy() for name, value in answers.items()}


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def signature_defs(folder):
    """The signatures as a server reads them, by name."""
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    found = dict(saved_model.meta_graphs[0].signature_def)
    return {name: signature for name, signature in found.items() if not name.startswith("__")}


def test_signatures_have_the_agreed_names_dtypes_and_shapes(exported):
    def specs(items):
        shapes = {name: [dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim] for name, info in items}
        return {name: (tf.dtypes.as_dtype(info.dtype).name, shapes[name]) for name, info in items}

    strings = ("string", [None])
    answers = {
        "mask_png_bytes": strings,
        "score": ("float32", [None]),
        "presence": ("float32", [None]),
        "box": ("int32", [None, 4]),
        "point": ("int32", [None, 2]),
        "size": ("int32", [None, 2]),
    }
    expected = {
        "serving_default": ({"image_bytes": strings, "expression": strings}, answers),
        "segment_expressions": ({"image_bytes": ("string", [1]), "expression": strings}, answers),
        "segment_tensors": (
            {"image": ("float32", [None, 64, 64, 3]), "token_ids": ("int32", [None, 6])},
            {"mask": ("float32", [None, 16, 16, 1]), "prior": ("float32", [None, 8, 8, 1])},
        ),
    }
    found = {
        name: (specs(one.inputs.items()), specs(one.outputs.items()))
        for name, one in signature_defs(exported.folder).items()
    }
    encoded, answered = found.pop("encode_photo"), found.pop("segment_encoded")
    with_prior = answers | {"prior_png_bytes": strings}
    assert found.pop("locate_and_segment") == (expected["segment_expressions"][0], with_prior)
    assert found == expected
    features = encoded[1]
    assert encoded[0] == {"image_bytes": strings} and features.pop("size") == ("int32", [None, 2])
    assert sorted(features) == [f"feature_{number}" for number in range(len(features))] and len(features) > 2
    assert {kind for kind, _ in features.values()} == {"float32"}
    one = {name: (kind, [1, *shape[1:]]) for name, (kind, shape) in features.items()}
    assert answered == ({"expression": strings, "size": ("int32", [1, 2])} | one, with_prior)


def test_graph_holds_only_operators_that_stock_serving_links(exported):
    assert find_operators(exported.folder) <= OPERATORS


@pytest.mark.parametrize("size", [(60, 80), (1, 1), (150, 33), (64, 64)])
def test_served_masks_equal_the_keras_models(exported, size):
    image_bytes = photo_bytes(*size)
    expected = exported.predictor.predict_many(image_bytes, EXPRESSIONS[:4])
    for answers in (
        ask(exported, [image_bytes] * 4, EXPRESSIONS[:4]),
        ask(exported, [image_bytes], EXPRESSIONS[:4], "segment_expressions"),
    ):
        for row, prediction in enumerate(expected):
            mask = decode(answers["mask_png_bytes"][row])
            assert mask.shape == size
            assert set(np.unique(mask)) <= {0, 255}
            np.testing.assert_array_equal(mask > 0, prediction.mask)
            assert answers["box"][row].tolist() == list(prediction.box)
            assert answers["point"][row].tolist() == list(prediction.point)
            assert answers["score"][row] == pytest.approx(prediction.score, abs=1e-5)
            assert answers["presence"][row] == pytest.approx(prediction.presence, abs=1e-5)
            assert answers["size"][row].tolist() == list(size)


def test_masks_of_the_test_model_have_an_inside_and_an_outside(exported):
    assert 0 < exported.predictor(photo_bytes(), "the left dog").mask.mean() < 1


def test_photos_of_different_sizes_and_kinds_in_one_request(exported):
    grey, alpha = io.BytesIO(), io.BytesIO()
    Image.new("L", (30, 50), 90).save(grey, "PNG")
    Image.new("RGBA", (41, 20), (200, 30, 30, 128)).save(alpha, "PNG")
    answers = ask(exported, [photo_bytes(), grey.getvalue(), alpha.getvalue()], EXPRESSIONS[:3])
    assert answers["size"].tolist() == [[60, 80], [50, 30], [20, 41]]
    assert [decode(png).shape for png in answers["mask_png_bytes"]] == [(60, 80), (50, 30), (20, 41)]


def test_many_expressions_go_through_in_parts(exported):
    expressions = [EXPRESSIONS[row % 3] for row in range(19)]
    answers = ask(exported, [photo_bytes()], expressions, "segment_expressions")
    assert answers["score"].shape == (19,)
    for row in range(3, 19):
        assert answers["mask_png_bytes"][row] == answers["mask_png_bytes"][row % 3]


def test_more_photos_than_the_largest_batch(exported):
    answers = ask(exported, [photo_bytes()] * 11, ["the red dog"] * 11)
    assert len(set(answers["mask_png_bytes"].tolist())) == 1


def test_empty_and_unknown_expressions_stay_finite(exported):
    answers = ask(exported, [photo_bytes()] * 5, EXPRESSIONS)
    assert np.all(np.isfinite(answers["score"]))


def test_no_pixel_above_the_threshold_gives_zeros(tmp_path):
    model = small_model(threshold=0.999999)
    found = model.predictor()(photo_bytes(), "the dog")
    assert (found.mask.any(), found.score, found.box) == (False, 0.0, (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("images", "expressions", "words"),
    [
        ([], [], "image_bytes must hold 1 to 1024 rows"),
        ([b""], ["x"], "no JPEG or PNG photo"),
        ([b"GIF89a" + bytes(100)], ["x"], "no JPEG or PNG photo"),
        ([photo_bytes()[:200]], ["x"], "Invalid JPEG"),
        ([photo_bytes()[:-600]], ["x"], "JPEG"),
        ([photo_bytes()], ["x", "y"], "equally many rows"),
        ([photo_bytes(400, 400)], ["x"], "1 to 100000 pixels"),
    ],
)
def test_wrong_requests_are_refused_with_a_clear_word(exported, images, expressions, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        ask(exported, images, expressions)


def test_large_png_is_refused_by_its_header_alone(exported):
    file = io.BytesIO()
    Image.new("1", (30000, 30000)).save(file, "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match="30000 30000"):
        ask(exported, [file.getvalue()], ["x"])


def test_several_photos_for_segment_expressions_are_refused(exported):
    with pytest.raises(tf.errors.InvalidArgumentError, match="one photo"):
        ask(exported, [photo_bytes()] * 2, ["x"], "segment_expressions")


def test_empty_batch_of_tensors_is_refused(exported):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image must hold 1 to 1024 rows"):
        exported.signatures["segment_tensors"](image=tf.zeros((0, 64, 64, 3)), token_ids=tf.zeros((0, 6), tf.int32))


def test_a_corrupt_photo_fails_its_own_request_alone(exported):
    good, bad, results = photo_bytes(), photo_bytes()[:300], {}
    expected = ask(exported, [good], ["the red dog"])["mask_png_bytes"][0]

    def run(number):
        try:
            image_bytes = bad if number % 4 == 0 else good
            results[number] = ask(exported, [image_bytes], ["the red dog"])["mask_png_bytes"][0]
        except tf.errors.InvalidArgumentError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in results.items():
        if number % 4 == 0:
            assert isinstance(result, tf.errors.InvalidArgumentError)
        else:
            assert result == expected


def test_two_models_in_one_process_never_share_a_batch(exported, tmp_path):
    """Their operators have the same names: a shared queue would answer one model's requests with the other."""
    other = small_model(seed=1)
    options = ExportConfig(batch_timeout_micros=50_000)
    functions, expected = [], []
    token_ids = tf.constant([[2, 3, 4, 0, 0, 0]], tf.int32)
    image = tf.constant(np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32))
    keep = []
    for model, name in ((exported.model, "first"), (other, "second")):
        folder = tmp_path / name
        export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), folder, options)
        keep.append(tf.saved_model.load(str(folder)))
        functions.append(keep[-1].signatures["segment_tensors"])
        expected.append(functions[-1](image=image, token_ids=token_ids)["mask"].numpy())
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    results = {}

    def run(number):
        results[number] = functions[number % 2](image=image, token_ids=token_ids)["mask"].numpy()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in results.items():
        np.testing.assert_allclose(result, expected[number % 2], atol=1e-5)


def test_a_scene_stored_in_eight_ways_gets_one_answer(exported):
    scene = flat_scene(40, 72)
    expected = exported.predictor(scene, "the left dog")
    assert 0 < expected.mask.mean() < 1
    photos = [turned_photo(scene, code, kind) for kind in KINDS for code in CODES]
    served = [ask(exported, [photo], ["the left dog"], "segment_expressions") for photo in photos]
    together = ask(exported, photos, ["the left dog"] * len(photos))
    encode = exported.signatures["encode_photo"]
    features = [encode(image_bytes=tf.constant([photo]))["feature_0"].numpy() for photo in photos]
    for row, photo in enumerate(photos):
        np.testing.assert_allclose(features[row], features[0], atol=1e-5)
        np.testing.assert_array_equal(exported.predictor(photo, "the left dog").mask, expected.mask)
        for answers, place in ((served[row], 0), (together, row)):
            np.testing.assert_array_equal(decode(answers["mask_png_bytes"][place]) > 0, expected.mask)
            assert answers["size"][place].tolist() == [40, 72]
            assert answers["box"][place].tolist() == list(expected.box)
            assert answers["point"][place].tolist() == list(expected.point)


@pytest.mark.parametrize("size", [(60, 80), (200, 20), (1, 1)])
def test_the_prior_is_a_small_picture_of_the_whole_photo(exported, size):
    image_bytes = photo_bytes(*size)
    prediction = exported.predictor(image_bytes, EXPRESSIONS[0])
    (png,) = ask(exported, [image_bytes], EXPRESSIONS[:1], "locate_and_segment")["prior_png_bytes"]
    prior = decode(png) / 255.0
    longest = max(size)
    assert prior.shape == tuple(max(1, round(side * 16 / longest)) for side in size)  # 64 / 4 on the longer side
    # The prediction's prior is at the photo's size; both are the same few cells.
    rows = [int((row + 0.5) * size[0] / prior.shape[0]) for row in range(prior.shape[0])]
    columns = [int((column + 0.5) * size[1] / prior.shape[1]) for column in range(prior.shape[1])]
    np.testing.assert_allclose(prior, prediction.prior[np.ix_(rows, columns)], atol=0.06)
