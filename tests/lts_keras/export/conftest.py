"""One small model, exported once for all tests of the export."""

import types

import pytest
import tensorflow as tf

from lts_keras.config.read import parse_config
from lts_keras.config.schema import ExportConfig
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from tests.small_models import small_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The model, its predictor, the folder of its SavedModel and the loaded signatures."""
    model = small_model()
    config = ExportConfig(max_photo_pixels=100_000)
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), folder, config)
    loaded = tf.saved_model.load(str(folder))
    return types.SimpleNamespace(
        model=model, predictor=model.predictor(), folder=folder, loaded=loaded, signatures=loaded.signatures
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder of prepared drawn scenes."""
    workdir = tmp_path_factory.mktemp("prepared")
    scenes = {"kind": "scenes", "num_photos": {"train": 4, "val": 4}, "photo_size": [48, 64]}
    prepare(parse_config({"data": {"sources": [scenes]}}), workdir)
    return workdir / "data"
