"""The REST interface: what TensorFlow Serving's own tests ask of it, over real connections."""

import base64
import gzip
import io
import json
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

from serving.core.settings import ModelSettings
from tests.serving.transport.rest_house import open_rest_house
from tests.small_models import photo_bytes

PHOTO = {"b64": base64.b64encode(photo_bytes()).decode()}
ROW = {"image_bytes": PHOTO, "expression": "the left dog"}


@pytest.fixture(scope="module")
def house(saved_models, half_plus_two, tmp_path_factory):
    base = tmp_path_factory.mktemp("rest")
    for name, version, folder in (("lts", "3", saved_models.first.folder), ("half", "123", half_plus_two)):
        (base / name).mkdir()
        (base / name / version).symlink_to(folder)
    models = {"lts": base / "lts", "half": ModelSettings(base / "half", labels=(("stable", 123), ("two words", 123)))}
    with open_rest_house(models) as opened:
        yield opened


def error_of(answer):
    assert set(answer.json) == {"error"} and answer.headers["content-type"] == "application/json"
    return answer.json["error"]


@pytest.mark.parametrize("choice", ["", "/versions/123", "/labels/stable", "/labels/two%20words"])
def test_what_tensorflow_servings_own_test_asks(house, choice):
    url = f"/v1/models/half{choice}"
    assert house.call(f"{url}:predict", {"instances": [2.0, 3.0, 4.0]}).json == {"predictions": [3.0, 3.5, 4.0]}
    assert house.call(f"{url}:predict", {"inputs": [2.0, 3.0, 4.0]}).json == {"outputs": [3.0, 3.5, 4.0]}
    rows = {"signature_name": "serving_default", "instances": [[1.0, 2.0], [3.0, 4.0]]}
    assert house.call(f"{url}:predict", rows).json == {"predictions": [[2.5, 3.0], [3.5, 4.0]]}
    examples = {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}
    assert house.call(f"{url}:regress", examples).json == {"results": [42.0]}
    examples = {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": 10.0}]}
    assert house.call(f"{url}:classify", examples).json == {"results": [[["", 12.0]], [["", 7.0]]]}
    state = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert house.call(url).json == {"model_version_status": [state]}
    metadata = house.call(f"{url}/metadata").json
    assert metadata["model_spec"] == {"name": "half", "signature_name": "", "version": "123"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": False}
    assert signature["inputs"]["x"] == {"dtype": "DT_FLOAT", "name": "x:0", "tensor_shape": shape}
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_a_context_is_shared_by_all_examples(house):
    request = {"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{}, {"x": 8.0}]}
    assert house.call("/v1/models/half:regress", request).json == {"results": [5.0, 6.0]}


def decode(value):
    with Image.open(io.BytesIO(base64.b64decode(value["b64"]))) as image:
        return np.asarray(image) > 0


def test_rows_and_columns_equal_the_keras_model(house, saved_models):
    expected = saved_models.first.predictor(photo_bytes(), "the left dog")
    rows = house.call("/v1/models/lts:predict", {"instances": [ROW, ROW]}).json["predictions"]
    request = {"signature_name": "segment_expressions"}
    request |= {"inputs": {"image_bytes": [PHOTO], "expression": ["the left dog"]}}
    columns = house.call("/v1/models/lts/versions/3:predict", request).json["outputs"]
    assert len(rows) == 2
    for png, box in ((rows[1]["mask_png_bytes"], rows[1]["box"]), (columns["mask_png_bytes"][0], columns["box"][0])):
        np.testing.assert_array_equal(decode(png), expected.mask)
        assert tuple(box) == expected.box


def test_base64_with_newlines_or_without_padding(house):
    expected = house.call("/v1/models/lts:predict", {"instances": [ROW]}).json
    for text in (base64.encodebytes(photo_bytes()).decode(), PHOTO["b64"].rstrip("=")):
        assert (
            house.call("/v1/models/lts:predict", {"instances": [ROW | {"image_bytes": {"b64": text}}]}).json == expected
        )


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("POST", "/v1/foo", 400, "Malformed request: POST /v1/foo"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("POST", "/v1/models", 400, "Malformed request"),
        ("GET", "/v1/models/debug/model_name", 400, "Malformed request"),
        ("GET", "/v1/models/half:predict", 400, "Malformed request"),
        ("GET", "/v1/models/half/version/50:predict", 400, "Malformed request"),
        ("POST", "/v1/models/half/version/50:regress", 400, "Malformed request"),
        ("POST", "/v1/models/half/versions/HELLO:regress", 400, "Malformed request"),
        (
            "POST",
            f"/v1/models/half/versions/{2**64 - 1}:regress",
            400,
            "Failed to convert version: 18446744073709551615",
        ),
        ("GET", f"/v1/models/half/versions/{'9' * 5000}", 400, "Failed to convert version"),
        ("GET", f"/v1/models/half/versions/{'0' * 25}{'9' * 5000}", 400, "Failed to convert version"),
        ("POST", f"/v1/models/half/versions/{'0' * 25}{2**63}:predict", 400, "Failed to convert version"),
        ("POST", f"/v1/models/half/versions/{'0' * 5000}50:predict", 404, "Specific(half, 50)"),
        ("GET", f"/v1/models/half/versions/{2**63 - 1}", 404, "Could not find version 9223372036854775807"),
        ("POST", "/v1/models/half/metadata", 400, "Malformed request"),
        ("POST", "/v1/models/half/label/some_label:regress", 400, "Malformed request"),
        ("POST", "/v1/models/half/versions/50/labels/some_label:regress", 400, "Malformed request"),
        ("POST", "/v1/models/half/labels/nothing:predict", 400, "Unrecognized servable version label"),
        ("POST", "/v1/models/foo:predict", 404, "Servable not found for request: Latest(foo)"),
        ("POST", "/v1/models/half/versions/50:predict", 404, "Servable not found for request: Specific(half, 50)"),
        ("POST", "/v1/models/half:predict?a=b", 400, "Malformed request: POST /v1/models/half:predict?a=b"),
        ("POST", "/v1/models/half:PREDICT", 400, "Malformed request"),
        ("POST", "/V1/Models/foo:predict", 404, "Latest(foo)"),
        ("POST", "/v1/models/%66oo%2Fbar+%:predict", 404, "Latest(foo/bar+%)"),
        ("PUT", "/v1/models/half:predict", 400, "Malformed request: PUT"),
        ("DELETE", "/v1/models/half", 400, "Malformed request: DELETE"),
        ("OPTIONS", "/v1/models/half:predict", 400, "Origin header is missing in CORS preflight"),
        ("GET", "/", 404, "Not found: GET /"),
        ("GET", "/index.html", 404, "Not found"),
        ("POST", "/v2/models/half:predict", 404, "Not found"),
        ("GET", "/v1/models/foo", 404, "Could not find any versions of model foo"),
        ("GET", "/v1/models/foo/metadata", 404, "Latest(foo)"),
        ("GET", "/monitoring/prometheus/metrics", 404, "Not found"),
    ],
)
def test_paths(house, method, path, code, words):
    answer = house.call(path, {"instances": [1.0]} if method in ("POST", "PUT") else None, method)
    assert answer.code == code and words in error_of(answer)


def test_case_of_paths(house):
    assert house.call("/V1/Models/half/Versions/123:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}
    # TensorFlow Serving matches this one, and then takes it for the status.
    assert "model_version_status" in house.call("/v1/models/half/METADATA").json


@pytest.mark.parametrize(
    ("model", "body", "code", "words"),
    [
        ("half", b"", 400, "JSON Parse error: The document is empty"),
        ("half", b" \n", 400, "JSON Parse error: The document is empty"),
        ("half", b"instances = [1, 2]", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("half", b"{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("half", b'{"instances": [1.0]} x', 400, "must not be followed by other values"),
        ("half", b'{"instances": [1e999]}', 400, "Number too big to be stored in double"),
        ("half", b'{"instances": ["\xff"]}', 400, "Invalid encoding in string"),
        ("half", b"[" * 100_000, 400, "nested too deeply"),
        ("half", [1.0], 400, "Is not object"),
        ("half", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("half", {"instances": [1.0], "inputs": [1.0]}, 400, "expecting only one of 'inputs' or 'instances' keys"),
        ("half", {"instances": 1.0}, 400, "Excepting 'instances' to be an list/array"),
        ("half", {"instances": []}, 400, "No values in 'instances' array"),
        ("half", {"instances": ["x", "y"]}, 400, 'JSON Value: "x" Type: String is not of expected type: float'),
        ("half", {"instances": [True]}, 400, "JSON Value: true Type: True is not of expected type: float"),
        ("half", {"instances": [2**24]}, 400, "Cannot convert JSON value: 16777216 to float without loss of precision"),
        ("half", {"instances": [1e39]}, 400, "Cannot convert JSON value: 1e+39 to float without loss"),
        ("half", {"instances": [[1.0], [1.0, 2.0]]}, 400, "element: 1 key: x of 'instances' list. Error: INVALID_ARG"),
        ("half", {"instances": [{"x": 1.0}, 2.0]}, 400, "Expecting object but got list at item 1 of input list"),
        ("half", {"instances": [1.0, {"x": 1.0}]}, 400, "Expecting value/list but got object at item 1 of input list"),
        ("half", {"instances": [{"z": 1.0}]}, 400, "does not have named input: z"),
        ("half", b'{"signature_name": "\\ud800", "instances": [1.0]}', 400, "The surrogate pair in string is invalid"),
        ("half", {"signature_name": 100}, 400, "'signature_name' key must be a string value."),
        (
            "half",
            {"signature_name": "no", "instances": [1.0]},
            400,
            'Serving signature name: "no" not found in signature',
        ),
        ("lts", {"instances": [{"expression": "x"}]}, 400, "keys must be equal to: expression,image_bytes"),
        ("lts", {"instances": ["x"]}, 400, "instances is a plain list, but expecting list of objects"),
        ("lts", {"inputs": ["x"]}, 400, "inputs is a plain value/list, but expecting an object"),
        ("lts", {"inputs": {"expression": ["x"]}}, 400, "Missing named input: image_bytes in 'inputs' object."),
        (
            "lts",
            {"instances": [ROW | {"expression": 5}]},
            400,
            "JSON Value: 5 Type: Number is not of expected type: string",
        ),
        ("lts", {"instances": [ROW | {"image_bytes": {"b64": "%%"}}]}, 400, "Unable to base64 decode"),
        ("lts", {"instances": [ROW | {"image_bytes": {"b65": ""}}]}, 400, "not formatted correctly for base64 data"),
        ("lts", {"instances": [ROW | {"image_bytes": "junk"}]}, 400, "no JPEG or PNG photo"),
    ],
)
def test_wrong_predict_requests(house, model, body, code, words):
    answer = house.call(f"/v1/models/{model}:predict", body)
    assert answer.code == code and words in error_of(answer)


@pytest.mark.parametrize(
    ("action", "body", "code", "words"),
    [
        ("classify", {}, 400, "key 'examples' is expected and was not found"),
        ("classify", {"examples": {}}, 400, "Expecting 'examples' value to be an list/array"),
        ("regress", {"examples": []}, 400, "'examples' value is an empty array"),
        ("regress", {"examples": [1]}, 400, "Example must be JSON object but got JSON Number"),
        ("regress", {"examples": [{"x": None}]}, 400, "Feature: x has element with unexpected JSON type: Null"),
        (
            "regress",
            {"examples": [{"x": [1, 2.0]}]},
            400,
            "Unexpected element type in feature: x expecting type: int64",
        ),
        ("regress", {"examples": [{"x": 2**63}]}, 400, "has uint64 element. Only int64 is supported."),
        (
            "regress",
            {"signature_name": "no", "examples": [{"x": 1.0}]},
            400,
            "No signature was found with the name: no",
        ),
        ("classify", {"signature_name": "classify_x_to_y", "examples": [{"y": 1.0}]}, 400, "Feature: x"),
    ],
)
def test_wrong_examples(house, action, body, code, words):
    answer = house.call(f"/v1/models/half:{action}", body)
    assert answer.code == code and words in error_of(answer)


def test_answers_are_zipped_for_who_takes_it(house):
    request = {"instances": [[0.25] * 100] * 100}
    plain = house.call("/v1/models/half:predict", request)
    assert "content-encoding" not in plain.headers
    for accepted, zipped in (("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("identity", False)):
        answer = house.call("/v1/models/half:predict", request, accept_encoding=accepted)
        assert (answer.headers.get("content-encoding") == "gzip") is zipped
        assert (gzip.decompress(answer.content) if zipped else answer.content) == plain.content


def test_cors_headers_come_with_the_flag_alone(house, half_plus_two, tmp_path):
    (tmp_path / "1").symlink_to(half_plus_two)
    names = ("access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers")
    asked = {"method": "OPTIONS", "origin": "https://a.example"}
    without = house.call("/v1/models/half:predict", **asked)
    assert without.code == 200 and not set(names) & set(without.headers)
    with open_rest_house({"half": tmp_path}, rest_cors=True) as opened:
        good, wrong = (opened.call("/v1/models/half:predict", {"instances": value}) for value in ([1.0], "x"))
        for answer in (opened.call("/v1/models/half:predict", **asked), good, wrong):
            assert [answer.headers[name] for name in names] == ["*", "POST, GET", "Content-Type"]
        assert (good.code, wrong.code) == (200, 400)
        assert opened.call("/v1/models/half:predict", method="OPTIONS", origin="null").code == 400


class Page:
    def page(self):
        return b"lts_up 1\n"


def test_the_page_of_metrics_is_served_beside(half_plus_two, tmp_path):
    (tmp_path / "1").symlink_to(half_plus_two)
    with open_rest_house({"half": tmp_path}, metrics=Page(), metrics_path="/metrics") as opened:
        answer = opened.call("/metrics")
        assert (answer.code, answer.content) == (200, b"lts_up 1\n")
        assert answer.headers["content-type"].startswith("text/plain")
        wrong = opened.call("/metrics?a")
        assert (wrong.code, wrong.content) == (400, b"Unexpected path: /metrics?a. Should be /metrics")


def test_each_request_ends_once_in_the_stream_of_events(house):
    house.ended.clear()
    house.call("/v1/models/half:predict", {"instances": [[1.0], [2.0]]})
    house.call("/v1/models/half:predict", b"{")
    house.call("/v1/models/foo:classify", {"examples": [{}]})
    house.call("/v1/models/half:regress", b"x" * 10, content_encoding="gzip")
    house.call("/v1/models/half")
    seen = [
        (event.model, event.version, event.method, event.transport, event.code.name, event.rows)
        for event in house.ended
    ]
    assert seen == [
        ("half", 123, "Predict", "REST", "OK", 2),
        ("half", None, "Predict", "REST", "INVALID_ARGUMENT", 0),
        ("foo", None, "Classify", "REST", "NOT_FOUND", 0),
        ("half", None, "Regress", "REST", "INVALID_ARGUMENT", 0),
        ("half", None, "GetModelStatus", "REST", "OK", 0),
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl -s http://localhost:8501/v1/models/half", "AVAILABLE"),
        (
            "curl -s -d '{\"instances\": [1.0,2.0,5.0]}' -X POST http://localhost:8501/v1/models/half:predict",
            "[2.5, 3.0, 4.5]",
        ),
        (
            'curl -s -d \'{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}\' '
            "-X POST http://localhost:8501/v1/models/half:regress",
            '{"results": [2.5, 3.0]}',
        ),
        (
            "curl -s -i -d '{\"instances\": [1.0,5.0]}' -X POST http://localhost:8501/v1/models/no:predict",
            "404 Not Found",
        ),
        ("curl -s --compressed http://localhost:8501/v1/models/half/metadata", "signature_def"),
        ("curl -s -I http://localhost:8501/v1/models/half", "HTTP/1.1 400"),
    ],
)
def test_curl_as_tensorflow_serving_documents_it(house, command, expected):
    arguments = shlex.split(command.replace("localhost:8501", f"127.0.0.1:{house.port}"))
    answer = subprocess.run(
        [*arguments, "--noproxy", "*"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert expected in answer
    if answer.startswith("{"):
        json.loads(answer)
