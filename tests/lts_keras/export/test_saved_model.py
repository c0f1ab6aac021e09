import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import ExportError, export_saved_model
from lts_keras.export.parity import check_saved_model
from lts_keras.export.saved_model import check_operators
from lts_keras.export.warm_up import WARM_UP_FILE
from tests.small_models import photo_bytes, small_model


def test_warm_up_covers_every_batch_size(exported):
    sizes = set()
    for record in tf.data.TFRecordDataset(str(exported.folder / WARM_UP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
        exported.signatures[request.model_spec.signature_name](**inputs)
        rows = next(inputs[name] for name in ("expression", "image", "image_bytes") if name in inputs).shape[0]
        sizes.add((request.model_spec.signature_name, rows))
    names = ("serving_default", "segment_expressions", "encode_photo")
    alone = {("locate_and_segment", 1), ("segment_tensors", 1), ("segment_encoded", 1)}
    assert sizes == {*alone, *((name, rows) for name in names for rows in (1, 2, 4, 8))}


def test_same_weights_give_the_same_graph_but_for_function_numbers(exported, tmp_path):
    export_saved_model(
        exported.model,
        Tokenizer(exported.model.vocabulary, 6),
        tmp_path / "again",
        ExportConfig(max_photo_pixels=100_000),
    )
    again = tf.saved_model.load(str(tmp_path / "again")).signatures["serving_default"]
    inputs = {"image_bytes": tf.constant([photo_bytes()]), "expression": tf.constant(["the left man"])}
    first = exported.signatures["serving_default"](**inputs)
    assert again(**inputs)["mask_png_bytes"].numpy() == first["mask_png_bytes"].numpy()


def test_parity_passes_for_the_model_and_fails_for_another(exported):
    samples = [(photo_bytes(), ["the left dog", "red"]), (photo_bytes(20, 90, seed=1), ["?"])]
    report = check_saved_model(exported.folder, exported.predictor, samples)
    assert report["expressions"] == 3
    assert report["pixels"] == 4 * (2 * 60 * 80 + 20 * 90)  # of four signatures
    assert report["ties"] <= 2
    with pytest.raises(ExportError, match="not as the Keras model: serving_default on 'the left dog': .*mask"):
        check_saved_model(exported.folder, small_model(seed=5).predictor(), samples)


def test_operators_that_stock_serving_does_not_link_are_refused(tmp_path):
    import tensorflow_text as tf_text

    class Foreign(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def split(self, text):
            return tf_text.WhitespaceTokenizer().tokenize(text).flat_values

    module = Foreign()
    tf.saved_model.save(module, str(tmp_path / "foreign"), signatures=module.split)
    with pytest.raises(ExportError, match="WhitespaceTokenize"):
        check_operators(tmp_path / "foreign")


@pytest.mark.parametrize("arguments", [{"dtype": "mixed_float16"}, {"locator": "transformer"}])
def test_other_models_are_served_alike(tmp_path, arguments):
    model = small_model(**arguments)
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    export_saved_model(model, tokenizer, tmp_path / "saved_model", ExportConfig(batch_sizes=(1, 2)))
    report = check_saved_model(tmp_path / "saved_model", model.predictor(), [(photo_bytes(), ["the left dog", "red"])])
    assert report["expressions"] == 2
