"""Where runs are made: worker processes that know what this one knows and end with it, this process, and clusters."""

import functools
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_kind import STEPS, toy

from benchmarks.kills import members
from sttp.study import executors, foreign
from sttp.study.engine import run_study
from sttp.study.executors import (
    EXECUTORS,
    Dask,
    Executor,
    Loky,
    Ray,
    RunFailedError,
    Sequential,
    WorkersLostError,
    executor_of,
)
from sttp.study.foreign import Parcel
from sttp.study.workers import Failure, perform_all, require_workers

TESTS = Path(__file__).parent
GONE_SECONDS = 5.0  # within which workers are gone after their parent

# A study in a process of its own, whose workers are killed with it: a step that only this script knows, and slow ones.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from toy_kind import STEPS, toy
from sttp.study import turns
from sttp.study.engine import run_study
from sttp.study.surroundings import Surroundings

turns.STEPS = 1
STEPS.add("own", lambda value, rate: value - rate * value / 2)
study = toy(takes=["plain", "own"], sizes=[1], steps=12, noise=0.01, pause=0.02)
run_study(study, sys.argv[1], workers=2, surroundings=Surroundings(checkpoint_seconds=1e-9))
"""


def start(folder):
    """Begin the study in a process; return it."""
    program = folder / "program.py"
    program.write_text(PROGRAM.format(tests=str(TESTS)))
    command = [sys.executable, str(program), str(folder / "results")]
    with (folder / "said.txt").open("a") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)


@pytest.fixture
def start_study():
    """:func:`start`; whatever is left of the studies at the end of the test is ended."""
    begun = []

    def starting(*arguments):
        begun.append(start(*arguments))
        return begun[-1]

    yield starting
    for process in begun:
        process.kill()
        process.wait()
        for left in members(process.pid):
            os.kill(left, signal.SIGKILL)


def until(condition, seconds):
    """Wait for a condition; return whether it has come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
def test_a_killed_study_leaves_no_process_and_ends_with_the_same_results(tmp_path, start_study, monkeypatch):
    results, said = tmp_path / "results", tmp_path / "said.txt"
    process = start_study(tmp_path)
    # In the middle of runs; `python -m benchmarks kills` has other moments.
    assert until(lambda: list(results.rglob("checkpoint.pt")), 120), said.read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert until(lambda: not members(process.pid), GONE_SECONDS), members(process.pid)
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    time.sleep(0.3)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before
    STEPS.add("own", lambda value, rate: value - rate * value / 2)
    monkeypatch.setattr("sttp.study.turns.STEPS", 1)
    values = {"takes": ["plain", "own"], "sizes": [1], "steps": 12, "noise": 0.01}
    run_study(toy(**values, pause=0.02), results, "sequential")
    run_study(toy(**values), tmp_path / "whole", "sequential")
    ours, theirs = ((folder / "results.csv").read_bytes() for folder in (results, tmp_path / "whole"))
    # The pause of a step is no part of a table, but of runs' identifiers.
    assert [line.split(b",")[1:] for line in ours.splitlines()] == [
        line.split(b",")[1:] for line in theirs.splitlines()
    ]
    assert not list(results.rglob("checkpoint.pt"))


# --- one function on many jobs ---


@dataclass(frozen=True)
class Threads(Executor):
    """As many threads as there are jobs: an executor of one's own."""

    asked: tuple = ()

    def made(self, function, jobs, workers):
        found = []
        threads = [threading.Thread(target=lambda job=job: found.append(function(job))) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield from found


def test_an_executor_of_one_s_own_makes_runs_one_at_a_time(tmp_path):
    under_way, most = [], []

    def job(number):
        under_way.append(number)
        most.append(len(under_way))
        time.sleep(0.005)
        under_way.remove(number)
        return number

    assert sorted(perform_all(job, range(8), Threads())) == list(range(8))
    assert max(most) == 1  # they would seed each other's generator
    assert run_study(toy(noise=0.1), tmp_path, Threads()).finished


def test_failures_come_back_as_values_and_threads_are_set_back():
    before = torch.get_num_threads()

    def job(number):
        assert torch.get_num_threads() == 2
        return 1 / number

    good, bad = perform_all(job, [1, 0], "sequential", threads=2)
    assert good == 1.0
    assert isinstance(bad, Failure)
    assert (bad.job, bad.summary) == (0, "ZeroDivisionError: division by zero")
    assert "in job" in bad.text
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("executor", "options", "error", "message"),
    [
        ("lokyy", {}, ValueError, "executor has no choice 'lokyy'; did you mean 'loky'"),
        (3, {}, TypeError, "executor must be a string, got 3"),
        ("loky", {"scheduler": "tcp://a:1"}, ValueError, "executor 'loky' does not take scheduler='tcp://a:1'"),
        ("math:sqrt", {}, ValueError, "executor 'math:sqrt' does not take"),
        (
            "builtins:list",
            {},
            TypeError,
            r"executor 'builtins:list' must be an object of a subclass of Exec",
        ),
        ("nowhere:Executor", {}, ValueError, "the module 'nowhere' cannot be imported"),
    ],
)
def test_unknown_executors_and_options_are_refused_by_name(executor, options, error, message):
    with pytest.raises(error, match=message):
        executor_of(executor, **options)


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_number_of_workers_that_makes_no_sense_is_refused(count, error):
    with pytest.raises(error, match="workers must be"):
        list(perform_all(str, [1], "loky", count))


def test_executors_are_objects_or_names():
    assert executor_of("loky", scheduler=None) == Loky()
    assert executor_of(Sequential()) == Sequential()
    assert executor_of("dask", scheduler="tcp://a:1") == Dask("tcp://a:1")
    assert executor_of(f"{__name__}:Threads") == Threads()
    assert set(EXECUTORS) >= {"loky", "sequential", "dask", "ray"}


# --- what workers know ---


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that this process can import, and workers cannot."""

    def write(name, code):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return write


@pytest.fixture(autouse=True)
def _own_steps(monkeypatch):
    """Forget steps that a test registers or imports."""
    monkeypatch.setattr(STEPS, "_entries", dict(STEPS._entries))
    monkeypatch.setattr(STEPS, "_imported", dict(STEPS._imported))


def test_a_worker_knows_what_this_process_has_registered(tmp_path):
    STEPS.add("closure", (lambda factor: lambda value, rate: value * factor)(0.25), title="By a quarter")
    study = toy(takes=["closure"])
    require_workers("loky", 2, study.to_dict())
    made = run_study(study, tmp_path / "loky", "loky", workers=2)
    here = run_study(study, tmp_path / "here", "sequential")
    assert {run: r.losses for run, r in made.results.items()} == {run: r.losses for run, r in here.results.items()}
    # Another thing of that name is another one, in the same workers.
    STEPS.add("closure", (lambda factor: lambda value, rate: value * factor)(0.5))
    again = run_study(study, tmp_path / "again", "loky", workers=2)
    assert {result.losses for result in made.results.values()}.isdisjoint(r.losses for r in again.results.values())


class Warns:
    """A function that is sent by value, and warns."""

    def __call__(self, number):
        warnings.warn(f"number {number} is odd", RuntimeWarning, stacklevel=1)
        return number


def test_warnings_of_workers_are_given_here():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert sorted(perform_all(Warns(), [1, 1, 3], "loky", 2)) == [1, 1, 3]
    assert sorted(str(one.message) for one in caught) == ["number 1 is odd", "number 3 is odd"]


def test_a_worker_that_dies_is_told_with_the_cure():
    with pytest.raises(WorkersLostError, match=r"a worker process has died.*fewer workers"):
        list(perform_all(lambda job: os.kill(os.getpid(), signal.SIGKILL), [1, 2], "loky", 2))


def test_a_failing_run_ends_a_study_and_leaves_all_others_silently(tmp_path):
    STEPS.add("failing", lambda value, rate: 1 / 0)
    with pytest.raises(RunFailedError, match=r"run 'failing, size.*ZeroDivisionError"):
        run_study(toy(takes=["failing", "plain"], sizes=[*range(1, 30)], pause=0.01), tmp_path, "loky", workers=2)


class _Elsewhere(Executor):
    """Workers, played by a child of this process that cannot import what this one can."""

    def made(self, function, jobs, workers):
        def job(given):
            path, modules = sys.path[:], {name for name in sys.modules if name.startswith("own_")}
            entries = STEPS._entries
            sys.path[:] = [entry for entry in path if "pytest" not in entry]
            STEPS._imported.clear()
            foreign._ADOPTED.clear()
            STEPS._entries = {name: entry for name, entry in STEPS._entries.items() if name != "halves"}
            for name in modules:
                del sys.modules[name]
            importlib.invalidate_caches()
            try:
                return function(given)
            finally:
                sys.path[:] = path
                STEPS._entries = entries

        return map(job, jobs)


def test_workers_that_cannot_import_a_user_s_module_say_so_before_the_first_run(module, tmp_path):
    module("own_steps", "def half(value, rate):\n    return value / 2\n")
    study = toy(takes=["own_steps:half"])
    require_workers("sequential", None, study.to_dict())
    with pytest.raises(ValueError, match=r"workers do not know the toy step 'own_steps:half'.*No module.*PYTHON"):
        run_study(study, tmp_path / "results", _Elsewhere())
    assert not (tmp_path / "results").exists()


def test_workers_that_cannot_load_what_is_sent_say_so_before_the_first_run(module, tmp_path):
    module("own_other", "def half(value, rate):\n    return value / 2\n")
    import own_other

    STEPS.add("halves", own_other.half)
    study = toy(takes=["halves"])
    with pytest.raises(ValueError, match=r"workers do not know the toy step 'halves'.*No module.*own_other.*PYTHON"):
        run_study(study, tmp_path / "results", _Elsewhere())
    assert not (tmp_path / "results").exists()


class Unsendable:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, value, rate):
        return value / 2


def test_a_thing_that_cannot_be_sent_is_refused_by_name_where_the_study_names_it(tmp_path):
    STEPS.add("locked", Unsendable())
    with pytest.raises(ValueError, match=r"toy step 'locked' cannot be sent to worker.*pickle.*package\.module:object"):
        run_study(toy(takes=["locked"]), tmp_path / "results", "loky", workers=2)
    assert not (tmp_path / "results").exists()
    assert run_study(toy(takes=["locked"]), tmp_path / "results", "sequential").finished
    require_workers("loky", 2, toy(takes=["plain"]).to_dict())  # which names another one
    assert "locked" not in {entry.name for entry in Parcel.packed().entries}


def test_things_are_named_by_words_and_their_sources_are_told_apart():
    STEPS.add("mine", lambda value, rate: value / 2)
    STEPS.add("mi", lambda value, rate: value / 3)
    found = foreign.foreign_things({"a": ["sttp mine", 3, None]})
    assert {entry.name for register, entry in found if register is STEPS} == {"mine"}
    first = foreign.sources(["mine"])
    assert list(first) == ["toy step mine"]
    STEPS.add("mine", lambda value, rate: value / 4)
    assert foreign.sources(["mine"]) != first
    STEPS.add("mine", torch.nn.functional.relu)  # a library's, whose version every result has
    assert foreign.sources(["mine"]) == {}


class Slope:
    def __init__(self, factor, loss):
        self.factor, self.loss = factor, loss

    def __call__(self, value, rate):
        return self.factor * value


def sloped(factor, by=1.0):
    return lambda value, rate: by * factor * value


FACTOR = 2.0


def helped(value, rate):
    return helper(value)


def helper(value):
    return FACTOR * value


def test_what_a_function_names_is_part_of_its_code(monkeypatch):
    def digest():
        return foreign.sources(["mine"])["toy step mine"]

    STEPS.add("mine", helped)
    before = digest()
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    after = digest()
    assert after != before
    monkeypatch.setitem(globals(), "helper", lambda value: value)
    assert digest() not in (before, after)


def test_what_a_thing_holds_is_part_of_its_code():
    def digest(thing):
        STEPS.add("mine", thing)
        return foreign.sources(["mine"])["toy step mine"]

    relu = torch.nn.functional.relu
    things = [
        Slope(1.0, relu),
        Slope(2.0, relu),
        Slope(1.0, lambda value: value),
        Slope(1.0, lambda value: -value),
        Slope(1.0, torch.nn.LeakyReLU(0.1)),
        Slope(1.0, torch.nn.LeakyReLU(0.2)),
        sloped(1.0),
        sloped(2.0),
        functools.partial(Slope, 1.0),
        functools.partial(Slope, 2.0),
        sloped(torch.zeros(3)),
        sloped(torch.ones(3)),
        sloped(np.arange(3)),
    ]
    digests = [digest(thing) for thing in things]
    assert len(set(digests)) == len(digests)
    assert digest(Slope(1.0, relu)) == digests[0]
    assert digest(sloped(2.0)) == digests[7]
    beside, changed = [lambda value, rate: value, 3], [lambda value, rate: value, 4]
    assert digest(beside[0]) == digest(changed[0])  # what stands on a line beside a lambda is none of its code


def default_dtype(job):
    return str(torch.get_default_dtype())


def test_workers_have_the_dtype_of_this_process():
    torch.set_default_dtype(torch.float64)
    try:
        assert set(perform_all(default_dtype, range(4), "loky", 2)) == {"torch.float64"}
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(perform_all(default_dtype, range(4), "loky", 2)) == {"torch.float32"}


# --- clusters ---


@pytest.mark.parametrize(("executor", "package"), [(Dask("tcp://localhost:1"), "distributed"), (Ray(), "ray")])
def test_a_cluster_s_missing_package_is_told_with_its_extra(executor, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    extra = type(executor).__name__.lower()
    with pytest.raises(ValueError, match=rf"executor '{extra}' needs a package.*pip install 'sttp-torch\[{extra}\]'"):
        run_study(toy(), tmp_path / "results", executor)
    assert not (tmp_path / "results").exists()


@pytest.fixture(scope="module")
def scheduler():
    """The address of a Dask cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, protocol="tcp"
        ) as found,
    ):
        yield found.scheduler_address


needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def same_results(first, second):
    return (first / "results.csv").read_bytes() == (second / "results.csv").read_bytes()


@needs_dask
def test_a_dask_cluster_makes_whole_studies_and_goes_on_where_others_were(scheduler, tmp_path):
    STEPS.add("closure", (lambda factor: lambda value, rate: value * factor)(0.25))
    study = toy(takes=["plain", "closure", "halving"], noise=0.1)
    assert run_study(study, tmp_path / "here", "sequential").finished
    assert run_study(study, tmp_path / "dask", Dask(scheduler)).finished
    assert same_results(tmp_path / "here", tmp_path / "dask")
    made = []
    for lost in list((tmp_path / "dask").glob("runs/*/result.json"))[:5]:
        lost.unlink()
    run_study(study, tmp_path / "dask", "sequential", progress=lambda *call: made.append(call))
    for lost in list((tmp_path / "dask").glob("runs/*/result.json"))[:5]:
        lost.unlink()
    run_study(study, tmp_path / "dask", Dask(scheduler), progress=lambda *call: made.append(call))
    assert len([call for call in made if call[2] is not None]) == 10
    assert same_results(tmp_path / "here", tmp_path / "dask")


@needs_dask
def test_a_dask_client_of_this_process_is_used(scheduler):
    import distributed

    with pytest.raises(ValueError, match="scheduler must be given for the executor 'dask'"):
        Dask().require()
    with distributed.Client(scheduler) as client:
        Dask().require()
        assert sorted(perform_all(abs, [-1, -2, 3], Dask())) == [1, 2, 3]
        assert client.status == "running"


@needs_dask
def test_a_scheduler_that_does_not_answer_is_refused_before_there_is_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 1)
    with pytest.raises(ValueError, match=r"scheduler 'tcp://127\.0\.0\.1:1' does not answer.*dask scheduler"):
        run_study(toy(), tmp_path / "results", Dask("tcp://127.0.0.1:1"))
    assert not (tmp_path / "results").exists()


@needs_dask
def test_a_dask_worker_that_dies_again_and_again_ends_the_study(scheduler, tmp_path):
    STEPS.add("deadly", lambda value, rate: os._exit(1))
    with pytest.raises(WorkersLostError, match=r"the cluster has lost a run.*begin the study again"):
        run_study(toy(takes=["deadly"]), tmp_path, Dask(scheduler))


@needs_ray
def test_a_ray_cluster_makes_whole_studies(tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    STEPS.add("closure", (lambda factor: lambda value, rate: value * factor)(0.25))
    study = toy(takes=["plain", "closure"], noise=0.1)
    try:
        assert run_study(study, tmp_path / "here", "sequential").finished
        assert run_study(study, tmp_path / "ray", Ray()).finished
        assert same_results(tmp_path / "here", tmp_path / "ray")
    finally:
        ray.shutdown()
