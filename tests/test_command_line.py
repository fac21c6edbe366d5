"""The command `sttp`: what it prints, where, and its exit codes."""

import json
import subprocess
import sys

import pytest

from sttp.layers import STTP, SVDP, Lipschitz, report
from sttp.study.cli import run
from sttp.study.networks import NETWORKS
from sttp.study.networks.digits import digits

TINY = """
methods = ["dense", "sttp stiefel"]
ranks = [2]
learning_rates = [0.01]
extensions = 0
seeds = [0]
steps = 3
batch_size = 8
evaluations = 1
"""
OPTIMIZERS = """
kind = "optimizers"
problems = [{kind = "brockett", n = 6, p = 2}]
optimizers = ["riemannian-adam", "mine"]
seeds = [0]
steps = 5
looks = 2
learning_rates = [0.01, 0.1]
trials = 3
"""
# Modules of a user's: a network and a study as objects, and an optimizer under a name.
OBJECTS = """
from torch import nn

from sttp.study import Study


def network(hidden=4, number_of_classes=10, channels=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, number_of_classes))


STUDY = Study.from_dict(
    {"name": "brought", "title": "[red]Brought\\x1b[31m[/red]", "methods": ["dense"], "network": "objects:network"}
)
NUMBER = 3
"""
PARTS = """
from sttp.optim import RiemannianSGD
from sttp.study import OPTIMIZERS


@OPTIMIZERS.add("mine", title="[bold]Mine\\x1b[31m[/bold]")
class Mine(RiemannianSGD):
    pass
"""


def sttp(capsys, *arguments):
    """Run a command; return its exit code, standard output and standard error."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with modules of a user's, in which commands are given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "objects.py").write_text(OBJECTS)
    (tmp_path / "parts_of_mine.py").write_text(PARTS)
    yield tmp_path
    for name in ("objects", "parts_of_mine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", [[], ["study"], ["report"], ["plot"], ["check"]])
def test_every_command_has_help(capsys, command):
    code, out, err = sttp(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: sttp" in out


def test_the_report_is_the_count_of_the_layers(capsys):
    code, out, _ = sttp(capsys, "report", "digits", "--rank", 4, "--json")
    assert code == 0
    data = json.loads(out)
    assert data == report(digits(), STTP(4)).to_dict()
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


def test_the_report_counts_a_network_of_ones_own(capsys, here):
    code, out, _ = sttp(capsys, "report", "objects:network", "--rank", 2, "--json")
    assert code == 0
    assert [layer["name"] for layer in json.loads(out)["layers"]] == ["1", "3"]
    assert sttp(capsys, "report", "objects:network", "--rank", 2)[0] == 0


def test_the_report_is_a_table_for_people(capsys):
    code, out, _ = sttp(capsys, "report", "digits", "--rank", 4)
    assert code == 0
    assert "conv2" in out
    assert "Z = 5.812" in out


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].role != "trained"])
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
        (["report", "digits", "--parameterization", "cp"], "has no choice 'cp'; choose from svdp, sttp"),
        (["report", "digits", "--spectrum", "fre"], "did you mean 'free'"),
        (["report", "digits", "--skip", "conv9"], "skip='conv9' matches no module"),
        (["report", "digits", "--skip", "*"], "nothing to reparameterize"),
        (["report", "digits", "--base-width", "0"], "base_width must be at least 1, got 0"),
        (["report", "sngan48-generator", "--base-width", "7"], "base_width"),
        (["report", "nowhere.nets:Net"], "the module 'nowhere.nets' cannot be imported (ModuleNotFoundError"),
        (["report", "objects:NUMBER"], "network 'objects:NUMBER'"),
        (["report", "objects:nothing"], "'objects' has no 'nothing'"),
        (["report"], "Missing"),
        (["reprot", "digits"], "reprot"),
        (["report", "digits", "--ranks", "3"], "--ranks"),
        (["report", "digits", "--import", "nowhere"], "--import 'nowhere' cannot be imported (ModuleNotFoundError"),
        (["study", "digitz"], "has no choice 'digitz'; did you mean 'digits'"),
        (["study", "missing.toml"], "study 'missing.toml' cannot be read"),
        (["study", "objects:NUMBER"], "study 'objects:NUMBER'"),
        (["study", "objects:MISSING"], "'objects' has no 'MISSING'"),
        (["study", "digits", "--import", "nowhere"], "--import 'nowhere' cannot be imported"),
        (["study", "digits", "--workers", "0", "--output", "never"], "workers must be at least 1, got 0"),
        (["study", "digits", "--executor", "x", "--output", "never"], "executor has no choice 'x'"),
        (
            ["study", "digits", "--scheduler", "tcp://x:1", "--output", "never"],
            "executor 'loky' does not take scheduler=",
        ),
        (["study", "paper-fig7", "--scale", "2"], "scale must be finite and above 0 and at most 1"),
        (["study", "paper-fig7", "--scale", "x"], "'--scale': 'x' is no number; give one such as"),
        (["study", "digits", "--scale", "0.5"], "scale is for the paper's experiments"),
        (["study", "paper-fig9"], "has no choice 'paper-fig9'; did you mean 'paper-fig"),
        (["study", "paper-fig7", "--data", "cifar01"], "data has no choice 'cifar01'; did you mean 'cifar10'"),
        (["study", "digits", "--set", "step=3"], "has no choice 'step'; did you mean 'steps'"),
        (["study", "digits", "--set", "steps"], "--set must be KEY=VALUE"),
        (["study", "digits", "--device", "gpu9"], "device must be such as 'cpu' or 'cuda', got 'gpu9'"),
        (["study", "digits", "--threads", "0"], "threads must be at least 1, got 0"),
        (["study", "optimizers", "--data", "digits"], "--data is for studies that have the key 'data'"),
        (["study", "optimizers", "--size", "8"], "--size is for studies that have the key 'size'"),
        (["study", "optimizers", "--download"], "--download is for studies on data, got it with 'optimizers'"),
        (["study", "optimizers", "--set", "step=3"], "has no choice 'step'; did you mean 'steps'"),
        (["plot", "missing"], "folder 'missing' has no study.json"),
    ],
)
def test_a_bad_argument_is_told_in_one_line(capsys, here, arguments, words):
    code, out, err = sttp(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert {path.name for path in here.iterdir()} <= {"objects.py", "parts_of_mine.py", "__pycache__"}


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_is_run_shown_and_redrawn(capsys, here):
    (here / "mine.toml").write_text(TINY)
    code, out, err = sttp(capsys, "study", "mine.toml", "--executor", "sequential")
    assert code == 0
    assert "STTP stiefel" in out
    assert out.rstrip().endswith("results/mine/report.html")
    assert "2/2 runs, time left 0:00" in err
    code, again, _ = sttp(capsys, "plot", "results/mine")
    assert (code, again) == (0, out)
    code, out, err = sttp(capsys, "study", "mine.toml", "--executor", "sequential", "--set", "steps=4")
    assert (code, out) == (2, "")
    assert "another study (its steps is 3, not 4)" in err


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_of_optimizers_is_run_with_what_a_module_registers(capsys, here):
    (here / "few.toml").write_text(OPTIMIZERS)
    code, _, err = sttp(capsys, "study", "few.toml", "--executor", "sequential")
    assert code == 2
    assert "'mine'" in err
    arguments = ["--executor", "sequential", "--import", "parts_of_mine", "--set", "steps=4", "--json"]
    code, out, _ = sttp(capsys, "study", "few.toml", *arguments)
    assert code == 0
    data = json.loads(out)
    assert data["finished"]
    assert data["study"]["steps"] == 4
    code, out, _ = sttp(capsys, "plot", "results/few")
    assert code == 0
    assert "[bold]Mine[/bold]" in out
    assert "\x1b" not in out


def test_a_study_object_is_estimated_and_its_title_is_text(capsys, here):
    before = sorted(here.iterdir())
    code, out, _ = sttp(capsys, "study", "objects:STUDY", "--dry-run", "--executor", "sequential")
    assert code == 0
    assert out.startswith("[red]Brought[/red]")
    assert "\x1b" not in out
    assert sorted(path for path in here.iterdir() if path.name != "__pycache__") == before


def test_names_stay_text_in_errors(capsys):
    code, _, err = sttp(capsys, "study", "[bold]\x1b[31mx")
    assert code == 2
    assert "[bold]" in err
    assert "\x1b" not in err


def test_an_interrupt_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sttp.study.engine.run_study", interrupted)
    code, out, err = sttp(capsys, "study", "digits", "--output", tmp_path / "x")
    assert (code, out) == (130, "")
    assert err == "sttp: interrupted; what is finished is kept, and the same command goes on from there\n"


def test_a_failure_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    from sttp.study.engine import RunFailedError

    def failing(*_, **__):
        raise RunFailedError("run 'dense' failed\n(OSError: disk full)")

    monkeypatch.setattr("sttp.study.engine.run_study", failing)
    code, _, err = sttp(capsys, "study", "digits", "--output", tmp_path / "x")
    assert (code, err) == (1, "sttp: run 'dense' failed (OSError: disk full)\n")


def test_the_report_needs_the_core_alone():
    # joblib, pandas, scikit-learn, jinja2 and filelock come with the extra `study`, or by chance with torch.
    code = (
        "import sys\n"
        "for name in ('joblib', 'pandas', 'sklearn', 'jinja2'): sys.modules[name] = None\n"
        "from sttp.study.cli import run\n"
        "assert run(['report', 'digits', '--json']) == 0\n"
        "sys.exit(run(['plot', '.']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'sttp-torch[study]'" in done.stderr
    assert json.loads(done.stdout)["z"] < 100
