"""`sttp check`: what it prints, its exit codes, its plots."""

import json

import pytest
import torch
from typer.testing import CliRunner

from sttp.manifolds import QR, Stiefel
from sttp.study import check
from sttp.study.check import Entry, entries, select
from sttp.study.command_line import app, check_command
from sttp.study.command_line import run as run_command_line

SOME = ["stiefel-euclidean-qr", "grassmann-polar", "geoopt-*"]


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["check", *arguments])


def test_the_table_has_every_metric_retraction_and_transport() -> None:
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names)) == 30 + 4 + 3
    assert {"stiefel-canonical-cayley-isometric", "grassmann-exponential", "train-householder-reduced"} < set(names)
    assert names[-3:] == ["geoopt-stiefel", "geoopt-euclidean-stiefel", "geoopt-euclidean-stiefel-exact"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ours_pass_and_the_default_of_geoopt_is_shown_failing(dtype: str) -> None:
    result = invoke(*SOME, "--dtype", dtype)
    assert result.exit_code == 0, result.output
    assert "geoopt-stiefel: projection idempotent" in result.output
    assert "geoopt-stiefel: first order  slope 1.00 (expected 2)" in result.output
    assert "geoopt-stiefel: exponential velocity" in result.output
    assert "grassmann-polar:" not in result.output


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_json_is_for_programs(dtype: str) -> None:
    result = invoke("--json", "--dtype", dtype)
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer["passed"]
    assert (answer["dtype"], answer["device"]) == (dtype, "cpu")
    verdicts = {row["name"]: row["passed"] for row in answer["manifolds"]}
    assert [name for name, passed in verdicts.items() if not passed] == ["geoopt-stiefel"]
    assert len(verdicts) == 37
    assert answer["manifolds"][0]["checks"][0]["findings"][0]["verdict"] == "passed"


def test_a_failure_of_ours_is_exit_code_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Entry("wrong", Stiefel("euclidean", QR()), second_order=True)
    monkeypatch.setattr(check, "entries", lambda: (wrong,))
    result = invoke()
    assert result.exit_code == 1
    assert "wrong: second order  slope 2.00 (expected 3)" in result.output
    assert invoke("--json").exit_code == 1
    assert run_command_line(["check"]) == 1


def test_plots_are_drawn(tmp_path) -> None:
    folder = tmp_path / "new" / "plots"
    assert invoke("stiefel-euclidean-qr", "--plot", str(folder)).exit_code == 0
    assert {path.name for path in folder.iterdir()} == {
        "stiefel-euclidean-qr-axioms.png",
        "stiefel-euclidean-qr-retraction.png",
    }


def test_bad_input_is_refused_by_name(tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match="NAME must be a manifold or a pattern, got 'steifel'; there are grassmann"):
        select(["steifel"], entries())
    assert run_command_line(["check", "steifel"]) == 2
    assert capsys.readouterr().err.startswith("sttp: NAME must be a manifold or a pattern, got 'steifel'")
    assert run_command_line(["check", "--dtype", "float16"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ValueError, match="--device must be one that this machine has, got 'nothing'"):
        check_command(device="nothing")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="--plot must be a folder to write to"):
        check_command(["stiefel-euclidean-qr"], plot=file)


def test_the_number_of_threads_is_given_back() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        invoke("stiefel-euclidean-qr")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
