"""The one loop: what it writes down, where it goes on from, and what it refuses to go on from."""

import fcntl
import math
import random
import socket
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import toy_kind
from toy_kind import STEPS, ToyTrial, toy

from sttp.study import heartbeat, loop
from sttp.study.heartbeat import AbandonedError, Heartbeat, clear_heartbeats, shares, stop_heartbeat
from sttp.study.loop import RateRefusedError, perform
from sttp.study.result import Result
from sttp.study.run_files import CHECKPOINT, read_checkpoint, write_checkpoint
from sttp.study.surroundings import RUNS, Surroundings
from sttp.study.turns import Turn, take_turns


@pytest.fixture(autouse=True)
def _small_memory(monkeypatch):
    monkeypatch.setattr(loop, "reset_peak_memory", lambda device: None)  # which takes longer than all that is here


def run_of(rate=0.3, seed=0, **shared):
    study = toy(**shared)
    return study.run(study.cases[0], rate, seed)


def outcome(result):
    """All of a result but what it cost."""
    return replace(result, timing=None)


def test_a_run_is_written_down_step_by_step():
    result = perform(run_of(0.5, steps=4))
    assert result.losses == tuple(0.5 ** (2 * k) / 2 for k in range(1, 5))
    assert [look.step for look in result.looks] == [0, 2, 4]
    assert result.looks[0].measures == {"gap": 1.0}
    assert (result.final, result.facts) == ({"test_loss": 0.5**8}, {"z": 1.0})
    assert len(result.timing.step_seconds) == 4
    assert (result.diverged_at, result.reason) == (None, None)
    assert result.environment.keys() >= {"torch", "python", "sttp-torch"}


def test_results_survive_their_form_on_disk():
    result = perform(run_of(noise=0.1))
    assert Result.from_dict(result.to_dict()) == result


def test_the_global_generator_is_left_alone_and_gives_a_run_the_same_numbers():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = perform(run_of(noise=0.1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert outcome(perform(run_of(noise=0.1))) == outcome(first)
    assert perform(run_of(noise=0.1, seed=1)).losses != first.losses


@pytest.mark.parametrize("raised", [torch.linalg.LinAlgError("no"), FloatingPointError("no")])
def test_a_loss_or_a_measure_that_is_not_finite_or_a_failed_factorization_ends_a_run(raised, monkeypatch):
    steps = iter(range(99))

    def failing(value, rate):
        if next(steps) == 3:
            raise raised
        return value * 2

    monkeypatch.setitem(STEPS._entries, "failing", None)
    STEPS.add("failing", failing)
    result = perform(run_of(takes=["failing"], steps=9))
    assert (result.diverged_at, len(result.losses), result.final) == (3, 3, {})
    result = perform(run_of(1e200, steps=9))
    assert result.diverged_at == len(result.losses) == 0
    monkeypatch.setattr(ToyTrial, "look", lambda self, step: toy_kind.Look(step, {"gap": math.nan if step else 1.0}))
    result = perform(run_of(steps=4))
    assert (result.diverged_at, [look.step for look in result.looks]) == (2, [0])


def test_a_refused_rate_is_a_run_that_diverged(monkeypatch):
    def refusing(self, step):
        raise RateRefusedError("too large")

    monkeypatch.setattr(ToyTrial, "step", refusing)
    result = perform(run_of())
    assert (result.diverged_at, result.reason) == (0, "refused: too large")


def test_a_trial_may_end_by_itself_and_is_looked_at_then(monkeypatch):
    step = ToyTrial.step

    def ending(self, number):
        if number == 4:
            self.reason = "converged"
            return None
        return step(self, number)

    monkeypatch.setattr(ToyTrial, "step", ending)
    result = perform(run_of(steps=9))
    assert (len(result.losses), result.reason, result.diverged) == (4, "converged", False)
    assert [look.step for look in result.looks] == [0, 4]


# --- going on ---


class Killed(BaseException):
    """What a kill is to a run: nothing is done about it."""


def killed_at(monkeypatch, run, surroundings, step):
    """Make a run up to a step and leave it there."""
    make, calls = ToyTrial.step, []

    def stopping(self, number):
        calls.append(number)
        if number == step:
            raise Killed
        return make(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(ToyTrial, "step", stopping)
        with pytest.raises(Killed):
            perform(run, surroundings)
    return calls


@pytest.fixture
def surroundings(tmp_path):
    return Surroundings(folder=str(tmp_path), checkpoint_seconds=1e-9)


@pytest.mark.parametrize("step", range(1, 7))
def test_a_killed_run_goes_on_to_the_same_outcome(step, surroundings, monkeypatch):
    run = run_of(noise=0.1, steps=7)  # which draws from the global generator
    expected = perform(run)
    assert killed_at(monkeypatch, run, surroundings, step) == list(range(step + 1))
    assert killed_at(monkeypatch, run, surroundings, 6)[0] == step
    result = perform(run, surroundings)
    assert outcome(result) == outcome(expected)
    assert len(result.timing.step_seconds) == 7


def test_a_checkpoint_of_another_run_device_or_version_is_left_alone(surroundings, tmp_path, monkeypatch):
    run, other = run_of(noise=0.1), run_of(noise=0.1, seed=1)
    killed_at(monkeypatch, run, surroundings, 5)
    file = tmp_path / RUNS / run.identifier / CHECKPOINT
    (tmp_path / RUNS / other.identifier).mkdir()
    (tmp_path / RUNS / other.identifier / CHECKPOINT).write_bytes(file.read_bytes())
    assert killed_at(monkeypatch, other, surroundings, 2) == [0, 1, 2]
    monkeypatch.setattr(loop, "environment", lambda: {"torch": "0"})
    assert killed_at(monkeypatch, run, surroundings, 2) == [0, 1, 2]


def test_a_checkpoint_that_is_cut_or_changed_anywhere_is_never_gone_on_from(tmp_path):
    content = {"step": 3, "trial": {"value": torch.randn(20)}, "trace": {"losses": [0.1, 0.2]}}
    write_checkpoint(tmp_path, {"torch": "1"}, content)
    file = tmp_path / CHECKPOINT
    whole = file.read_bytes()
    found = read_checkpoint(tmp_path, {"torch": "1"})
    assert torch.equal(found.pop("trial")["value"], content["trial"]["value"])
    assert found == {"step": 3, "trace": {"losses": [0.1, 0.2]}}
    draw = random.Random(0)
    damaged = [whole[: draw.randrange(len(whole))] for _ in range(60)]
    damaged += [whole + b"\0", whole[32:], b"", whole[:32], b"\0" * len(whole)]
    for _ in range(300):
        position, bit = draw.randrange(len(whole)), draw.randrange(8)
        damaged.append(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])
    for data in damaged:
        file.write_bytes(data)
        with pytest.warns(UserWarning, match="is damaged, so that its run begins anew") as caught:
            assert read_checkpoint(tmp_path, {"torch": "1"}) is None
        assert str(file) in str(caught[0].message)
        assert file.read_bytes() == data
    file.write_bytes(whole)
    assert read_checkpoint(tmp_path, {"torch": "2"}) is None
    assert read_checkpoint(tmp_path / "nowhere", {"torch": "1"}) is None


def test_a_run_with_a_damaged_checkpoint_begins_anew_and_says_so(surroundings, tmp_path, monkeypatch):
    run = run_of(noise=0.1)
    killed_at(monkeypatch, run, surroundings, 5)
    file = tmp_path / RUNS / run.identifier / CHECKPOINT
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="begins anew"):
        assert outcome(perform(run, surroundings)) == outcome(perform(run))


# --- the study that a run is for ---


def test_a_run_whose_study_has_died_writes_nothing_more(tmp_path, monkeypatch):
    run = run_of()
    surroundings = Surroundings(folder=str(tmp_path), checkpoint_seconds=1e-9)
    lock = tmp_path / heartbeat.LOCK
    lock.write_text(socket.gethostname())
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        killed_at(monkeypatch, run, surroundings, 4)  # of a study that lives
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(AbandonedError, match="has ended"):
        perform(run, surroundings)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    lock.write_text("another machine")  # whose locks this one may not see
    assert perform(run, surroundings).final


def test_progress_is_told_whole_at_most_once_a_second_and_forgotten(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("sttp.study.heartbeat.time.monotonic", lambda: clock[0])
    folder = tmp_path / RUNS / "resumed"
    folder.mkdir(parents=True)
    heartbeat = Heartbeat(folder, 50, 100)
    heartbeat.beat(51)
    assert shares(tmp_path / RUNS) == {}
    clock[0] += 2
    heartbeat.beat(75)
    assert shares(tmp_path / RUNS) == {"resumed": (0.5, 0.75)}
    assert list(folder.iterdir()) == []
    for name, content in (("older", "5 10"), ("half", "3"), ("none", "0 0 0"), ("words", "a b c")):
        (tmp_path / ".progress" / name).write_text(content)
    assert shares(tmp_path / RUNS) == {"resumed": (0.5, 0.75)}
    stop_heartbeat(folder)
    assert shares(tmp_path / RUNS) == {}
    clear_heartbeats(tmp_path / RUNS)
    assert not (tmp_path / ".progress").exists()
    Heartbeat(None, 0, 1).beat(1)


def test_a_full_disk_does_not_end_a_run_for_its_progress(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sttp.study.heartbeat.time.monotonic", lambda: clock[0])
    heartbeat = Heartbeat(tmp_path / RUNS / "a", 0, 10)
    clock[0] += 2
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    heartbeat.beat(3)
    assert shares(tmp_path / RUNS) == {}


# --- turns ---


def test_steps_are_timed_in_turns_and_nothing_is_written(tmp_path, monkeypatch):
    order, step = [], ToyTrial.step

    def noted(self, number):
        order.append(self.case.size)
        return step(self, number)

    monkeypatch.setattr(ToyTrial, "step", noted)
    study = toy(takes=["plain"], sizes=[1, 2, 3], steps=7)
    runs = [study.run(case, 0.1, 0) for case in study.cases]
    turns = take_turns(runs, Surroundings(), rounds=3)
    assert order == [size for _ in range(4) for size in (1, 2, 3) for _ in range(10)]
    assert [turn.run for turn in turns] == [run.identifier for run in runs]
    for turn in turns:
        assert len(turn.seconds) == 3
        low, high = turn.spread
        assert 0 < low <= turn.median <= high
        assert turn.load is None or turn.load > 0
        assert Turn.from_dict(asdict(turn)) == turn
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_can_make_no_step_has_no_turn(monkeypatch):
    step = ToyTrial.step
    monkeypatch.setattr(ToyTrial, "step", lambda self, n: None if self.case.size == 2 else step(self, n))
    study = toy(takes=["plain"], sizes=[1, 2])
    runs = [study.run(case, 0.1, 0) for case in study.cases]
    assert [turn.run for turn in take_turns(runs, Surroundings(), rounds=2)] == [runs[0].identifier]
    assert take_turns([], Surroundings()) == ()


def test_a_slow_case_does_not_hold_up_the_turns(monkeypatch):
    monkeypatch.setattr("sttp.study.turns.SECONDS", 0.1)
    calls, study = [], toy(takes=["plain"], pause=0.06)
    step = ToyTrial.step
    monkeypatch.setattr(ToyTrial, "step", lambda self, number: (calls.append(number), step(self, number))[1])
    (turn,) = take_turns([study.run(study.cases[0], 0.1, 0)], Surroundings(), rounds=1)
    assert turn.median >= 0.06
    assert len(calls) == 4  # two in the first round, which warms up


def test_results_tell_their_ends():
    result = perform(run_of(steps=4))
    assert result.last("gap") == result.last("test_loss") == result.looks[-1].measures["gap"]
    assert result.last("nothing") is None
    assert result.series("gap") == tuple(look.measures["gap"] for look in result.looks)
    assert result.largest("gap") == 1.0
    assert result.largest("nothing") is None
    np.testing.assert_allclose(result.look_seconds[-1], sum(result.timing.step_seconds))
    assert asdict(result.looks[0])["spectra"] == {"only": (1.0,)}
