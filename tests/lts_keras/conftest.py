"""What tests of the export and of prediction share."""

import types

import pytest


@pytest.fixture(scope="session")
def onnx_files(tmp_path_factory):
    """A small model with the folder of its ONNX files: `model.onnx`, `encode.onnx`, `segment.onnx`. Read only."""
    from lts_keras.export.onnx.write import write_onnx
    from tests.small_models import small_model

    folder, model = tmp_path_factory.mktemp("onnx"), small_model()
    files = {part: folder / f"{name}.onnx" for part, name in (("whole", "model"), *((one,) * 2 for one in HALVES))}
    write_onnx(model, files)
    return types.SimpleNamespace(model=model, folder=folder, **files)


HALVES = ("encode", "segment")
