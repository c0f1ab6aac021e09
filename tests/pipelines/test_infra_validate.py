import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from lts_keras.prediction.compare import TOLERANCES
from pipelines import infra_validate
from pipelines.stages import StageError
from tests.small_models import photo_bytes, small_model

SAMPLES = [(photo_bytes(), ["the left dog", "red"])]
ANSWERING = ("serving_default", "segment_expressions", "locate_and_segment", "segment_encoded")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A small model's predictor, and a function that asks its export."""
    model, folder = small_model(), tmp_path_factory.mktemp("served") / "saved_model"
    export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), folder, ExportConfig(batch_sizes=(1, 2)))
    loaded = tf.saved_model.load(str(folder))

    def ask(name, inputs):
        found = loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in found.items()}

    return model.predictor(), ask


def compare(served, wrong=lambda name, outputs: outputs, names=None):
    predictor, ask = served
    asked = lambda name, inputs: wrong(name, ask(name, inputs))  # noqa: E731
    return infra_validate.compare(asked, predictor, SAMPLES, TOLERANCES["float32"], names)


def test_equal_answers_are_counted(served):
    log = compare(served)
    assert (log["photos"], log["expressions"], log["pixels"]) == (1, 2, len(ANSWERING) * 2 * 60 * 80)
    assert log["ties"] <= 2 and log["median_ms"] > 0


@pytest.mark.parametrize("signature", ANSWERING)
@pytest.mark.parametrize("field", ["mask_png_bytes", "size", "score", "presence", "box", "point"])
def test_a_field_that_a_server_answers_differently_ends_the_run(served, signature, field):
    def wrong(name, outputs):
        if name != signature:
            return outputs
        changed = outputs[field][::-1].copy() if field == "mask_png_bytes" else outputs[field].copy()
        if field != "mask_png_bytes":
            changed[1] = changed[1] + np.array(0.01 if field in ("score", "presence") else 7, changed.dtype)
        return outputs | {field: changed}

    with pytest.raises(StageError, match=f"not as the Keras model: {signature} on '.*{field.partition('_')[0]}"):
        compare(served, wrong, names=(signature,))


@pytest.mark.parametrize("field", ["mask", "prior"])
def test_probabilities_of_the_network_alone_are_compared_too(served, field):
    def wrong(name, outputs):
        return outputs | {field: outputs[field] + 0.001} if name == "segment_tensors" else outputs

    with pytest.raises(StageError, match=f"segment_tensors on 'the left dog': {field} differs by 0.001"):
        compare(served, wrong, names=("segment_tensors",))


def test_an_answer_without_a_field_ends_the_run(served):
    with pytest.raises(StageError, match="serving_default on 'the left dog': no presence"):
        compare(served, lambda name, outputs: {key: value for key, value in outputs.items() if key != "presence"})
