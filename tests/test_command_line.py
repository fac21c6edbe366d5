"""The command `sttp`: what it prints, where, and its exit codes."""

import json
import subprocess
import sys

import pytest

from sttp.layers import STTP, SVDP, Lipschitz, report
from sttp.study import NETWORKS
from sttp.study.command_line import run
from sttp.study.networks.digits import digits

TINY = """
methods = ["dense", "sttp stiefel"]
ranks = [2]
learning_rates = [0.01]
seeds = [0]
steps = 3
batch_size = 8
evaluations = 1
"""


def sttp(capsys, *arguments):
    """Run a command; return its exit code, standard output and standard error."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", [[], ["study"], ["report"], ["plot"]])
def test_every_command_has_help(capsys, command):
    code, out, err = sttp(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: sttp" in out


def test_the_report_is_the_count_of_the_layers(capsys):
    code, out, _ = sttp(capsys, "report", "digits", "--rank", 4, "--json")
    assert code == 0
    data = json.loads(out)
    expected = report(digits(), STTP(4))
    assert data == expected.to_dict()
    assert [layer["name"] for layer in data["layers"]] == ["conv1", "conv2", "conv3", "linear"]


def test_the_report_takes_every_option(capsys):
    arguments = ["--parameterization", "svdp", "--rank", 2, "--spectrum", "learned", "--base-width", 8]
    _, out, _ = sttp(capsys, "report", "digits", *arguments, "--skip", "conv1", "--skip", "lin*", "--json")
    data = json.loads(out)
    assert data == report(digits(8), SVDP(2, spectrum=Lipschitz()), ("conv1", "lin*")).to_dict()
    assert [layer["name"] for layer in data["layers"]] == ["conv2", "conv3"]


def test_the_report_counts_any_wide_residual_network(capsys):
    _, named, _ = sttp(capsys, "report", "wrn-16-2", "--json")
    _, built, _ = sttp(capsys, "report", "wrn-28-10", "--depth", 16, "--widen-factor", 2, "--json")
    assert built == named
    code, _, err = sttp(capsys, "report", "digits", "--depth", 16)
    assert code == 2
    assert "depth" in err


def test_the_report_is_a_table_for_people(capsys):
    code, out, _ = sttp(capsys, "report", "digits", "--rank", 4)
    assert code == 0
    assert "conv2" in out
    assert "Z = 5.812" in out


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_report_and_generators_keep_their_first_layer_dense(capsys, name):
    code, out, _ = sttp(capsys, "report", name, "--rank", 64, "--json")
    assert code == 0
    names = [layer["name"] for layer in json.loads(out)["layers"]]
    assert ("linear" in names) == (not name.endswith("generator"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "digitz"], "network has no choice 'digitz'; did you mean 'digits'"),
        (["report", "digits", "--rank", "0"], "rank must be at least 1, got 0"),
        (["report", "digits", "--rank", "2.5"], "'--rank': '2.5' is no integer; give one such as"),
        (["report", "digits", "--rank"], "--rank"),
        (
            ["report", "digits", "--parameterization", "cp"],
            "parameterization has no choice 'cp'; choose from svdp, sttp",
        ),
        (["report", "digits", "--spectrum", "fre"], "did you mean 'free'"),
        (["report", "digits", "--skip", "conv9"], "skip='conv9' matches no module"),
        (["report", "digits", "--skip", "*"], "nothing to reparameterize"),
        (["report", "digits", "--base-width", "0"], "base_width must be an integer of at least 1, got 0"),
        (["report", "sngan48-generator", "--base-width", "7"], "base_width"),
        (["report"], "Missing"),
        (["reprot", "digits"], "reprot"),
        (["report", "digits", "--ranks", "3"], "--ranks"),
        (["study", "digitz"], "study has no choice 'digitz'; did you mean 'digits'"),
        (["study", "missing.toml"], "study 'missing.toml' cannot be read"),
        (["study", "digits", "--workers", "0", "--output", "never"], "workers must be at least 1, got 0"),
        (["study", "digits", "--executor", "x", "--output", "never"], "executor has no choice 'x'"),
        (["study", "paper-fig7", "--scale", "2"], "scale must be at most 1"),
        (["study", "paper-fig7", "--scale", "x"], "'--scale': 'x' is no number; give one such as"),
        (["study", "paper-fig9"], "study has no choice 'paper-fig9'; did you mean 'paper-fig"),
        (["study", "paper-fig7", "--data", "cifar01"], "data has no choice 'cifar01'; did you mean 'cifar10'"),
        (["study", "digits", "--set", "step=3"], "key of a study has no choice 'step'; did you mean 'steps'"),
        (["study", "digits", "--device", "gpu9"], "device must be such as 'cpu' or 'cuda', got 'gpu9'"),
        (["study", "digits", "--threads", "0"], "threads must be at least 1, got 0"),
        (["plot", "missing"], "folder 'missing' has no study.json"),
    ],
)
def test_a_bad_argument_is_told_in_one_line(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = sttp(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_run_shown_and_redrawn(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TINY)
    code, out, err = sttp(capsys, "study", "mine.toml", "--executor", "sequential")
    assert code == 0
    assert "STTP stiefel" in out
    assert out.rstrip().endswith("results/mine/report.html")
    assert "2/2 runs, time left 0:00" in err
    code, again, _ = sttp(capsys, "plot", "results/mine")
    assert (code, again) == (0, out)
    code, out, _ = sttp(capsys, "plot", "results/mine", "--json")
    data = json.loads(out)
    assert data["finished"]
    assert [curve["rank"] for curve in data["curves"]] == [None, 2]
    assert data["curves"][1]["test"]["count"] == 1
    (tmp_path / "mine.toml").write_text(TINY.replace("steps = 3", "steps = 4"))
    code, out, err = sttp(capsys, "study", "mine.toml", "--executor", "sequential")
    assert (code, out) == (2, "")
    assert "another study (its steps is 3, not 4)" in err


def test_an_interrupt_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sttp.study.conduct.run_study", interrupted)
    code, out, err = sttp(capsys, "study", "digits", "--output", tmp_path / "x")
    assert (code, out) == (130, "")
    assert err == "sttp: interrupted; what is finished is kept, and the same command goes on from there\n"


def test_a_failure_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    from sttp.study.conduct import RunFailedError

    def failing(*_, **__):
        raise RunFailedError("run 'dense' failed\n(OSError: disk full)")

    monkeypatch.setattr("sttp.study.conduct.run_study", failing)
    code, _, err = sttp(capsys, "study", "digits", "--output", tmp_path / "x")
    assert (code, err) == (1, "sttp: run 'dense' failed (OSError: disk full)\n")


def test_the_report_needs_the_core_alone():
    # joblib, pandas, scikit-learn, jinja2 and filelock come with the extra `study`, or by chance with torch.
    code = (
        "import sys\n"
        "for name in ('joblib', 'pandas', 'sklearn', 'jinja2'): sys.modules[name] = None\n"
        "from sttp.study.command_line import run\n"
        "assert run(['report', 'digits', '--json']) == 0\n"
        "sys.exit(run(['plot', '.']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'sttp-torch[study]'" in done.stderr
    assert json.loads(done.stdout)["z"] < 100
