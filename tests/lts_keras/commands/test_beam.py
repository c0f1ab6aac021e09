import pytest
import yaml


def test_the_command_prepares_and_says_where_the_configuration_lies(tmp_path, capsys):
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    from lts_keras.commands import beam

    (tmp_path / "c.yaml").write_text("data: {sources: [{kind: scenes, num_photos: {train: 4}}]}\n")
    command = ["--config", str(tmp_path / "c.yaml"), "--workdir", str(tmp_path / "w"), "data.photos_per_shard=2"]
    assert beam.main([*command, "--direct_num_workers=1"]) == 0
    told = capsys.readouterr().out
    assert "shard 2 of 2" in told and f"the whole in {tmp_path}/w/config.yaml: differs from the defaults in" in told
    assert yaml.safe_load((tmp_path / "w/config.yaml").read_text())["data"]["photos_per_shard"] == 2
    assert beam.main([*command[:2], "--workdir", str(tmp_path / "w"), "data.nothing=2"]) == 2
    assert "unknown key 'data.nothing'" in capsys.readouterr().err
