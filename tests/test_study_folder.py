"""A folder of results: what it accepts, that it loses nothing, and a whole study from its start to its tables."""

import itertools
import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import toy_kind
from toy_kind import KINDS, STEPS, ToyKind, ToyTrial, made_up, toy

from sttp.study import engine, loop
from sttp.study.engine import redraw, run_study
from sttp.study.executors import RunFailedError
from sttp.study.folder import ResultsFolder, write_content
from sttp.study.schedule import pending_runs
from sttp.study.surroundings import Surroundings
from sttp.study.turns import Turn

STUDY = toy(sizes=[1, 2])
KEPT = Path(__file__).parents[1] / "benchmarks" / "results"
FILES = {".lock", "report.html", "results.csv", "runs", "study.json", "timings.csv", "turns.json"}


@pytest.fixture(autouse=True)
def _small_memory(monkeypatch):
    monkeypatch.setattr(loop, "reset_peak_memory", lambda device: None)  # which takes longer than all that is here


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, made in this process."""
    path = tmp_path_factory.mktemp("study") / "results"
    calls = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "reset_peak_memory", lambda device: None)
        outcome = run_study(STUDY, path, "sequential", progress=lambda *call: calls.append(call))
    return path, outcome, calls


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished study's folder."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def content_of(path):
    """All files below a folder but the lock and what tells progress, with their content."""
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files if not file.name.startswith(".")}


def test_a_study_leaves_all_its_files(finished):
    path, outcome, calls = finished
    assert {entry.name for entry in path.iterdir()} - {"command.txt"} >= FILES
    assert outcome.finished
    assert outcome.report == path / "report.html"
    assert calls[0][0] == 0
    assert calls[0][2] is None
    done, expected, last = calls[-1]
    assert done == expected == len(calls) - 1
    assert last is not None
    assert list(outcome.table) == ["case", "loss"]


def test_tables_have_one_row_a_run_and_results_nothing_of_time(finished):
    path, _, _ = finished
    results, timings = pd.read_csv(path / "results.csv"), pd.read_csv(path / "timings.csv")
    assert list(results.run) == list(timings.run)
    assert set(results.run) == {entry.name for entry in (path / "runs").iterdir()}
    assert results.run.is_unique
    assert not [name for name in results if "second" in name]
    assert (timings.threads == 1).all()
    # One rate a case is chosen, and has both seeds.
    chosen = results[results.chosen].groupby(["step", "size"]).agg({"seed": sorted, "learning_rate": "nunique"})
    assert chosen.seed.map(tuple).unique().tolist() == [(0, 1)]
    assert chosen.learning_rate.max() == 1


def test_a_finished_study_runs_nothing_again_and_is_drawn_the_same(copy, monkeypatch):
    before = content_of(copy)
    monkeypatch.setattr(engine, "perform_all", lambda *_: pytest.fail("a run was made"))
    assert run_study(STUDY, copy, "sequential").finished
    assert redraw(copy).finished
    after = content_of(copy)
    assert {name for name in before if before[name] != after[name]} <= {"report.html"}
    assert before.keys() == after.keys()


def test_a_folder_is_drawn_without_the_code_that_its_study_names(copy, monkeypatch):
    monkeypatch.delitem(STEPS._entries, "plain")
    monkeypatch.delitem(STEPS._entries, "halving")
    before = (copy / "results.csv").read_bytes()
    assert redraw(copy).finished
    assert (copy / "results.csv").read_bytes() == before


def test_a_lost_result_is_made_again(copy):
    before = (copy / "results.csv").read_bytes()
    lost = sorted((copy / "runs").iterdir())[0]
    (lost / "result.json").unlink()
    assert not redraw(copy).finished
    made = []
    run_study(STUDY, copy, "sequential", progress=lambda done, expected, run: made.append(run))
    assert [run.identifier for run in made[1:]] == [lost.name]
    assert (copy / "results.csv").read_bytes() == before


def test_results_survive_the_folder(tmp_path):
    results = [made_up(run) for run in pending_runs(STUDY, {})]
    with ResultsFolder.held(tmp_path / "new", STUDY) as folder:
        for result in results:
            folder.save(result)
    opened = ResultsFolder.open(tmp_path / "new")
    assert opened.results() == {result.run: result for result in results}
    assert opened.study == STUDY
    assert opened.study.cases == STUDY.cases
    assert opened.study.assigned == STUDY.assigned
    assert opened.presentation == STUDY.of.presentation(STUDY)


def test_turns_are_taken_once_and_read_again(copy):
    folder = ResultsFolder.open(copy)
    assert len(folder.turns()) == len(STUDY.cases)
    runs = [run for run in folder.results() if run.identifier in {turn.run for turn in folder.turns()}]
    assert folder.has_turns_of(runs)
    other = STUDY.run(STUDY.cases[0], 0.123, 0)
    assert not folder.has_turns_of([*runs, other])
    folder.save_turns([*runs, other], (Turn(runs[0].identifier, (1.0, 2.0), None),))
    assert folder.has_turns_of([other])  # which has none, and is not asked for again
    assert len(folder.turns()) == 1
    for damaged in ("", "[]", '{"asked": 3}', '{"turns": [{}], "asked": []}'):
        (copy / "turns.json").write_text(damaged)
        assert folder.turns() == ()
        assert not folder.has_turns_of(runs)


def test_a_report_is_written_where_no_turns_can_be_taken(copy, monkeypatch):
    def failing(runs, surroundings):
        raise MemoryError("all networks at once")

    monkeypatch.setattr(engine, "take_turns", failing)
    for name in ("turns.json", "report.html"):
        (copy / name).unlink()
    with pytest.warns(UserWarning, match=r"could not be timed in turns \(MemoryError: all networks at once\)"):
        assert run_study(STUDY, copy, "sequential").finished
    assert (copy / "report.html").exists()
    assert not (copy / "turns.json").exists()


# --- what is refused, and kept ---


def test_another_study_is_refused(copy):
    before = content_of(copy)
    with pytest.raises(ValueError, match=r"holds another study \(its steps is 6, not 7\); give another folder"):
        run_study(toy(sizes=[1, 2], steps=7), copy, "sequential")
    assert content_of(copy) == before


def test_results_on_other_data_are_refused(tmp_path, monkeypatch):
    path, made = tmp_path / "results", []

    def run(checksum):
        monkeypatch.setattr(ToyKind, "require", lambda *_: checksum)
        return run_study(STUDY, path, "sequential", progress=lambda *call: made.append(call))

    run("a")
    before = content_of(path)
    count = len(made)
    for other, words in (("b", "b"), (None, "none, as of bundled data")):
        with pytest.raises(ValueError, match=rf"results on other data than there is in .*was a, not {words}; put"):
            run(other)
    assert content_of(path) == before
    assert len(made) == count
    run("a")


def test_what_a_kind_refuses_is_refused_before_there_is_a_folder(tmp_path, monkeypatch):
    def missing(*_):
        raise ValueError("data 'flowers' is not there")

    monkeypatch.setattr(ToyKind, "require", missing)
    with pytest.raises(ValueError, match="is not there"):
        run_study(STUDY, tmp_path / "new", "sequential")
    assert not (tmp_path / "new").exists()


def test_changed_code_of_a_user_s_part_is_refused_by_name_and_drawn_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(STEPS._entries, "mine", None)
    study = None
    for factor, refused in ((2, False), (2, False), (3, True)):
        file = tmp_path / f"steps_{factor}.py"
        file.write_text(f"def mine(value, rate):\n    return value / {factor}\n")
        names = {}
        exec(compile(file.read_text(), str(file), "exec"), names)
        STEPS.add("mine", names["mine"])
        study = study or toy(takes=["plain", "mine"])
        if refused:
            before = content_of(tmp_path / "results")
            with pytest.raises(ValueError, match=r"other code.*that of the toy step mine has changed; give another"):
                run_study(study, tmp_path / "results", "sequential")
            assert content_of(tmp_path / "results") == before
        else:
            assert run_study(study, tmp_path / "results", "sequential").finished
    assert redraw(tmp_path / "results").finished
    # Of a thing without a source nothing is said.
    STEPS.add("mine", eval("lambda value, rate: value / 4"))
    assert run_study(study, tmp_path / "results", "sequential").finished


@pytest.mark.parametrize("name", ["digits", "optimizers"])
def test_a_folder_of_an_earlier_version_is_refused_by_name_and_kept(name, tmp_path):
    shutil.copytree(KEPT / name, tmp_path / "old")
    before = content_of(tmp_path / "old")
    for action in (lambda: run_study(STUDY, tmp_path / "old", "sequential"), lambda: redraw(tmp_path / "old")):
        with pytest.raises(ValueError, match=r"old'.* results of format [12], which an earlier version of sttp wrote"):
            action()
    assert content_of(tmp_path / "old") == before


def test_a_folder_of_a_later_version_is_refused(copy):
    definition = copy / "study.json"
    definition.write_text(json.dumps(json.loads(definition.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="a later version of sttp wrote"):
        redraw(copy)


def _broken_definitions():
    values = {"format": 3, "study": STUDY.to_dict(), "cases": [], "assignments": {}, "presentation": {}}
    yield from ("", "{", "[]", "{}", "3", '"3"', "\x00", '{"format": "3"}', '{"format": 3}', "[" * 100_000)
    for changes in (
        {"study": 3},
        {"study": {}},
        {"study": STUDY.to_dict() | {"kind": "toyy"}},
        {"study": STUDY.to_dict() | {"steps": "x", "seeds": []}},
        {"cases": [3], "assignments": {"{}": 0}},
        {"cases": [], "assignments": {"{}": 0}},
        {"presentation": 3},
        {"assignments": [3]},
    ):
        yield json.dumps(values | changes)


@pytest.mark.parametrize("content", [*_broken_definitions()], ids=itertools.count())
def test_a_damaged_definition_is_refused_and_kept(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    for action in (lambda: run_study(STUDY, tmp_path, "sequential"), lambda: redraw(tmp_path)):
        with pytest.raises(ValueError, match=r"study\.json is damaged or of another version .*restore it"):
            action()
    assert (tmp_path / "study.json").read_text() == content


def test_a_damaged_result_is_refused_and_kept(copy):
    path = next(copy.glob("runs/*/result.json"))
    whole = path.read_text()
    values = json.loads(whole)
    foreign = values | {"run": values["run"] | {"seed": 9}}
    missing = {key: value for key, value in values.items() if key != "losses"}
    for content in (whole[: len(whole) // 2], "", "3", *map(json.dumps, (foreign, missing, values | {"format": 0}))):
        path.write_text(content)
        for action in (lambda: run_study(STUDY, copy, "sequential"), lambda: redraw(copy)):
            with pytest.raises(ValueError, match=r"result\.json' is damaged.*delete this file"):
                action()
        assert path.read_text() == content


def test_what_is_no_results_folder_is_refused_and_kept(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    for action in (lambda: run_study(STUDY, other, "sequential"), lambda: redraw(other)):
        with pytest.raises(ValueError, match=r"study\.json.*give a"):
            action()
    assert [entry.name for entry in other.iterdir()] == ["thesis.tex"]
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ValueError, match="cannot be a folder of results"):
        run_study(STUDY, file, "sequential")
    for path in (file, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"has no study\.json"):
            redraw(path)
    assert file.read_text() == "x"
    assert not (tmp_path / "nothing").exists()


def test_foreign_files_beside_a_study_s_own_are_left_alone(copy):
    (copy / "notes.txt").write_text("mine")
    (copy / "runs" / "scratch").mkdir()
    (copy / "runs" / "notes.txt").write_text("mine")
    (copy / "runs" / "scratch" / "notes.txt").write_text("mine")
    assert run_study(STUDY, copy, "sequential").finished
    for name in ("notes.txt", "runs/notes.txt", "runs/scratch/notes.txt"):
        assert (copy / name).read_text() == "mine"


def test_runs_without_their_definition_are_refused(copy):
    (copy / "study.json").unlink()
    before = content_of(copy)
    with pytest.raises(ValueError, match=r"holds runs, but the study\.json.* is gone; restore it"):
        run_study(STUDY, copy, "sequential")
    assert content_of(copy) == before


# --- what happens while a study is under way ---


def _begin(path, size, gate, answers):
    gate.wait()
    try:
        with ResultsFolder.held(path, toy(sizes=[size])):
            answers.put(size)
            gate.wait()  # both have tried by now, or wait for the lock
    except ValueError as error:
        answers.put(str(error))
        gate.wait()


def test_of_two_processes_one_has_the_folder_and_its_study_is_what_the_folder_has(tmp_path):
    context = multiprocessing.get_context("fork")
    gate, answers = context.Barrier(2), context.Queue()
    both = [context.Process(target=_begin, args=(tmp_path / "new", size, gate, answers)) for size in (1, 2)]
    for process in both:
        process.start()
    winner, refusal = sorted((answers.get(timeout=60) for _ in both), key=lambda answer: isinstance(answer, str))
    for process in both:
        process.join(60)
    assert "in use by another process" in refusal
    assert ResultsFolder.open(tmp_path / "new").study == toy(sizes=[winner])


def test_a_failing_run_is_named_and_what_was_finished_stays(tmp_path, monkeypatch):
    processor, calls = loop.processor, []  # not a part of the toy kind, whose code would be another one

    def failing():
        calls.append(None)
        if len(calls) == 4:
            raise OSError("no such disk")
        return processor()

    monkeypatch.setattr(loop, "processor", failing)
    with pytest.raises(
        RunFailedError, match=r"run 'Halving, size 2, seed 0' failed \(OSError: no such disk\).*error\.txt"
    ):
        run_study(STUDY, tmp_path, "sequential")
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 3
    error = next(tmp_path.glob("runs/*/error.txt"))
    assert "Traceback" in error.read_text()
    monkeypatch.undo()
    monkeypatch.setattr(loop, "reset_peak_memory", lambda device: None)
    assert run_study(replace(STUDY), tmp_path, "sequential").finished
    assert not error.exists()


def test_a_diverging_case_does_not_stop_a_study(tmp_path):
    study = toy(learning_rates=[1e200])
    assert run_study(study, tmp_path, "sequential").finished
    results = pd.read_csv(tmp_path / "results.csv")
    assert results[results.step == "plain"].loss.isna().all()
    assert results[results.step == "halving"].loss.notna().all()


def test_a_full_disk_is_told_with_the_file_and_what_was_finished_stays(tmp_path, monkeypatch):
    write, full = os.fsync, []

    def filling(handle):
        if full:
            raise OSError(28, "No space left on device")
        return write(handle)

    monkeypatch.setattr(os, "fsync", filling)
    path = tmp_path / "results"
    with pytest.raises(OSError, match=r"make room.*result\.json"):
        run_study(STUDY, path, "sequential", progress=lambda done, *_: full.extend([1] * (done == 3)))
    assert len(list(path.rglob("result.json"))) == 3
    assert not list(path.rglob("*.tmp"))
    with pytest.raises(ValueError, match=r"new' cannot be a folder of results.*make room.*study\.json"):
        run_study(STUDY, tmp_path / "new", "sequential")
    # A run that fails on it is named even where its traceback has no room.
    surroundings = Surroundings(checkpoint_seconds=1e-9)
    with pytest.raises(RunFailedError, match=r"run 'Halving, size 2.*checkpoint\.pt.*could not be written.*error\.txt"):
        run_study(STUDY, path, "sequential", surroundings=surroundings)
    full.clear()
    assert run_study(STUDY, path, "sequential").finished


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_content(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_content(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


WILD = "[bold]<script>alert(1)</script>[/] \x1b[31m % & \" ' é"


def test_titles_are_text_wherever_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(STEPS._entries, "wild", None)
    STEPS.add("wild", toy_kind.plain, title=WILD)
    study = toy(takes=["wild"], title=WILD)
    outcome = run_study(study, tmp_path / "results", "sequential")
    page = outcome.report.read_text()
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page
    assert "[bold]" in page
    assert ResultsFolder.open(tmp_path / "results").study.title == WILD
    assert "\x1b" not in (tmp_path / "results" / "results.csv").read_text()
    monkeypatch.setattr(ToyTrial, "finish", lambda self: 1 / 0)
    with pytest.raises(RunFailedError) as caught:
        run_study(study, tmp_path / "failing", "sequential")
    assert "\x1b" not in str(caught.value)


def test_a_kind_that_is_not_registered_is_told(copy, monkeypatch):
    monkeypatch.delitem(KINDS._entries, "toy")
    with pytest.raises(ValueError, match=r"kind of study has no choice 'toy'"):
        redraw(copy)
