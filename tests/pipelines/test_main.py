import subprocess
import sys

import pytest
import yaml

from lts_keras.config.read import parse_config
from pipelines.__main__ import main
from pipelines.stages import STAGES
from tests.pipelines.test_versions import saved_model


def test_help_names_every_command_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert all(word in text for word in ("run", "compile", "rollback", "quickstart", "exit codes"))


def test_compile_writes_every_stage_with_the_resolved_configuration_and_the_volume(tmp_path, repo, capsys):
    output = tmp_path / "pipeline.yaml"
    words = ["compile", "train.epochs=3", "--config", str(repo / "configs/quickstart.yaml"), "seed=9"]
    assert main([*words, "--output", str(output), "--image", "registry/lts:1", "--volume", "claim:/mnt"]) == 0
    pipeline, platform = yaml.safe_load_all(output.read_text())
    assert {name.replace("-", "_") for name in pipeline["root"]["dag"]["tasks"]} == set(STAGES)
    images = {executor["container"]["image"] for executor in pipeline["deploymentSpec"]["executors"].values()}
    assert images == {"registry/lts:1"}
    defaults = pipeline["root"]["inputDefinitions"]["parameters"]
    config = parse_config(yaml.safe_load(defaults["config"]["defaultValue"]))
    assert (config.name, config.train.epochs, config.seed) == ("quickstart", 3, 9)
    told = capsys.readouterr().out
    assert f"the whole in the parameter config of {output}: differs" in told and "seed: 9\n" in told
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(mounts) == len(STAGES) and mounts["exec-train"]["pvcMount"][0]["mountPath"] == "/mnt"


def test_no_stage_runs_before_the_ones_it_depends_on(tmp_path, repo):
    output = tmp_path / "pipeline.yaml"
    main(["compile", "--config", str(repo / "configs/quickstart.yaml"), "--output", str(output)])
    tasks = yaml.safe_load(output.read_text())["root"]["dag"]["tasks"]

    def before(name):
        direct = {one.replace("-", "_") for one in tasks[name.replace("_", "-")].get("dependentTasks", [])}
        return direct.union(*(before(one) for one in direct))

    assert {"validate_data"} <= before("train")
    assert {"train", "evaluate"} <= before("bless")
    assert {"bless"} <= before("export")
    assert {"bless", "export", "infra_validate"} <= before("push")
    assert before("register") == set(STAGES) - {"register"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "--config", "nope.yaml", "--workdir", "w"], "nope.yaml: cannot read the configuration"),
        (["run", "--config", "{config}", "--workdir", "w", "train.epoch=3"], "did you mean 'epochs'"),
        (["compile", "--config", "{config}", "--output", "p.yaml", "--volume", "claim"], "claim:/path"),
        (["rollback", "--serving-dir", "w"], "holds no version"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words, line, tmp_path, repo, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([word.format(config=repo / "configs/quickstart.yaml") for word in words]) == 2
    message = capsys.readouterr().err
    assert line in message and message.count("\n") == 1


def test_rollback_says_what_it_published(tmp_path, capsys):
    for content in "ab":
        saved_model(tmp_path / content, content)
    from pipelines.versions import publish

    publish(tmp_path / "serving", tmp_path / "a", {})
    publish(tmp_path / "serving", tmp_path / "b", {})
    assert main(["rollback", "--serving-dir", str(tmp_path / "serving")]) == 0
    assert "version 3 published: the files of version 1" in capsys.readouterr().out


def test_help_needs_neither_tensorflow_nor_kfp(repo):
    code = "import sys, pipelines.__main__; sys.exit(any(name in sys.modules for name in ('tensorflow', 'kfp')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo).returncode == 0
