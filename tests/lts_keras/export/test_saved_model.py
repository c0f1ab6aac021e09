import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow_serving.apis import prediction_log_pb2

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import ExportError, export_saved_model
from lts_keras.export.parity import check_saved_model
from lts_keras.export.saved_model import check_operators
from lts_keras.export.warm_up import WARM_UP_FILE
from tests.conftest import ROOT, run_python
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


AS_DEPLOYED = """
import sys
import numpy as np, tensorflow as tf, tensorflow_text

folder, questions, answers = sys.argv[1:]
segment = tf.saved_model.load(folder).signatures["segment_tensors"]
masks = []
with np.load(questions) as given:
    for number in range(len(given.files) // 2):
        row = {name: tf.constant(given[f"{name}_{number}"]) for name in ("image", "token_ids")}
        masks.append(segment(**row)["mask"].numpy())
np.savez(answers, *masks)
"""


def test_the_environment_of_deployed_servers_changes_no_answer(exported, tmp_path):
    """Which lets oneDNN keep the layout of weights: whatever the graph computes must not be taken for weights."""
    compose = yaml.safe_load((ROOT / "serving/deploy/compose.yaml").read_text(encoding="utf-8"))
    environment = compose["services"]["stock"]["environment"]
    deployment = yaml.safe_load((ROOT / "serving/deploy/kubernetes/base/deployment.yaml").read_text(encoding="utf-8"))
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {entry["name"]: entry["value"] for entry in server["env"]} == environment
    assert environment == compose["services"]["embedded"]["environment"]
    rng, questions, expected = np.random.default_rng(0), {}, []
    size, words = exported.model.image_size, exported.model.max_tokens
    for number, rows in enumerate((1, 2, 1, 4, 1)):
        image = rng.random((rows, size, size, 3), dtype=np.float32)
        token_ids = rng.integers(2, 6, (rows, words), dtype=np.int32)
        questions |= {f"image_{number}": image, f"token_ids_{number}": token_ids}
        row = {"image": tf.constant(image), "token_ids": tf.constant(token_ids)}
        expected.append(exported.signatures["segment_tensors"](**row)["mask"].numpy())
    np.savez(tmp_path / "questions.npz", **questions)
    words = ["-c", AS_DEPLOYED, exported.folder, tmp_path / "questions.npz", tmp_path / "answers.npz"]
    done = run_python(*words, variables=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "answers.npz") as answers:
        for name, masks in zip(answers.files, expected, strict=True):
            np.testing.assert_allclose(answers[name], masks, atol=1e-5)
