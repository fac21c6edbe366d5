"""`sttp check`: what it prints, its exit codes, its plots."""

import json

import pytest

from sttp.manifolds import QR, Stiefel
from sttp.manifolds.checks import CheckedManifold, known_manifolds
from sttp.study.cli import check_rows, run

SOME = ["stiefel-euclidean-qr", "grassmann-polar", "geoopt-*"]


@pytest.fixture
def check(capsys):
    """Run the command; return its exit code, standard output and standard error."""

    def invoke(*arguments):
        code = run(["check", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def test_the_table_has_every_metric_retraction_and_transport_and_geoopts_at_its_end():
    names = [row.name for row in check_rows.known_rows()]
    assert len(names) == len(set(names)) == 30 + 4 + 3
    assert {"stiefel-canonical-cayley-isometric", "grassmann-exponential", "train-householder-reduced"} < set(names)
    assert names == [manifold.name for manifold in known_manifolds()] + names[-3:]
    assert all(name.startswith("geoopt-") for name in names[-3:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ours_pass_and_the_default_of_geoopt_is_shown_failing(check, dtype):
    code, out, _ = check(*SOME, "--dtype", dtype)
    assert code == 0
    assert "geoopt-stiefel: projection idempotent" in out
    assert "geoopt-stiefel: first order  slope 1.00 (expected 2)" in out
    assert "geoopt-stiefel: exponential velocity" in out
    assert "grassmann-polar:" not in out


def test_json_is_for_programs(check):
    code, out, _ = check("--json", *SOME)
    answer = json.loads(out)
    assert code == 0
    assert answer["passed"]
    assert (answer["dtype"], answer["device"]) == ("float64", "cpu")
    verdicts = {row["name"]: row["passed"] for row in answer["manifolds"]}
    assert [name for name, passed in verdicts.items() if not passed] == ["geoopt-stiefel"]
    assert len(verdicts) == 2 + 3
    assert answer["manifolds"][0]["checks"][0]["findings"][0]["verdict"] == "passed"


def test_without_names_all_are_checked():
    every = [row.name for row in check_rows.known_rows()]
    assert [row.name for row in check_rows.requested_rows(())] == every


def test_a_failure_of_ours_is_exit_code_one(check, monkeypatch):
    wrong = CheckedManifold("wrong", Stiefel("euclidean", QR()), second_order=True)
    monkeypatch.setattr(check_rows, "known_rows", lambda: (check_rows.Row(wrong),))
    code, out, _ = check()
    assert code == 1
    assert "wrong: second order  slope 2.00 (expected 3)" in out
    code, out, _ = check("--json")
    assert code == 1
    assert not json.loads(out)["passed"]


def test_plots_are_drawn(check, tmp_path):
    folder = tmp_path / "new" / "plots"
    assert check("stiefel-euclidean-qr", "--plot", str(folder))[0] == 0
    assert {path.name for path in folder.iterdir()} == {
        "stiefel-euclidean-qr-axioms.png",
        "stiefel-euclidean-qr-retraction.png",
    }


def test_bad_input_is_refused_by_name(check, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for arguments, words in {
        ("steifel",): "NAME must be a manifold or a pattern, got 'steifel'; there are grassmann",
        ("--dtype", "float16"): "--dtype",
        ("--device", "nothing"): "device must be such as 'cpu' or 'cuda', got 'nothing'",
        ("stiefel-euclidean-qr", "--plot", str(file)): "--plot must be a folder to write to",
        ("stiefel-euclidean-qr", "--shape", "5x5"): "--shape is for manifolds of your own, got '5x5'",
        ("json:JSONDecoder", "--shape", "5x"): "--shape must be sizes such as 5x5, got '5x'",
        ("json:JSONDecoder",): "NAME 'json:JSONDecoder' must be a geoopt.Manifold",
        ("nowhere.at_all:Thing",): "the module 'nowhere.at_all' cannot be imported (ModuleNotFoundError",
    }.items():
        code, out, err = check(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert words in err, arguments


def test_a_manifold_in_the_current_folder_is_checked_by_its_name(check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brought_manifold.py").write_text("from sttp.manifolds import Polar\nmine = Polar()\n")
    code, out, _ = check("brought_manifold:mine", "--json")
    assert code == 0
    kinds = ("stiefel-euclidean", "stiefel-canonical", "grassmann")
    assert [row["name"] for row in json.loads(out)["manifolds"]] == [f"brought_manifold:mine {kind}" for kind in kinds]
    assert not any(row["ours"] for row in json.loads(out)["manifolds"])
