"""Two versions of a small model, exported once, and a server for the tests that only ask."""

import dataclasses
import types

import pytest

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from serving.client import Client
from serving.options import ServerOptions
from serving.server import Server
from tests.serving.other_models import write_half_plus_two
from tests.small_models import small_model

OPTIONS = ServerOptions(host="127.0.0.1", port=0, poll_seconds=0.05, enable_model_warmup=False, grace_seconds=10)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """`first` and `second`: the model, its predictor and the folder of its SavedModel."""
    folder, models = tmp_path_factory.mktemp("models"), {}
    for seed, name in enumerate(("first", "second")):
        model = small_model(seed=seed)
        config = ExportConfig(batch_sizes=(1, 2, 4), max_photo_pixels=100_000)
        export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), folder / name, config)
        models[name] = types.SimpleNamespace(model=model, predictor=model.predictor(), folder=folder / name)
    return types.SimpleNamespace(**models)


@pytest.fixture(scope="session")
def server(saved_models, tmp_path_factory):
    """A running server, gRPC and REST, with version 7 of the first model. Ask only: many tests share it."""
    base = tmp_path_factory.mktemp("served")
    (base / "7").symlink_to(saved_models.first.folder)
    with Server({"lts": base}, dataclasses.replace(OPTIONS, rest_port=0)) as running:
        yield running


@pytest.fixture
def client(server):
    with Client(f"127.0.0.1:{server.port}", timeout=30) as asking:
        yield asking


@pytest.fixture(scope="session")
def half_plus_two(tmp_path_factory):
    """Folder of a SavedModel of TensorFlow 1: y = x / 2 + 2, with signatures of all kinds. Copy it to change it."""
    return write_half_plus_two(tmp_path_factory.mktemp("other_models") / "half_plus_two")


@pytest.fixture(autouse=True)
def no_listener_fails(caplog):
    """A listener of events that fails costs no answer, and so no test would see it."""
    yield
    records = caplog.get_records("call")
    assert not [record.getMessage() for record in records if record.name == "serving.core.events"]
