"""One small house of models that are none of ours, for the tests that only ask."""

import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tests.serving.houses import open_house
from tests.serving.other_models import write_half_plus_two, write_odd_dtypes


@pytest.fixture(scope="session")
def bases(half_plus_two, tmp_path_factory):
    """Folders of versions: `default` (half plus two as version 123, half plus three as 124) and `odd`."""
    base = tmp_path_factory.mktemp("bases")
    for name in ("default", "odd"):
        (base / name).mkdir()
    (base / "default" / "123").symlink_to(half_plus_two)
    write_half_plus_two(base / "default" / "124", offset=3.0)
    write_odd_dtypes(base / "odd" / "1")
    return {name: base / name for name in ("default", "odd")}


@pytest.fixture(scope="session")
def house(bases):
    """The newest version of each model of `bases`."""
    with open_house(bases) as opened:
        yield opened


@pytest.fixture(scope="session")
def predictions(house):
    """TensorFlow Serving's own stub."""
    return prediction_service_pb2_grpc.PredictionServiceStub(house.channel)


@pytest.fixture(scope="session")
def models(house):
    """TensorFlow Serving's own stub."""
    return model_service_pb2_grpc.ModelServiceStub(house.channel)
