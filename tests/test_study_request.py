"""What a command line asks a study for: data, changes of the paper's experiments, and what they will take."""

import json
from dataclasses import replace

import pytest

from sttp.study.cli import run
from sttp.study.cli.estimate import Estimate, Row, in_words
from sttp.study.cli.options import load_wings
from sttp.study.cli.request import DataChoice, changed, named_study, read_change, read_data, requested_study


def test_data_is_a_name_a_path_or_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("cifar10", "digits", "flowers", "my:images", "stl10:x", "C:\\cifar100"):
        (tmp_path / folder).mkdir()
    (tmp_path / "flowers.zip").write_bytes(b"")
    (tmp_path / "stl10_binary.tar.gz").write_bytes(b"")
    for text, expected in {
        "cifar10": ("cifar10", None),  # a name, whatever lies here
        "stl10-unlabelled": ("stl10-unlabelled", None),
        "stl10:/somewhere": ("stl10", "/somewhere"),
        "folder:C:\\images": ("folder", "C:\\images"),
        "./cifar10": ("cifar10", "./cifar10"),
        "./cifar10/": ("cifar10", "./cifar10/"),
        f"{tmp_path}/cifar10": ("cifar10", f"{tmp_path}/cifar10"),
        "flowers": ("folder", "flowers"),
        "flowers.zip": ("folder", "flowers.zip"),
        "./digits": ("folder", "./digits"),
        "nowhere/cifar10": ("cifar10", "nowhere/cifar10"),  # where it may be fetched to
        "stl10_binary.tar.gz": ("stl10", "stl10_binary.tar.gz"),
        "my:images": ("folder", "my:images"),
        "stl10:x": ("stl10", "x"),
        "./stl10:x": ("folder", "./stl10:x"),
        "C:\\cifar100": ("folder", "C:\\cifar100"),
    }.items():
        assert read_data(text) == DataChoice(*expected), text
    monkeypatch.chdir(tmp_path / "cifar10")
    assert read_data(".") == DataChoice("cifar10", ".")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_data("~/flowers") == DataChoice("folder", "~/flowers")
    for text, words in {
        "cifar01": "data has no choice 'cifar01'; did you mean 'cifar10'",
        "stl1:/somewhere": "data has no choice 'stl1:/somewhere'; did you mean 'stl10'",
        "cifar10:": "data has no choice 'cifar10:'; did you mean 'cifar10'",
        "C:\\nowhere": r"no choice 'C:.*nowhere'; choose from digits, .* or give a folder or file that is there",
        "": "data has no choice ''; choose from",
    }.items():
        with pytest.raises(ValueError, match=words):
            read_data(text)


def test_values_of_an_experiment_can_be_changed():
    changes = ["steps=7", "averaging=0.9", "methods=['sn', 'sttp stiefel R']"]
    study = requested_study("paper-table2", changes=changes)
    assert {(case.steps, case.settings.averaging) for case in study.cases} == {(7, 0.9)}
    found = [(case.parameterization, case.geometry, case.spectrum) for case in study.cases]
    assert found == [("sn", None, None), ("sttp", "stiefel", "regularized")]
    assert read_change("network=wrn-16-2") == ("network", "wrn-16-2")
    with pytest.raises(ValueError, match="'step'; did you mean 'steps'"):
        requested_study("digits", changes=["step=7"])
    with pytest.raises(ValueError, match="--set must be KEY=VALUE"):
        requested_study("digits", changes=["steps"])
    with pytest.raises(ValueError, match="scale is for the paper's experiments"):
        requested_study("digits", scale=0.5)


def test_changes_of_a_factor_are_its_values_or_the_centre():
    load_wings()
    study = named_study("digits")
    assert changed(study, {"rank": [3, 5]}).factors["rank"] == (3, 5)
    assert changed(study, {"ranks": [3, 5]}).factors["rank"] == (3, 5)
    assert changed(study, {"rank": 3}).factors["rank"] == (3,)
    assert changed(study, {}) == study
    one_at_a_time = named_study("optimizers")
    moved = changed(one_at_a_time, {"optimizer": "pogo"})
    assert moved.factors == one_at_a_time.factors
    assert moved.centre["optimizer"] == "pogo"
    assert replace(moved, shared=one_at_a_time.shared) == one_at_a_time
    assert "metric" not in changed(one_at_a_time, {"metrics": []}).factors


def test_the_dry_run_prints_runs_compressions_time_and_memory(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = ["study", "paper-fig7", "--dry-run", "--executor", "sequential", "--set", "batch_size=8"]
    arguments += ["--set", "methods=['dense', 'sttp stiefel']", "--set", "ranks=[2, 4]", "--set", "width=4"]
    assert run([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["cases"]
    assert [row["case"].removesuffix(", regularized") for row in rows] == [
        "dense",
        "sttp stiefel, rank 2",
        "sttp stiefel, rank 4",
    ]
    assert all(row["step_seconds"] > 0 and row["memory"] > 2**25 for row in rows)
    assert rows[1]["z"] < rows[2]["z"] < rows[0]["z"] == 100
    assert list(tmp_path.iterdir()) == []


def test_all_runs_are_shared_out_among_the_workers():
    rows = tuple(Row("case", "", runs, steps, 50.0, s, 1.0) for runs, steps, s in ((2, 100, 0.5), (3, 10, 2)))
    assert Estimate(requested_study("digits"), rows, workers=2).seconds == 80.0


def test_durations_are_told_in_words():
    assert [in_words(s) for s in (4.4, 300, 20_000, 1e6)] == ["4 s", "5 min", "5.6 h", "11.6 days"]
