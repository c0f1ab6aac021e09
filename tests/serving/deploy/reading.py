"""Reads the files of serving/deploy as their tools do: Dockerfiles, ignore lists, flags, rendered kustomizations."""

import copy
import functools
import json
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format

from tests.conftest import ROOT

DEPLOY = ROOT / "serving" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MONITORING = DEPLOY / "monitoring"
OVERLAYS = ("stock", "embedded")
COMPONENTS = ("canary", "batching", "tls", "gpu")


def load_yaml(path):
    """The one document of a YAML file; a key given twice is an error, which PyYAML alone lets pass."""
    (document,) = load_all(path)
    return document


def load_all(path):
    """All documents of a YAML file."""
    return list(yaml.load_all(Path(path).read_text(encoding="utf-8"), Loader=_Strict))


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"keys given twice: {repeated}", node.start_mark)
        return super().construct_mapping(node, deep)


def parse_text(path, message):
    """A text proto file as a message; unknown fields are errors."""
    return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)


def flags_of(words):
    """`--name=value` words as a dict; anything else is an error."""
    pairs = [re.fullmatch(r"--([a-z_]+)=(.*)", word) for word in words]
    assert all(pairs), words
    flags = {pair[1]: pair[2] for pair in pairs}
    assert len(flags) == len(words), f"a flag is given twice: {words}"
    return flags


def read_dockerfile(path):
    """Instructions of a Dockerfile.

    Returns:
        list of `(instruction, words)`; the words of the JSON form are those of the list, others are split as a shell
        does. `HEALTHCHECK`'s are its options and then its command's.
    """
    text = Path(path).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    instructions = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, rest = line.split(maxsplit=1)
        assert name in INSTRUCTIONS, line
        options = []
        while rest.startswith("--"):
            option, rest = rest.split(maxsplit=1)
            options.append(option)
        if name == "HEALTHCHECK":
            command, rest = rest.split(maxsplit=1)
            assert command == "CMD", line
        instructions.append((name, options + (json.loads(rest) if rest.startswith("[") else shlex.split(rest))))
    return instructions


INSTRUCTIONS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split()
)


def ignored(path, patterns):
    """Whether a path is left out of a build's context: the last pattern that fits it or a folder above it decides.

    Args:
        path: str, relative to the context, with `/`.
        patterns: lines of a .dockerignore.
    """
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    result = False
    for pattern in patterns:
        pattern = pattern.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps, pattern = pattern.startswith("!"), pattern.removeprefix("!").strip("/")
        if any(_regex(pattern).fullmatch(folder) for folder in above):
            result = not keeps
    return result


@functools.cache
def _regex(pattern):
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(word, re.escape(word)) for word in words))


def render(overlay, components=()):
    """What `kubectl apply -k` would send for an overlay with components on top.

    Returns:
        list of objects, a copy of its own for each caller.
    """
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here, which renders kustomizations")
    return copy.deepcopy(_render(overlay, tuple(components)))


@functools.cache
def _render(overlay, components):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KUBERNETES, Path(folder) / "kubernetes")
        site = Path(folder) / "site"
        site.mkdir()
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../kubernetes/overlays/{overlay}"],
            "components": [f"../kubernetes/components/{name}" for name in components],
        }
        (site / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        done = subprocess.run(["kubectl", "kustomize", site], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # deprecated fields
    return list(yaml.load_all(done.stdout, Loader=_Strict))


def find(objects, kind, name="lts"):
    """The one object of a kind and name."""
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def server_container(objects):
    """The server's container in its Deployment."""
    (container,) = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container
