"""What the serving benchmark says of times: ratios of medians, their spread by round, and whether a target is met."""

import importlib.util
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark's module; its folder comes last, as the file has the name of the package it measures."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    spec = importlib.util.spec_from_file_location("serving_benchmark", ROOT / "benchmarks" / "serving.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compare(benchmark):
    """How the benchmark's parts put times together."""
    return importlib.import_module("serving_wire").compare


@pytest.mark.parametrize(("slowest", "met"), [(1.04, True), (1.12, False)])
def test_a_target_is_judged_by_the_ratio_of_medians(benchmark, compare, capsys, slowest, met):
    name = "8 clients / 8 photos in one call"
    found = compare([1.0, slowest, 9.0], [1.0, 0.5, 2.0])
    assert found["ratio"] == slowest
    assert benchmark.say(name, found) is met
    told = capsys.readouterr().out
    assert told.startswith(f"{name}: {slowest:.3f} (1.000 .. 4.500 by round; {1000 * slowest:.0f} ms to 1000 ms)")
    assert told.endswith(f"target at most 1.1: {'met' if met else 'MISSED'}\n")


def test_what_has_no_target_is_told_alone(benchmark, compare, capsys):
    assert benchmark.say("onnxruntime float32 / plain Keras", compare([1.0], [2.0]))
    assert "target" not in capsys.readouterr().out


@pytest.mark.parametrize("misses", [True, False])
def test_a_missed_target_fails_a_check(benchmark, compare, monkeypatch, tmp_path, capsys, misses):
    """The races themselves take minutes; here, what becomes of what they found."""
    seconds = 2.0 if misses else 1.0
    found = {"first request after warm-up / median": compare([seconds], [1.0])}
    monkeypatch.setattr(benchmark, "export_models", lambda *_: None)
    monkeypatch.setattr(benchmark, "race_wire", lambda *_: found)
    words = ["--only", "wire", "--json", str(tmp_path / "r.json")]
    assert benchmark.main([*words, "--check"]) == int(misses) and benchmark.main(words) == 0
    assert f'"ratio": {seconds}' in (tmp_path / "r.json").read_text()
