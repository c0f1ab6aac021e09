import json

import pytest

from lts_keras.config.errors import ConfigError
from lts_keras.training.tf_config import read_tf_config

TWO = {"worker": ["a:1", "b:2"]}


def config(cluster=TWO, **task):
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1} | task})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it must be JSON. Received: '{' ("),
        ("", "it must be JSON. Received: ''"),
        ("[]", '{"cluster": {"worker": ["host:port", ...]}, "task": ...}. Received: \'[]\''),
        (config({}), '"task": ...}. Received: '),
        (json.dumps({"cluster": TWO}), '"task" must be {"type": "worker", "index": 0} or another of the cluster.'),
        (config(index=2), "must be one of the cluster: worker 0, worker 1. Received: "),
        (config(index=-1), "must be one of the cluster: worker 0, worker 1. Received: "),
        (config(index="one"), "must be one of the cluster: worker 0, worker 1. Received: "),
        (config(index=[]), '"task" must be one of the cluster: worker 0, worker 1. Received: '),
        (config(type="chief", index=0), "must be one of the cluster: worker 0, worker 1. Received: "),
        (config({**TWO, "ps": ["c:3"]}), "the roles are chief and worker. Received: ps"),
        (config({**TWO, "evaluator": ["c:3"]}), "the roles are chief and worker. Received: evaluator"),
        (config({**TWO, "chief": ["c:3", "d:4"]}), "there is one chief. Received: 2"),
        (config({"worker": "a:1"}), "cluster.worker must be a list of \"host:port\". Received: 'a:1'"),
        (config({"worker": ["a:1", "b"]}), "cluster.worker[1] must be \"host:port\". Received: 'b'"),
        (config({"worker": ["a:1", "b:99999"]}), "cluster.worker[1] must be"),
        (config({"worker": ["a:1", 2]}), "cluster.worker[1] must be"),
        (config({"worker": ["a:1", "a:1"]}), "every worker needs an address of its own. Received: a:1 twice"),
        (config({"worker": []}), "cluster must name workers. Received: "),
    ],
)
def test_what_is_wrong_is_one_line_that_says_so(text, words):
    with pytest.raises(ConfigError) as error:
        read_tf_config(text)
    line = str(error.value)
    assert line.startswith("TF_CONFIG: ") and words in line and "\n" not in line and len(line) < 250, line


def test_the_chief_comes_first_and_the_index_may_be_text():
    cluster = read_tf_config(config({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, index="1"))
    assert list(cluster.addresses) == [("chief", 0), ("worker", 0), ("worker", 1)]
    assert cluster.own == ("worker", 1) and cluster.chief == ("chief", 0)
    assert cluster.name(cluster.own) == "worker 1 (b:2)"
    assert read_tf_config(config()).chief == ("worker", 0)


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(index=0))
    assert read_tf_config().own == ("worker", 0)
