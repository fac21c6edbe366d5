"""Definitions of studies: from values and TOML, what makes two of them equal, and what they refuse."""

import json
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_kind import KINDS, STEPS, ToyCase, ToyKind, toy

from sttp.study.case import Run
from sttp.study.definition import STUDIES, Study, read_study
from sttp.study.design import DESIGNS, Design, Grid, OneAtATime
from sttp.study.kind import read_run
from sttp.study.search import Bisection, GridSearch
from sttp.study.surroundings import Surroundings

SMALL = toy(sizes=[1, 2], steps=4)


def as_toml(values, prefix=""):
    """Plain values as a TOML file has them; tables come last."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables]
    for key, table in tables.items():
        lines += [f"[{prefix}{key}]", as_toml(table, f"{prefix}{key}.")]
    return "\n".join(lines)


def test_a_study_has_a_case_for_each_combination_that_is_one():
    assert [(case.step, case.size) for case in SMALL.cases] == [
        ("plain", 1),
        ("plain", 2),
        ("halving", 1),
        ("halving", 2),
    ]
    assert all(case.steps == 4 for case in SMALL.cases)
    without = toy(sizes=[0, 2], takes=["plain"])  # size 0 is no case
    assert [case.size for case in without.cases] == [2]
    assert without.case_of({"step": "plain", "size": 0}) is None
    assert without.case_of({"size": 2, "step": "plain"}) == without.cases[0]


def test_a_design_around_a_centre_has_groups():
    study = toy(design="one-at-a-time", takes=["plain", "halving"], sizes=[1, 2, 3], factors={"noise": [0.0, 0.1]})
    assert isinstance(study.design, OneAtATime)
    assert len(study.cases) == 1 + 1 + 2 + 1
    for name, group in study.groups.items():
        cases = [study.case_of(assignment) for assignment in group]
        assert all(case in study.cases for case in cases)
        assert len({getattr(case, name) for case in cases}) == len(cases)
    assert SMALL.groups == {}


def test_a_crossed_factor_takes_all_its_values_around_each_centre(monkeypatch):
    monkeypatch.setattr(DESIGNS, "_entries", dict(DESIGNS._entries))
    DESIGNS.add("by-step", OneAtATime(crossed=("step",)))
    study = toy(design="by-step", takes=["plain", "halving"], sizes=[1, 2])
    assert [(case.step, case.size) for case in study.cases] == [
        ("plain", 1),
        ("plain", 2),
        ("halving", 1),
        ("halving", 2),
    ]


keys = st.fixed_dictionaries(
    {"sizes": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)},
    optional={
        "seeds": st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
        "title": st.text(max_size=9),
        "steps": st.integers(1, 9),
        "design": st.sampled_from(["grid", "one-at-a-time"]),
        "extensions": st.integers(0, 3),
        "tuning_seed": st.integers(0, 20),
        "learning_rates": st.lists(st.sampled_from([0.1, 0.2, 1, 2]), min_size=1, max_size=3, unique=True).map(sorted),
    },
)


@given(keys)
def test_a_study_is_the_same_after_its_plain_values(values):
    study = toy(**values)
    written = json.loads(json.dumps(study.to_dict()))
    again = Study.from_dict(written)
    assert again == study
    assert again.cases == study.cases
    assert again.to_dict() == study.to_dict()
    assert [study.run(case, None if not case.needs_rate else 0.1, 0).identifier for case in again.cases] == [
        study.run(case, None if not case.needs_rate else 0.1, 0).identifier for case in study.cases
    ]


def test_stored_cases_need_none_of_the_code_that_they_name(monkeypatch):
    values, stored = SMALL.to_dict(), dict(SMALL.assigned)
    monkeypatch.delitem(STEPS._entries, "plain")
    with pytest.raises(ValueError, match="step has no choice 'plain'"):
        Study.from_dict(values)
    assert Study.from_dict(values, stored).cases == SMALL.cases


def test_one_learning_rate_is_one_however_it_is_written():
    one, other = toy(learning_rates=[1, 3]), toy(learning_rates=[1.0, 3.0])
    assert one == other
    case = one.cases[0]
    assert [one.run(case, rate, 0).identifier for rate in one.search.learning_rates] == [
        other.run(case, rate, 0).identifier for rate in other.search.learning_rates
    ]


def test_a_search_is_chosen_by_its_name_and_has_its_keys():
    assert toy().search == GridSearch((0.1, 0.3), 1)  # the kind's
    assert toy(extensions=3).search == GridSearch((0.1, 0.3), 3)
    assert toy(search="bisection", trials=7).search == Bisection(trials=7)
    with pytest.raises(ValueError, match="no choice 'trials'"):
        toy(trials=7)
    with pytest.raises(ValueError, match="search has no choice 'bisecton'; did you mean 'bisection'"):
        toy(search="bisecton")


# --- TOML ---

TOML = """
kind = "toy"
title = "Two steps"
takes = ["plain", "halving"]
sizes = [3]
learning_rates = [1, 3.0]
seeds = [0]

[factors]
noise = [0.0, 0.5]
"""


def test_a_study_is_read_from_toml_and_named_after_its_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    study = read_study(path)
    assert (study.name, study.title, study.seeds, study.kind) == ("mine", "Two steps", (0,), "toy")
    assert {case.noise for case in study.cases} == {0.0, 0.5}
    assert len(study.cases) == 4
    path.write_text(TOML.replace("title", 'name = "other"\ntitle'))
    assert read_study(path).name == "other"
    path.write_text(as_toml(study.to_dict()))
    assert tomllib.loads(path.read_text())
    assert read_study(path) == study


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("learning_rate = [0.1]", ValueError, "'learning_rate'; did you mean 'learning_rates'"),
        ("sizes = [2.5]", TypeError, "size must be an integer, got 2.5"),
        ("sizes = 3", TypeError, "'size' must be a list of values, got 3"),
        ('sizes = "3"', TypeError, "'size' must be a list of values, got '3'"),
        ("sizes = []", ValueError, "'size' must have at least one value"),
        ("sizes = [0]", ValueError, "leave nothing to compare"),
        ("seeds = [1, 1]", ValueError, "seeds must have no entry twice, got 1 again"),
        ("seeds = [-1]", ValueError, "seeds must be.*-1"),
        ('seeds = ["a"]', TypeError, "seeds must be.*'a'"),
        ("seeds = 3", TypeError, "seeds must be a list"),
        ("tuning_seed = 1.5", TypeError, "tuning_seed must be"),
        ("learning_rates = [0.3, 0.1]", ValueError, "must ascend"),
        ('learning_rates = ["a"]', TypeError, "learning_rates must be a number"),
        ('takes = ["plane"]', ValueError, "step has no choice 'plane'; did you mean 'plain'"),
        ('takes = ["nowhere:step"]', ValueError, "the module 'nowhere' cannot be imported"),
        ('takes = ["math:pi"]', TypeError, "toy step 'math:pi': it must be callable"),
        ("takes = [3]", TypeError, "step must be a string, got 3"),
        ("title = 3", TypeError, "title must be a string"),
        ('name = "a/b"', ValueError, "name must be the name of a folder"),
        ('kind = "toi"', ValueError, "kind has no choice 'toi'; did you mean 'toy'"),
        ("kind = 3", TypeError, "kind must be a string"),
        ('design = "gird"', ValueError, "design has no choice 'gird'; did you mean 'grid'"),
        ("factors = 3", TypeError, "factors must be a table"),
        ("factors = {sice = [1]}", ValueError, "factor has no choice 'sice'; did you mean 'size'"),
        ("factors = {size = 1}", TypeError, "'size' must be a list"),
        ("sizes = [2020-01-01]", TypeError, "size must be numbers, texts or flags, got datetime.date"),
        ("steps = nan", ValueError, "steps must be finite, got nan"),
        ("step.factor = 2", TypeError, 'step must be a name, got a table; .* in quotes, as "step.factor"'),
        ("factors = [1]", TypeError, "factors must be a table"),
        ("sizes = [", ValueError, "is not TOML"),
    ],
)
def test_a_wrong_line_of_toml_is_refused_by_name(tmp_path, line, kind, message):
    path = tmp_path / "study.toml"
    first = "" if line.startswith("kind") else 'kind = "toy"\n'
    path.write_text(f"{first}{line}\n")
    with pytest.raises(kind, match=message):
        read_study(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_study(tmp_path / "nothing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary.toml' cannot be read"):
        read_study(tmp_path / "binary.toml")
    with pytest.raises(ValueError, match="name is missing"):
        Study.from_dict({"kind": "toy"})


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a\\b", "", " ", "a\0b", "a\x1b[31mb", "a:b", "what?", 3])
def test_a_name_that_is_no_folder_s_is_refused(name):
    with pytest.raises((ValueError, TypeError), match="name must be"):
        toy(name)


def test_options_of_open_parts_are_factors_and_shared_keys():
    class Open(ToyKind):
        name = "open"

        def case(self, values):
            options = {key: value for key, value in values.items() if key.startswith("step.")}
            return super().case({**values, "noise": options.get("step.noise", 0.0)})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KINDS, "_entries", dict(KINDS._entries))
        KINDS.add("open", Open())
        study = Study.from_dict({"name": "a", "kind": "open", "factors": {"step.noise": [0.1, 0.2]}})
        assert [case.noise for case in study.cases] == [0.1, 0.2]
        assert [case.noise for case in Study.from_dict({"name": "a", "kind": "open", "step.noise": 0.3}).cases] == [0.3]
        for key in ("stp.noise", "step.", ".noise"):
            with pytest.raises(ValueError, match="has no choice"):
                Study.from_dict({"name": "a", "kind": "open", key: 0.3})


def test_a_design_of_one_s_own_has_a_name_in_definitions(monkeypatch):
    class First(Design):
        def assignments(self, factors, centre):
            yield next(Grid().assignments(factors, centre))

        def groups(self, factors, centre):
            return {}

    own = First()
    with pytest.raises(ValueError, match="is not registered; add it to DESIGNS"):
        replace(toy(), design=own).to_dict()
    monkeypatch.setattr(DESIGNS, "_entries", dict(DESIGNS._entries))
    DESIGNS.add("first", own)
    study = toy(design="first", sizes=[1, 2])
    assert len(study.cases) == 1
    assert Study.from_dict(study.to_dict()) == study


# --- runs ---

RUN = Run(ToyCase("plain", 1, 6, 0.0, 0.0), 0.1, 0)


def test_all_that_a_run_is_decides_its_identifier_and_nothing_else():
    others = [
        Run(RUN.case, 0.2, 0),
        Run(RUN.case, 0.1, 1),
        *(
            Run(ToyCase(**{**RUN.case.to_dict(), **change}), 0.1, 0)
            for change in ({"size": 2}, {"steps": 7}, {"noise": 0.1}, {"pause": 0.1})
        ),
    ]
    assert len({RUN.identifier, *(run.identifier for run in others)}) == len(others) + 1
    for run in (RUN, *others):
        again = read_run(json.loads(json.dumps(run.to_dict())))
        assert again == run
        assert again.identifier == run.identifier


def test_identifiers_do_not_change():
    # A changed identifier orphans all results there are: raise the format together with this.
    assert RUN.identifier == "d25957b00441bc7d"


@pytest.mark.parametrize(
    ("step", "rate", "seed", "error", "message"),
    [
        ("plain", None, 0, ValueError, "learning_rate must be given for 'plain, size 1', got None"),
        ("halving", 0.1, 0, ValueError, "learning_rate must be absent for 'Halving, size 1', got 0.1"),
        ("plain", 0.0, 0, ValueError, "learning_rate must be finite and above 0"),
        ("plain", float("inf"), 0, ValueError, "learning_rate"),
        ("plain", "a", 0, TypeError, "learning_rate must be a number"),
        ("plain", 0.1, -1, ValueError, "seed must be"),
        ("plain", 0.1, True, TypeError, "seed must be"),
    ],
)
def test_a_run_refuses_bad_values(step, rate, seed, error, message):
    with pytest.raises(error, match=message):
        Run(ToyCase(step, 1, 6, 0.0, 0.0), rate, seed)


def test_built_in_studies_are_registered_under_their_names():
    for name in STUDIES:
        assert STUDIES[name].name == name


@pytest.mark.parametrize("device", ["meta", "mps", "cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match=f"device must be .*{device}"):
        Surroundings(device=device)


def test_searches_and_designs_may_be_named_by_their_modules(monkeypatch, tmp_path):
    words = "from sttp.study.search import GridSearch\nfrom sttp.study.design import OneAtATime\n"
    words += "from dataclasses import dataclass\n"
    words += "@dataclass(frozen=True)\nclass Mine(GridSearch):\n    factor: float = 2.0\n"
    (tmp_path / "own_search.py").write_text(words + "CROSSED = OneAtATime(crossed=('size',))\n")
    monkeypatch.syspath_prepend(tmp_path)
    study = toy(search="own_search:Mine", design="own_search:CROSSED", factor=3.0, sizes=[1, 2], noise=0.0)
    assert study.search.factor == 3.0
    assert study.to_dict()["design"] == "own_search:CROSSED"
    assert Study.from_dict(study.to_dict()) == study


def test_a_centre_that_is_not_given_is_the_first_value():
    from sttp.study import Study  # which loads all kinds

    values = {"name": "a", "methods": ["sttp stiefel", "dense"], "ranks": [4, 2], "design": "one-at-a-time"}
    assert [case.title for case in Study.from_dict(values).cases] == [
        "sttp stiefel, rank 4",
        "dense",
        "sttp stiefel, rank 2",
    ]
