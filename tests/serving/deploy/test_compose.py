"""The compose file: the specification's own JSON schema, then everything that it names."""

import importlib.resources
import json
import re

import jsonschema
import pytest

from serving.flags import FLAGS
from serving.parsing import parse_flags
from tests.conftest import ROOT
from tests.serving.deploy.reading import DEPLOY, flags_of, load_yaml, read_dockerfile

COMPOSE = load_yaml(DEPLOY / "compose.yaml")
SERVICES = COMPOSE["services"]
servers = pytest.mark.parametrize("name", ("embedded", "stock"))


def test_the_schema_of_the_specification_takes_it():
    schema = importlib.resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert not [error.message for error in validator.iter_errors(COMPOSE)]
    broken = {**COMPOSE, "services": {"stock": {**SERVICES["stock"], "comand": []}}}
    assert not validator.is_valid(broken)  # the schema is strict


def mounts(service):
    """dict from the path inside to the file or folder of the checkout; volumes are left out."""
    found = {}
    for entry in service.get("volumes", ()):
        match = re.fullmatch(r"(\$\{[A-Z_]+:-([^}]+)\}|[^:]+):([^:]+)(:ro)?", entry)
        source = match[2] or match[1]
        if source.startswith("."):
            found[match[3]] = (DEPLOY / source).resolve()
        else:
            assert source in COMPOSE["volumes"], entry
    return found


@servers
def test_the_flags_are_those_of_both_servers(name):
    words = SERVICES[name]["command"]
    values, given = parse_flags(words)
    assert not [flag for flag in given if FLAGS[flag].ours]
    published = {entry.split(":")[-1] for entry in SERVICES[name]["ports"]}
    assert published == {str(values["port"]), str(values["rest_api_port"])}
    assert all(entry.startswith("127.0.0.1:") for service in SERVICES.values() for entry in service["ports"])


@servers
def test_files_that_flags_name_are_mounted(name):
    inside = mounts(SERVICES[name])
    for flag, value in flags_of(SERVICES[name]["command"]).items():
        if flag.endswith("_file"):
            assert inside[value].is_file(), flag
    assert "/models/lts" in inside  # base_path of models.config
    assert inside["/models/lts"] == ROOT / "runs" / "quickstart" / "serving"


@pytest.mark.parametrize("name", ("prometheus", "grafana"))
def test_the_monitoring_finds_its_files(name):
    assert mounts(SERVICES[name])
    for path in mounts(SERVICES[name]).values():
        assert path.exists(), path


def test_the_image_is_built_from_a_dockerfile_that_is_there():
    build = SERVICES["embedded"]["build"]
    context = (DEPLOY / build["context"]).resolve()
    assert context == ROOT
    assert read_dockerfile(context / build["dockerfile"])


def test_each_profile_has_one_server_and_the_monitoring():
    for profile in ("embedded", "stock"):
        members = {name for name, service in SERVICES.items() if profile in service["profiles"]}
        assert members == {profile, "prometheus", "grafana"}


def test_a_stopping_server_has_its_time():
    grace = int(re.fullmatch(r"(\d+)s", SERVICES["embedded"]["stop_grace_period"])[1])
    values, _ = parse_flags(SERVICES["embedded"]["command"])
    assert grace > values["shutdown_grace_seconds"]


def test_images_are_of_one_version():
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]
