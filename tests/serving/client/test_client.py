"""Both clients against a running server: the same answers and errors."""

import asyncio
import itertools
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from serving.client import NO_RETRIES, AsyncClient, Client, Retries, ServingError
from serving.server import Server
from serving.wire import protos
from serving.wire.tensors import from_array
from tests.conftest import run_python
from tests.serving.client.scripted import scripted_server
from tests.serving.conftest import OPTIONS
from tests.small_models import photo_bytes

EXPRESSIONS = ["the left dog", "red circle"]


class Both:
    """Calls a method of either client, made anew, as if it were the sync one."""

    def __init__(self, kind, target):
        self.kind, self.target = kind, target

    def __call__(self, method, *arguments, client=None, **named):
        if self.kind == "sync":
            with Client(self.target, **{"timeout": 30, **(client or {})}) as asking:
                found = getattr(asking, method)(*arguments, **named)
                return list(found) if method == "segment_many" else found

        async def run():
            async with AsyncClient(self.target, **{"timeout": 30, **(client or {})}) as asking:
                found = getattr(asking, method)(*arguments, **named)
                return [one async for one in found] if method == "segment_many" else await found

        return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def ask(request, server):
    return Both(request.param, f"127.0.0.1:{server.port}")


def test_answers_are_the_keras_models(ask, saved_models):
    expected = saved_models.first.predictor.predict_many(photo_bytes(), EXPRESSIONS)
    for answer, prediction in zip(ask("segment", photo_bytes(), EXPRESSIONS), expected, strict=True):
        np.testing.assert_array_equal(answer.mask, prediction.mask)
        assert (answer.box, answer.point, answer.version) == (prediction.box, prediction.point, 7)


def test_many_photos_come_in_order_and_a_bad_one_stops_no_other(ask):
    photos = [photo_bytes(seed=seed) for seed in range(7)]
    photos[3] = b"junk"
    read = []

    def questions():
        for number, photo in enumerate(photos):
            read.append(number)
            yield photo, EXPRESSIONS

    found = ask("segment_many", questions(), at_a_time=3)
    assert read == list(range(7))
    assert isinstance(found[3], ServingError)
    assert found[3].code == grpc.StatusCode.INVALID_ARGUMENT
    for number in {*range(7)} - {3}:
        (first, second), again = found[number], ask("segment", photos[number], EXPRESSIONS)
        np.testing.assert_array_equal(first.mask, again[0].mask)
        np.testing.assert_array_equal(second.mask, again[1].mask)


def test_photos_are_not_read_far_ahead(server):
    endless = ((photo_bytes(seed=seed), EXPRESSIONS) for seed in itertools.count())
    with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
        found = client.segment_many(endless, at_a_time=2)
        assert [len(next(found)) for _ in range(3)] == [2, 2, 2]
        found.close()

    async def run():
        async with AsyncClient(f"127.0.0.1:{server.port}", timeout=30) as client:
            found = client.segment_many(endless, at_a_time=2)
            assert [len(await anext(found)) for _ in range(3)] == [2, 2, 2]
            await found.aclose()

    asyncio.run(run())


def test_any_signature_takes_text_bytes_and_numbers(ask, saved_models):
    outputs, spec = ask(
        "predict",
        {"image_bytes": [photo_bytes()] * 2, "expression": np.array(["the left dog", "rouge é"])},
        output_filter=["score", "size"],
    )
    assert set(outputs) == {"score", "size"}
    assert outputs["size"].tolist() == [[60, 80]] * 2
    assert (spec.name, spec.version.value, spec.signature_name) == ("lts", 7, "serving_default")
    model = saved_models.first.model
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    ids = np.ones((1, model.max_tokens), np.int32)
    outputs, _ = ask("predict", {"image": image, "token_ids": ids}, "segment_tensors")
    assert outputs["mask"].shape == (1, 16, 16, 1)
    assert outputs["mask"].dtype == np.float32


def test_status_metadata_and_readiness(ask):
    assert list(ask("status")) == [7]
    signatures = ask("metadata")
    assert set(signatures["segment_expressions"].inputs) == {"image_bytes", "expression"}
    assert ask("wait_until_ready", 10) == 7
    assert ask("wait_until_ready", 10, version=7) == 7
    with pytest.raises(ServingError, match=r"not ready after 0.3 s: versions \[7\] are not available") as error:
        ask("wait_until_ready", 0.3, version=8)
    assert error.value.code == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ServingError, match="not ready"):
        ask("wait_until_ready", 0.3, client={"version": 8})
    assert ask("wait_until_ready", 10, client={"version": 7, "timeout": None}) == 7


@pytest.mark.parametrize(
    ("client", "code"),
    [
        ({"version": 7}, None),
        ({"version": 8}, grpc.StatusCode.NOT_FOUND),
        ({"version": 0}, grpc.StatusCode.NOT_FOUND),
        ({"model_name": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"version_label": "none"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_the_version_that_is_asked_for(ask, client, code):
    if code is None:
        assert ask("segment", photo_bytes(), ["dog"], client=client)[0].version == 7
        return
    with pytest.raises(ServingError) as error:
        ask("segment", photo_bytes(), ["dog"], client=client)
    assert error.value.code == code


def test_version_and_label_together_are_refused():
    with pytest.raises(ValueError, match="give version or version_label"):
        Client("127.0.0.1:1", version=1, version_label="stable")


@pytest.fixture
def deaf():
    """Address of a socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_deadline_of_one_call_holds_where_nobody_answers(kind, deaf):
    started = time.monotonic()
    with pytest.raises(ServingError) as error:
        Both(kind, deaf)("segment", photo_bytes(), EXPRESSIONS, timeout=0.5)
    assert 0.4 < time.monotonic() - started < 10
    assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_waiting_ends_in_time_where_nobody_answers(kind, deaf):
    started = time.monotonic()
    with pytest.raises(ServingError, match=f"{deaf}: not ready after 0.5 s"):
        Both(kind, deaf)("wait_until_ready", 0.5)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_server_that_cannot_be_reached_is_named(kind):
    with pytest.raises(ServingError, match=r"^127\.0\.0\.1:9: the server cannot be reached: .*asked 4 times") as error:
        Both(kind, "127.0.0.1:9")("segment", photo_bytes(), EXPRESSIONS)
    assert error.value.code == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ServingError, match="cannot be reached") as error:
        Both(kind, "127.0.0.1:9")("status", client={"retries": NO_RETRIES})
    assert "asked" not in str(error.value)


@pytest.fixture(scope="module")
def half_target(half_plus_two, tmp_path_factory):
    base = tmp_path_factory.mktemp("half")
    (base / "1").symlink_to(half_plus_two)
    with Server({"half": base}, OPTIONS) as running:
        yield f"127.0.0.1:{running.port}"


def test_another_models_answer_is_told_apart(half_target):
    with Client(half_target, "half", timeout=30) as client:
        outputs, _ = client.predict({"x": np.array([2.0, 8.0], np.float32)})
        np.testing.assert_array_equal(outputs["y"], [3, 6])
        with pytest.raises(ServingError, match="segment_expressions"):
            client.segment(photo_bytes(), EXPRESSIONS)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_examples_are_classified_and_regressed(kind, half_target):
    ask, half = Both(kind, half_target), {"model_name": "half"}
    examples = [{"x": 2.0}, {"x": [8.0]}]
    assert ask("regress", examples, "regress_x_to_y", client=half) == [3, 6]
    classes = ask("classify", examples, "classify_x_to_y", client=half)
    assert [[score for _, score in row] for row in classes] == [[3], [6]]
    with pytest.raises(ServingError) as error:
        ask("regress", [{"x": "a word"}], "regress_x_to_y", client=half)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ServingError) as error:
        ask("regress", [], "regress_x_to_y", client=half)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ValueError, match="numbers, text or bytes"):
        ask("classify", [{"x": 1j}], client=half)


def predict_response(**outputs):
    response = protos.PredictResponse()
    response.model_spec.version.value = 1
    for name, value in outputs.items():
        is_proto = isinstance(value, protos.TensorProto)
        response.outputs[name].CopyFrom(value if is_proto else from_array(np.array(value)))
    return response


PNG = {"mask_png_bytes": np.array([b"\x89PNG\r\n\x1a\n"], object)}


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (predict_response(), "the model's answer is no mask: no output 'mask_png_bytes'"),
        (predict_response(**PNG), "the model's answer is no mask: UnidentifiedImageError"),
        (predict_response(mask_png_bytes=np.array([b"a", b"b"], object)), "2 answers to 1 expressions"),
        (predict_response(score=protos.TensorProto(dtype=99)), "the answer is damaged: "),
        (predict_response(score=protos.TensorProto(dtype=1, tensor_content=b"abc")), "the answer is damaged: "),
    ],
    ids=["empty", "no picture", "other number", "no dtype", "short"],
)
def test_an_answer_that_is_none_is_told(response, message):
    with scripted_server(answers={"Predict": response}) as (target, _), Client(target, timeout=20) as client:
        with pytest.raises(ServingError, match=f"^{target}: {message}") as error:
            client.segment(photo_bytes(), ["dog"])
    assert error.value.code == grpc.StatusCode.UNKNOWN


def test_one_client_serves_many_threads(server):
    photos = [photo_bytes(seed=seed) for seed in range(4)]
    with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
        expected = [client.segment(photo, EXPRESSIONS)[0].mask for photo in photos]
        found = [None] * 8

        def run(number):
            found[number] = client.segment(photos[number % 4], EXPRESSIONS)[0].mask

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, mask in enumerate(found):
        np.testing.assert_array_equal(mask, expected[number % 4])


def test_a_cancelled_question_ends_at_once(deaf):
    async def run():
        async with AsyncClient(deaf) as client:
            task = asyncio.ensure_future(client.segment(photo_bytes(), EXPRESSIONS))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_neither_client_nor_its_commands_import_tensorflow():
    code = "import sys\nfrom serving.commands import load_test, predict\nprint(*sys.modules, sep='\\n')"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {"serving", "grpc", "numpy", "PIL"} <= loaded
    heavy = {"tensorflow", "tensorflow_serving", "tensorflow_text", "keras", "lts_keras", "matplotlib", "gradio"}
    assert not loaded & heavy


def test_what_no_server_has_room_for_is_asked_once(server):
    attempts = []

    class Counted(Retries):
        def begin(self, timeout):
            attempts.append(super().begin(timeout))
            return attempts[-1]

    with Client(f"127.0.0.1:{server.port}", timeout=30, retries=Counted()) as client:
        with pytest.raises(ServingError, match="2000 rows in one request, more than the 1024 allowed") as error:
            client.segment(photo_bytes(), ["dog"] * 2000)
    assert error.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [one.failed for one in attempts] == [1]
