"""Studies of trainings: what they refuse, what makes two of their runs equal, and how they are written."""

import json
import re
from dataclasses import fields

import pytest
from studies import TINY, changed, run_of, study_of

from sttp.layers import STTP, SVDP, Free, Householder, Lipschitz, Riemannian
from sttp.manifolds import Polar
from sttp.study import NETWORKS, STUDIES, Method, Settings, Study, Surroundings, TrainingCase, paper
from sttp.study.kind import read_run
from sttp.study.tasks.method import read_method

assert paper  # which registers the paper's studies
RUN = run_of("sttp stiefel", rate=0.01, steps=10)
OTHER_VALUES = {
    "task": "classification",
    "network": "wrn-10-1",
    "parameterization": "svdp",
    "geometry": "householder",
    "spectrum": "lipschitz",
    "rank": 5,
    "optimizer": "riemannian-sgd",
    "retraction": "polar",
    "metric": "canonical",
    "learning_rate": 0.02,
    "seed": 1,
    "steps": 11,
    "batch_size": 17,
    "evaluations": 3,
    "weight_decay": 0.1,
    "options": (("optimizer.eps", 1e-3),),
}
BAD = {
    "task": ("digit", ValueError, "did you mean 'digits'"),
    "network": ("wrn-28-10", ValueError, "network of the task 'digits'.*'wrn-28-10'.*choose from digits"),
    "methods": (["stpp stiefel"], ValueError, "did you mean 'sttp'"),
    "ranks": ([0], ValueError, "rank must be at least 1, got 0"),
    "spectrum": (None, TypeError, "spectrum must be a string, got None"),
    "optimizer": ("adam", ValueError, "optimizer has no choice 'adam'"),
    "retraction": ("qrr", ValueError, "retraction has no choice 'qrr'; did you mean 'qr'"),
    "metric": ("canonic", ValueError, "metric has no choice 'canonic'; did you mean 'canonical'"),
    "steps": (1.5, TypeError, "steps must be an integer"),
    "batch_size": (961, ValueError, "batch_size must be at most 960"),
    "evaluations": (True, TypeError, "evaluations must be an integer"),
    "accumulation": (3, ValueError, "accumulation must divide batch_size, got 3 for 32"),
    "averaging": (1.0, ValueError, "averaging must be finite and at least 0 and below 1"),
    "precision": ("float64", ValueError, "precision has no choice 'float64'"),
    "network.depth": (10, ValueError, "no network of the study has an option 'depth'"),
}


OTHER_SETTINGS = {
    "data": "cifar10",
    "size": 8,
    "images": 100,
    "width": 4,
    "depth": 10,
    "widen_factor": 2,
    "partner_width": 4,
    "conditional": True,
    "augment": True,
    "precision": "bfloat16",
    "accumulation": 2,
    "weight_decay": 0.1,
    "critic_steps": 1,
    "averaging": 0.9,
    "samples": 50,
    "inception": True,
}
OF_DIGITS = {"width", "precision", "accumulation", "weight_decay", "averaging"}
OF_IMAGES = OF_DIGITS | {"data", "size", "images", "augment"}
OF_GANS = OF_IMAGES | {"partner_width", "conditional", "critic_steps", "samples", "inception"}


@pytest.mark.parametrize(
    ("task", "network", "used"),
    [
        ("digits", "digits", OF_DIGITS),
        ("classification", "wrn-10-1", OF_IMAGES | {"depth", "widen_factor"}),
        ("gan", "sngan8-generator", OF_GANS),
    ],
)
def test_a_setting_that_means_nothing_to_a_case_is_refused_by_name(task, network, used):
    assert set(OTHER_SETTINGS) == {field.name for field in fields(Settings)}
    for name, value in OTHER_SETTINGS.items():
        values = {"task": task, "network": network, "augment": False, "weight_decay": 0.0, name: value}
        if name in used:
            (case,) = study_of("dense", **values).cases
            assert getattr(case.settings, name) == value
        else:
            with pytest.raises(ValueError, match=f"^{name} is no setting of the|^data of the task 'digits' has no"):
                study_of("dense", **values)


def test_every_field_decides_the_identifier():
    own = {field.name for field in fields(TrainingCase)} - {"settings"}
    assert own | {"learning_rate", "seed", "weight_decay"} == set(OTHER_VALUES)
    others = [changed(RUN, **{name: value}) for name, value in OTHER_VALUES.items()]
    assert len({RUN.identifier, *(other.identifier for other in others)}) == len(others) + 1
    assert changed(RUN).identifier == RUN.identifier
    assert re.fullmatch("[0-9a-f]{16}", RUN.identifier)
    for run in (RUN, *others):
        again = read_run(json.loads(json.dumps(run.to_dict())))
        assert (again, again.identifier) == (run, run.identifier)


def test_identifiers_do_not_change():
    # A changed identifier orphans all results there are: raise the format together with this.
    assert RUN.identifier == "d8c74876b168aa5c"


def require(values):
    study = Study.from_dict({"name": "s", **values})
    study.of.require(study, Surroundings())


@pytest.mark.parametrize("name", BAD)
def test_a_study_refuses_bad_values(name):
    value, kind, message = BAD[name]
    values = {"methods": ["sttp stiefel"], name: value}
    with pytest.raises(kind, match=message):
        require(values)


@pytest.mark.parametrize(
    ("task", "network", "message"),
    [
        ("classification", "sngan8-generator", "must be a classifier, got 'sngan8-generator'; choose from digits, wrn"),
        ("gan", "digits", "must be a generator or a discriminator, got 'digits'; choose from sngan8-discriminator, "),
    ],
)
def test_a_network_of_another_role_is_refused_with_those_that_would_do(task, network, message):
    with pytest.raises(ValueError, match=f"network of the task '{task}' {message}") as caught:
        study_of("dense", task=task, network=network)
    choices = str(caught.value).split("choose from ")[1].split(", ")
    for name in NETWORKS:
        if name in choices:
            assert study_of("dense", task=task, network=name).cases[0].network == name
        else:
            with pytest.raises(ValueError, match="choose from"):
                study_of("dense", task=task, network=name)


def test_plain_weights_have_neither_geometry_nor_spectrum_nor_rank_and_make_one_case():
    study = study_of("dense", ranks=[2, 4], retractions=["qr", "polar"], metric="canonical")
    (case,) = study.cases
    assert (case.geometry, case.spectrum, case.rank, case.retraction, case.metric) == (None,) * 5
    assert case.title == "dense"


def test_a_case_names_the_specification_of_its_layers():
    def specification(method, **values):
        return study_of(method, ranks=[4], **values).cases[0].specification

    assert specification("sttp stiefel") == STTP(4, Riemannian(), Free())
    assert specification("svdp householder learned") == SVDP(4, Householder(redundant=True), Lipschitz())
    assert specification("sttp", geometry="grassmann") == STTP(4, Riemannian(redundant=False))
    assert specification("sttp householder-reduced", retraction="polar") == STTP(4, Householder())
    assert specification("sttp stiefel", retraction="polar", metric="canonical") == STTP(
        4, Riemannian(metric="canonical", retraction=Polar())
    )
    assert specification("dense") is None


def test_svdp_has_two_geometries_unless_the_spectrum_is_the_identity():
    with pytest.raises(ValueError, match="same as 'stiefel'; give 'svdp stiefel'"):
        study_of("svdp grassmann")
    assert study_of("svdp grassmann", spectrum="identity", ranks=[2]).cases[0].rank == 2
    every = ["stiefel", "grassmann", "householder", "householder-reduced"]
    assert len(study_of("svdp", ranks=[2], geometries=every).cases) == 2
    assert len(study_of("sttp", ranks=[2], geometries=every).cases) == 4


def test_svdp_may_have_ranks_of_its_own():
    study = study_of("svdp stiefel", "sttp stiefel", ranks=[4, 8], svdp_ranks=[1, 2, 4])
    assert [(case.parameterization, case.rank) for case in study.cases] == [
        *(("svdp", rank) for rank in (1, 2, 4)),
        *(("sttp", rank) for rank in (4, 8)),
    ]


@pytest.mark.parametrize(
    "text", ["", "sttp stiefel 4", "dense stiefel", "sttp steifel", "nomodule:x", "sttp stiefel free x", 3, None]
)
def test_wrong_methods_are_refused(text):
    with pytest.raises((ValueError, TypeError), match=r"geometry|method|spectrum"):
        read_method(text)


def test_two_things_of_one_name_are_refused():
    with pytest.raises(ValueError, match="method 'mine' is registered and another one"):
        study_of(Method("mine", build=lambda network: network), Method("mine", build=lambda network: None))


def test_the_built_in_study_is_the_comparison_of_the_readme():
    study = STUDIES["digits"]
    assert len(study.cases) == 19
    titles = [case.title for case in study.cases]
    assert titles[:3] == ["dense", "svdp stiefel, rank 2", "svdp stiefel, rank 4"]
    assert len(study.seeds) == 5
    assert len(study.search.learning_rates) == 3
    assert len(study.cases) * (len(study.search.learning_rates) + len(study.seeds) - 1) == 133


@pytest.mark.parametrize("study", [*map(STUDIES.__getitem__, STUDIES), TINY], ids=lambda study: study.name)
def test_a_study_survives_its_plain_values(study):
    again = Study.from_dict(json.loads(json.dumps(study.to_dict())))
    assert (again, again.cases) == (study, study.cases)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"ranks": [3]}, ValueError, "methods is missing"),
        ({"methods": [3]}, TypeError, "must be a Method or a function of a network, got 3"),
        ({"methods": "dense"}, TypeError, "'method' must be a list of values, got 'dense'"),
        ({"methods": ["sttp"]}, ValueError, "method 'sttp' needs a geometry, such as one of stiefel"),
        ({"methods": ["dense"], "spectrum": "bogus"}, ValueError, "^spectrum "),  # which no run of it has
    ],
)
def test_what_is_no_study_is_refused(values, kind, message):
    with pytest.raises(kind, match=message):
        Study.from_dict({"name": "s", **values})
