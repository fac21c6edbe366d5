"""A folder of results: what it accepts, that it loses nothing, and a whole study from start to report."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace

import filelock
import joblib
import numpy as np
import pandas as pd
import pytest
from studies import TINY, made_up

from sttp.study import TASKS, Method, Settings, Study
from sttp.study import conduct as conduct_module
from sttp.study.conduct import RunFailedError, redraw, run_study
from sttp.study.execution import execute_all, perform_all, register_executor
from sttp.study.progress import ProgressDisplay
from sttp.study.runs.heartbeat import HEARTBEAT, Heartbeat, shares, stop_heartbeat
from sttp.study.storage import TRAININGS, ResultsFolder, write_content

pytestmark = pytest.mark.usefixtures("coarse_pictures")

FILES = {
    ".lock",
    "accuracy.png",
    "loss.png",
    "orthogonality.png",
    "report.html",
    "results.csv",
    "runs",
    "singular_values.png",
    "spectra.csv",
    "spectra_over_training.png",
    "study.json",
    "timings.csv",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, made in this process."""
    path = tmp_path_factory.mktemp("study") / "results"
    calls = []
    outcome = run_study(TINY, path, "sequential", progress=lambda *call: calls.append(call))
    return path, outcome, calls


def test_a_study_leaves_all_its_files(finished):
    path, outcome, _ = finished
    assert {entry.name for entry in path.iterdir()} == FILES
    assert outcome.finished
    assert outcome.report == path / "report.html"
    assert [str(summary.curve) for summary in outcome.summaries] == ["dense", "sttp stiefel, rank 2"]
    for figure in path.glob("*.png"):
        assert figure.read_bytes().startswith(b"\x89PNG")


def test_progress_is_told_for_every_run(finished):
    _, _, calls = finished
    assert calls[0] == (0, 6, None)
    done, expected, last = calls[-1]
    assert done == expected == len(calls) - 1
    assert last is not None


def test_results_have_one_row_a_run_and_nothing_of_time(finished):
    path, _, _ = finished
    results, timings = pd.read_csv(path / "results.csv"), pd.read_csv(path / "timings.csv")
    assert set(results.run) == set(timings.run) == {entry.name for entry in (path / "runs").iterdir()}
    assert results.run.is_unique
    # One rate a curve is chosen, and has both seeds.
    assert results[results.chosen].groupby("parameterization").seed.apply(sorted).to_dict() == {
        "dense": [0, 1],
        "sttp": [0, 1],
    }
    assert not [name for name in results if "second" in name or "memory" in name]
    assert (timings.threads == 1).all()
    assert (timings.seconds_per_step > 0).all()
    assert (timings.peak_memory_mib > 50).all()


def test_spectra_have_one_row_a_layer_of_each_look(finished):
    path, _, _ = finished
    spectra, results = (pd.read_csv(path / f"{name}.csv").set_index("run") for name in ("spectra", "results"))
    shared = ["parameterization", "geometry", "spectrum", "rank", "learning_rate", "seed"]
    assert list(spectra) == [*shared, "step", "layer", "spectral_norm", "stable_rank", "smallest_over_largest"]
    for identifier, own in results.iterrows():
        snapshots = json.loads((path / "runs" / identifier / "result.json").read_text())["snapshots"]
        expected = [(s["step"], layer, v) for s in snapshots for layer, v in s["singular_values"].items()]
        rows = spectra.loc[identifier]
        assert [(row.step, row.layer) for row in rows.itertuples()] == [found[:2] for found in expected]
        assert all(row[shared].equals(own[shared]) for _, row in rows.iterrows())
        values = [np.array(found[2]) for found in expected]
        np.testing.assert_allclose(rows.spectral_norm, [v.max() for v in values], rtol=1e-7)
        np.testing.assert_allclose(rows.stable_rank, [(v**2).sum() / v.max() ** 2 for v in values], rtol=1e-7)
        np.testing.assert_allclose(rows.smallest_over_largest, [v.min() / v.max() for v in values], rtol=1e-7)
    assert set(spectra.layer) == {"conv1", "conv2", "conv3", "linear"}
    assert set(spectra.step) == {0, 3, 6}


def test_the_report_needs_nothing_else_and_says_what_its_words_mean(finished):
    path, outcome, _ = finished
    html = (path / "report.html").read_text()
    assert html.count('src="data:image/png;base64,') == 5
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert "@import" not in html
    for word in ("dense", "STTP", "stiefel", "validation", "compression Z", "Student", "ms/step", "What was found"):
        assert word in html
    assert "not finished" not in html
    assert all(re.sub("[^a-z]", "", sentence) in re.sub("[^a-z]", "", html) for sentence in outcome.findings)


def test_a_finished_study_runs_nothing_again_and_is_drawn_the_same(finished, monkeypatch):
    path, _, _ = finished
    before = {file.name: file.read_bytes() for file in path.glob("*.*") if file.suffix in (".csv", ".png", ".html")}
    monkeypatch.setattr(conduct_module, "execute_all", lambda *_: pytest.fail("a run was made"))
    assert run_study(TINY, path).finished
    assert redraw(path).finished
    assert {name: (path / name).read_bytes() for name in before} == before


def test_a_lost_result_is_made_again(finished):
    path, _, _ = finished
    before = (path / "results.csv").read_bytes()
    lost = sorted((path / "runs").iterdir())[0]
    (lost / "result.json").unlink()
    outcome = redraw(path)
    assert not outcome.finished
    assert "not finished" in (path / "report.html").read_text()
    made = []
    run_study(TINY, path, "sequential", progress=lambda done, expected, run: made.append(run))
    assert [run.identifier for run in made[1:]] == [lost.name]
    assert (path / "results.csv").read_bytes() == before


def test_another_study_is_refused(finished):
    path, _, _ = finished
    before = (path / "study.json").read_bytes()
    with pytest.raises(ValueError, match=r"holds another study \(its steps is 6, not 7\); give another folder"):
        run_study(replace(TINY, steps=7), path)
    assert (path / "study.json").read_bytes() == before


def test_results_on_other_images_are_refused(tmp_path, monkeypatch):
    study, made = replace(TINY, methods=(Method("dense"),), learning_rates=(0.01,), seeds=(0,)), []
    path = tmp_path / "results"

    def run(checksum):
        monkeypatch.setattr(conduct_module, "data_fingerprint", lambda *_: checksum)
        return run_study(study, path, "sequential", progress=lambda *call: made.append(call))

    run("a")
    before = (path / "study.json").read_bytes()
    assert json.loads(before)["data"] == "a"
    for other, words in (("b", "b"), (None, "none, as of bundled ones")):
        with pytest.raises(
            ValueError,
            match=rf"results' holds results on other images than there are in data 'digits': .*was a, not {words}; put",
        ):
            run(other)
        assert (path / "study.json").read_bytes() == before
    run("a")
    assert sum(last is not None for _, _, last in made) == 1
    monkeypatch.setattr(conduct_module, "data_fingerprint", lambda *_: pytest.fail("the data was read"))
    assert redraw(path).finished


def test_what_is_missing_is_refused_before_there_is_a_folder(tmp_path, monkeypatch):
    def missing(*_):
        raise ValueError("data 'flowers' is not there")

    monkeypatch.setattr(conduct_module, "data_fingerprint", missing)
    with pytest.raises(ValueError, match="is not there"):
        run_study(TINY, tmp_path / "new")
    monkeypatch.setattr(conduct_module, "data_fingerprint", lambda *_: None)
    many = Study("c", (Method("dense"),), task="classification", network="wrn-10-1", batch_size=1240)
    with pytest.raises(ValueError, match=r"batch_size must be at most 1239.*got 1240"):
        run_study(many, tmp_path / "new")
    gan = Study("g", (Method("sn"),), task="gan", network="sngan8-discriminator", settings=Settings(inception=True))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ValueError, match=r"inception must be false here.*pip install 'sttp-torch\[gan\]'"):
        run_study(gan, tmp_path / "new")
    for name in ("torch_fidelity", "torchvision"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"inception must be false here.*weights of Inception are not at hand"):
        run_study(gan, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_what_runs_under_way_have_made_since_they_were_begun(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    folder = ResultsFolder.create(tmp_path, TRAININGS, TINY)
    for name, content in (("killed", "0 9 10"), ("older", "5 10"), ("half", "3")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / HEARTBEAT).write_text(content)
    with folder.locked():
        assert list(tmp_path.rglob(HEARTBEAT)) == []
        display = ProgressDisplay(tmp_path)
        display(1, 4, None)
        (tmp_path / "runs" / "resumed").mkdir()
        heartbeat = Heartbeat(tmp_path / "runs" / "resumed", 50, 100)
        heartbeat.beat(51)
        assert shares(tmp_path / "runs") == {}  # not a second has gone
        clock[0] += 10
        heartbeat.beat(75)
        assert shares(tmp_path / "runs") == {"resumed": (0.5, 0.75)}
        assert [path.name for path in (tmp_path / "runs" / "resumed").iterdir()] == [HEARTBEAT]
        # A quarter of a run took ten seconds, and of the three that were left two and a quarter are.
        assert display._time_left_now() == "1:30"
        clock[0] += 10
        display(2, 4, TINY.run(TINY.curves[0], 0.01, 0))
        stop_heartbeat(tmp_path / "runs" / "resumed")
        assert display._time_left_now() == "1:20"
        display(4, 4, TINY.run(TINY.curves[0], 0.01, 0))
        assert display._time_left_now() == "0:00"


def test_a_folder_in_use_is_refused(finished):
    path, _, _ = finished
    with filelock.FileLock(path / ".lock"), pytest.raises(ValueError, match="is in use by another process"):
        run_study(TINY, path)


def test_what_is_no_results_folder_is_refused_and_kept(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    for action in (lambda: run_study(TINY, other), lambda: redraw(other)):
        with pytest.raises(ValueError, match=r"study\.json.*give a"):
            action()
    assert [entry.name for entry in other.iterdir()] == ["thesis.tex"]
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ValueError, match="cannot be a folder of results"):
        run_study(TINY, file)
    with pytest.raises(ValueError, match=r"has no study\.json"):
        redraw(file)
    assert file.read_text() == "x"
    with pytest.raises(ValueError, match=r"has no study\.json"):
        redraw(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


DAMAGED = ["", '{"format": 1, "study": {"na', '{"format": 0, "study": {}}', "[]", "{}", '{"format": 2, "study": 3}']
OTHER_KIND = json.dumps({"format": 2, "kind": "optimizers", "study": TINY.to_dict()})


@pytest.mark.parametrize("content", [*DAMAGED, OTHER_KIND])
def test_a_damaged_definition_is_refused_and_kept(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    for action in (lambda: run_study(TINY, tmp_path), lambda: redraw(tmp_path)):
        with pytest.raises(ValueError, match=r"study\.json is damaged, of another version or of another kind"):
            action()
    assert (tmp_path / "study.json").read_text() == content


def test_a_damaged_result_is_refused_and_kept(tmp_path):
    folder = ResultsFolder.create(tmp_path, TRAININGS, TINY)
    run = TINY.run(TINY.curves[0], 0.01, 0)
    folder.save(made_up(run))
    path = tmp_path / "runs" / run.identifier / "result.json"
    whole = path.read_text()
    truncated = whole[: len(whole) // 2]
    foreign = json.dumps(json.loads(whole) | {"run": json.loads(whole)["run"] | {"seed": 9}})
    old = json.dumps(json.loads(whole) | {"format": 0})
    missing = json.dumps({key: value for key, value in json.loads(whole).items() if key != "losses"})
    for content in (truncated, "", foreign, old, missing, "3"):
        path.write_text(content)
        for action in (lambda: run_study(TINY, tmp_path, "sequential"), lambda: redraw(tmp_path)):
            with pytest.raises(ValueError, match=r"result\.json' is damaged.*delete this file"):
                action()
        assert path.read_text() == content


def test_results_survive_the_folder(tmp_path):
    folder = ResultsFolder.create(tmp_path, TRAININGS, TINY)
    results = [made_up(TINY.run(curve, 0.01, 0)) for curve in TINY.curves]
    for result in results:
        folder.save(result)
    assert ResultsFolder.open(tmp_path, TRAININGS).results() == {result.run: result for result in results}
    assert ResultsFolder.open(tmp_path, TRAININGS).study == TINY


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_content(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_content(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failing_run_is_named_and_what_was_finished_stays(tmp_path, monkeypatch):
    task = TASKS["digits"]
    evaluate, calls = type(task).evaluate, []

    def failing(self, network, split):
        calls.append(split)
        if calls.count("test") == 2:
            raise OSError("no such disk")
        return evaluate(self, network, split)

    monkeypatch.setattr(type(task), "evaluate", failing)
    with pytest.raises(
        RunFailedError, match=r"sttp stiefel, rank 2, learning rate 0.01, seed 0.*OSError: no such disk.*error\.txt"
    ):
        run_study(TINY, tmp_path, "sequential")
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 1
    error = next(tmp_path.glob("runs/*/error.txt"))
    assert "Traceback" in error.read_text()
    monkeypatch.undo()
    assert run_study(replace(TINY), tmp_path, "sequential").finished
    assert not error.exists()


def test_a_diverging_method_does_not_stop_the_study(tmp_path):
    study = replace(TINY, learning_rates=(1e30,), methods=(Method("dense"), Method("svdp", "householder")))
    outcome = run_study(study, tmp_path, "sequential")
    assert [summary.diverged for summary in outcome.summaries] == [2, 2]
    assert "ceased to be finite" in (tmp_path / "report.html").read_text()
    assert pd.read_csv(tmp_path / "results.csv").test_score.isna().all()


def test_an_executor_can_be_registered():
    asked = []

    def threads(workers):
        asked.append(workers)
        return joblib.parallel_config("threading", n_jobs=workers)

    register_executor("threads", threads)
    run = TINY.run(TINY.curves[0], 0.01, 0)
    assert [result.run for result in execute_all([run], "threads", 1)] == [run]
    assert asked == [1]
    with pytest.raises(ValueError, match="executor has no choice 'dask'; choose from loky, sequential"):
        next(execute_all([run], "dask"))
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        next(execute_all([run], workers=0))


def test_runs_that_are_left_are_left_silently():
    made = perform_all(str, range(200), "loky", 2)
    assert next(made).isdigit()
    made.close()


def test_a_backend_that_returns_no_single_results_makes_all_runs():
    # multiprocessing is such a backend, and so is Ray's.
    register_executor("multiprocessing", lambda workers: joblib.parallel_config("multiprocessing", n_jobs=workers))
    runs = [TINY.run(TINY.curves[0], 0.01, seed) for seed in range(3)]
    assert [result.run for result in execute_all(runs, "multiprocessing", 1)] == runs


def test_a_killed_study_ends_with_the_same_results(finished, tmp_path):
    path, _, _ = finished
    toml = tmp_path / "tiny.toml"
    toml.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in TINY.to_dict().items()))
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "sttp.study", "study", str(toml), "--output", str(output)]
    command += ["--executor", "sequential", "--checkpoint-seconds", "0.000001"]
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline, before = time.monotonic() + 120, _traces(output)
        while _traces(output) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        # Somewhere in a run, between two, or in the middle of a write.
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break  # it was faster
    made = []
    outcome = run_study(TINY, output, "sequential", progress=lambda done, expected, run: made.append(run))
    assert outcome.finished
    assert (output / "results.csv").read_bytes() == (path / "results.csv").read_bytes()
    assert (pd.read_csv(output / "timings.csv").threads == 1).all()
    assert not list(output.rglob("checkpoint.pt"))
    for file in output.glob("runs/*/result.json"):
        ours, theirs = (json.loads(f.read_text()) for f in (file, path / file.relative_to(output)))
        assert ours | {"timing": None} == theirs | {"timing": None}


def _traces(output):
    """What of a study's runs there is to see: checkpoints and results, with the times of their writing."""
    found = {}
    for file in (*output.glob("runs/*/result.json"), *output.glob("runs/*/checkpoint.pt")):
        with contextlib.suppress(FileNotFoundError):
            found[file] = file.stat().st_mtime_ns
    return found
