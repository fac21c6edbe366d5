"""Studies by several processes together: what one refuses or fails at ends them all, and one of them writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from studies import run_of

from sttp.study import Evaluation, processes
from sttp.study.loop import perform
from sttp.study.tasks.digits import Digits

PROGRAM = """
import json, sys
from pathlib import Path
from sttp.study import Evaluation, Surroundings, processes
from sttp.study.cli import run
from sttp.study.kind import read_run
from sttp.study.loop import perform
from sttp.study.report import pictures
from sttp.study.tasks.digits import Digits
from sttp.study.tasks.gan import GeneratedScores

folder = Path(sys.argv[1])
loss, calls = Digits.loss, []

def failing(self, network, batch):
    calls.append(batch)
    if processes.rank() == 1 and len(calls) == 2:
        raise OSError("no such disk")
    return loss(self, network, batch)

def study(output):
    return run(["study", str(folder / "small.toml"), "--output", str(folder / output)])

def made(values):
    result = perform(read_run(values), Surroundings(folder=sys.argv[1]))
    return [result.losses, result.series("validation_loss")]

processes.end = lambda: None  # there is more to do
pictures.to_file = lambda figure, ending: b""
codes = [study("taken"), study("new")]
GeneratedScores.__call__ = lambda self, images, split: Evaluation(images.mean().item(), images.std().item())
runs = list(map(made, json.loads((folder / "runs.json").read_text())))
Digits.loss = failing
print(json.dumps([[*codes, study("other")], runs]))
"""
SMALL = 'methods = ["dense"]\nlearning_rates = [0.01]\nseeds = [0]\nsteps = 4\nbatch_size = 8\nevaluations = 1\n'


GAN = {
    "network": "sngan8-discriminator",
    "samples": 40,
    "critic_steps": 2,
    "steps": 4,
    "optimizer": "gan-adam",
    "averaging": 0.5,
}
IMAGES = {"network": "wrn-10-1", "optimizer": "riemannian-sgd", "augment": True, "weight_decay": 1e-4, "averaging": 0.5}
RUNS = [
    run_of("sttp stiefel R", rate=1e-3, task="gan", width=8, **GAN),
    run_of("sttp grassmann R", task="classification", rate=0.01, width=8, accumulation=2, **IMAGES),
]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder, and of two processes what they found: codes and runs, other lines, and errors."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.tex").write_text("x")
    (folder / "runs.json").write_text(json.dumps([run.to_dict() for run in RUNS]))
    (folder / "small.toml").write_text(SMALL)
    (folder / "program.py").write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(folder / "program.py"), str(folder)],
            env={**shared, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = []
    for out, err in said:
        assert out, err[-2000:]
        *rest, last = out.splitlines()
        found.append((json.loads(last), rest, [line for line in err.splitlines() if line.startswith("sttp:")]))
    return folder, found


def test_what_one_of_two_processes_refuses_or_fails_at_ends_both_and_a_study_is_made_by_both(together):
    folder, (((codes, _), shown, first), ((same, _), nothing, second)) = together
    assert codes == same == [2, 0, 1]
    assert "holds 'thesis.tex' and no study.json; give a new or an empty folder" in first[0]
    assert [path.name for path in (folder / "taken").iterdir()] == ["thesis.tex"]
    # Of the study that was made, one process has written and told.
    assert nothing == []
    assert any(line.startswith("Report:") for line in shown)
    (run,) = (folder / "new" / "runs").iterdir()
    assert [path.name for path in run.iterdir()] == ["result.json"]
    assert len(json.loads((run / "result.json").read_text())["losses"]) == 4
    # Of the failure the process tells in which it was.
    assert len(second) == 1
    assert "OSError: no such disk" in second[0]


def test_two_processes_have_the_losses_of_one(together, monkeypatch):
    def score(self, images, split):
        return Evaluation(images.mean().item(), images.std().item())

    monkeypatch.setattr("sttp.study.tasks.gan.GeneratedScores.__call__", score)
    ((_, made), _, _) = together[1][0]
    for run, (losses, looks) in zip(RUNS, made, strict=True):
        alone = perform(run)
        assert losses == pytest.approx(alone.losses, rel=2e-4)
        assert looks == pytest.approx(alone.series("validation_loss"), rel=2e-3)


def test_one_process_alone_does_and_raises_for_itself():
    assert processes.by_first(lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        processes.by_first(lambda: {}["x"])
    with processes.first_alone():
        assert processes.rank() == 0
    assert processes.share(next(Digits().batches(0, 4))).labels.shape == (4,)


def test_a_batch_that_processes_or_pieces_do_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    processes.require_divisible(12, 3)
    for batch_size, pieces in ((9, 1), (16, 3)):
        with pytest.raises(
            ValueError,
            match=f"2 processes times accumulation={pieces}, got {batch_size}; give another batch_size, or fewer",
        ):
            processes.require_divisible(batch_size, pieces)
