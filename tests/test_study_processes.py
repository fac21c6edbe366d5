"""Studies by several processes together: what one refuses or fails at ends them all, and one of them writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sttp.study import processes
from sttp.study.tasks.digits import Digits

PROGRAM = """
import json, sys
from pathlib import Path
from sttp.study import processes
from sttp.study.cli import run
from sttp.study.tasks.digits import Digits

folder = Path(sys.argv[1])
loss, calls = Digits.loss, []

def failing(self, network, batch):
    calls.append(batch)
    if processes.rank() == 1 and len(calls) == 2:
        raise OSError("no such disk")
    return loss(self, network, batch)

def study(output):
    return run(["study", str(folder / "small.toml"), "--output", str(folder / output)])

processes.end = lambda: None  # there is more to do
codes = [study("taken"), study("new")]
Digits.loss = failing
print(json.dumps([*codes, study("other")]))
"""
SMALL = 'methods = ["dense"]\nlearning_rates = [0.01]\nseeds = [0]\nsteps = 4\nbatch_size = 8\nevaluations = 1\n'


def together(folder):
    """Run the program in two processes; return of each its codes, its other lines, and what it said of errors."""
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
        *rest, codes = out.splitlines()
        found.append((json.loads(codes), rest, [line for line in err.splitlines() if line.startswith("sttp:")]))
    return found


def test_what_one_of_two_processes_refuses_or_fails_at_ends_both_and_a_study_is_made_by_both(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("x")
    (codes, shown, first), (same, nothing, second) = together(tmp_path)
    assert codes == same == [2, 0, 1]
    assert "holds 'thesis.tex' and no study.json; give a new or an empty folder" in first[0]
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.tex"]
    # Of the study that was made, one process has written and told.
    assert nothing == []
    assert any(line.startswith("Report:") for line in shown)
    (run,) = (tmp_path / "new" / "runs").iterdir()
    assert [path.name for path in run.iterdir()] == ["result.json"]
    assert len(json.loads((run / "result.json").read_text())["losses"]) == 4
    # Of the failure the process tells in which it was.
    assert len(second) == 1
    assert "OSError: no such disk" in second[0]


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
