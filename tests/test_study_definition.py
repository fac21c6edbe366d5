"""Runs, curves and studies: what they refuse, what makes two of them equal, and their text forms."""

import re
from dataclasses import fields, replace

import pytest
from studies import TINY

from sttp.layers import STTP, SVDP, Free, Householder, Lipschitz, Riemannian
from sttp.study import (
    NETWORKS,
    STUDIES,
    Curve,
    Method,
    Run,
    Settings,
    Study,
    named_study,
    read_study,
    study_of,
)
from sttp.study.surroundings import Surroundings

RUN = Run("digits", "digits", "sttp", "stiefel", "free", 4, "riemannian-adam", 0.01, 0, 10, 16, 2)
OTHER_VALUES = {
    "task": "classification",
    "network": "wrn-10-1",
    "parameterization": "svdp",
    "geometry": "householder",
    "spectrum": "lipschitz",
    "rank": 5,
    "optimizer": "riemannian-sgd",
    "learning_rate": 0.02,
    "seed": 1,
    "steps": 11,
    "batch_size": 17,
    "evaluations": 3,
    "settings": Settings(weight_decay=0.1),
}
BAD_RUNS = {
    "task": ("digit", ValueError, "did you mean 'digits'"),
    "network": ("wrn-28-10", ValueError, "network of the task 'digits'.*'wrn-28-10'.*choose from digits"),
    "parameterization": ("stpp", ValueError, "did you mean 'sttp'"),
    "geometry": ("steifel", ValueError, "did you mean 'stiefel'"),
    "spectrum": (None, TypeError, "spectrum must be a string, got None; choose from identity"),
    "rank": (0, ValueError, "rank must be at least 1, got 0"),
    "optimizer": ("adam", ValueError, "optimizer has no choice 'adam'"),
    "learning_rate": (float("nan"), ValueError, "learning_rate must be positive"),
    "seed": (-1, ValueError, "seed must be at least 0"),
    "steps": (1.5, TypeError, "steps must be an integer"),
    "batch_size": (961, ValueError, "batch_size must be at most 960"),
    "evaluations": (True, TypeError, "evaluations must be an integer"),
    "settings": (Settings(accumulation=3), ValueError, "accumulation must divide batch_size, got 3 for 16"),
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


@pytest.mark.parametrize("name", OTHER_SETTINGS)
@pytest.mark.parametrize(
    ("task", "network", "used"),
    [
        ("digits", "digits", OF_DIGITS),
        ("classification", "digits", OF_IMAGES),
        ("classification", "wrn-10-1", OF_IMAGES | {"depth", "widen_factor"}),
        ("gan", "sngan8-discriminator", OF_GANS),
        ("gan", "sngan8-generator", OF_GANS),
    ],
)
def test_a_setting_that_means_nothing_to_a_run_is_refused_by_name(task, network, used, name):
    assert set(OTHER_SETTINGS) == {field.name for field in fields(Settings)}
    settings = Settings(**{name: OTHER_SETTINGS[name]})
    run = replace(RUN, task=task, network=network)
    if name in used:
        assert replace(run, settings=settings).settings == settings
    elif name == "data":
        with pytest.raises(ValueError, match="data of the task 'digits' has no choice 'cifar10'"):
            replace(run, settings=settings)
    else:
        owner = f"network '{network}'" if name in ("depth", "widen_factor") else f"task '{task}'"
        with pytest.raises(
            ValueError,
            match=rf"{name} is no setting of the {owner}, got {OTHER_SETTINGS[name]}; leave it out .*accumulation",
        ):
            replace(run, settings=settings)


def test_every_field_of_a_run_decides_its_identifier():
    assert set(OTHER_VALUES) == {field.name for field in fields(Run)}
    of_task = {"network": replace(RUN, task=OTHER_VALUES["task"])}  # the task of the run has but one network
    others = [replace(of_task.get(name, RUN), **{name: value}) for name, value in OTHER_VALUES.items()]
    assert len({RUN.identifier, *(other.identifier for other in others)}) == len(others) + 1
    assert replace(RUN).identifier == RUN.identifier
    assert re.fullmatch("[0-9a-f]{16}", RUN.identifier)


def test_identifiers_do_not_change():
    # A changed identifier orphans all results there are: raise the format together with this.
    assert RUN.identifier == "07251bb48e86f815"


@pytest.mark.parametrize("name", [field.name for field in fields(Run)])
def test_a_run_refuses_bad_values(name):
    value, kind, message = BAD_RUNS[name]
    with pytest.raises(kind, match=message):
        replace(RUN, **{name: value})


@pytest.mark.parametrize(
    ("task", "network", "message"),
    [
        ("classification", "sngan8-generator", "must be a classifier, got 'sngan8-generator'; choose from digits, wrn"),
        ("gan", "digits", "must be a generator or a discriminator, got 'digits'; choose from sngan8-discriminator, "),
    ],
)
def test_a_network_of_another_role_is_refused_with_those_that_would_do(task, network, message):
    with pytest.raises(ValueError, match=f"network of the task '{task}' {message}") as caught:
        replace(RUN, task=task, network=network)
    choices = str(caught.value).split("choose from ")[1].split(", ")
    for name in NETWORKS:
        if name in choices:
            assert replace(RUN, task=task, network=name).network == name
        else:
            with pytest.raises(ValueError, match="choose from"):
                replace(RUN, task=task, network=name)


@pytest.mark.parametrize("absent", ["geometry", "spectrum", "rank"])
def test_dense_runs_have_neither_geometry_nor_spectrum_nor_rank(absent):
    values = {"geometry": None, "spectrum": None, "rank": None}
    dense = replace(RUN, parameterization="dense", **values)
    assert str(dense.curve) == "dense"
    with pytest.raises(ValueError, match=f"{absent} must be absent"):
        replace(dense, **{absent: getattr(RUN, absent)})


def test_a_curve_names_the_specification_of_its_layers():
    assert Curve(Method("sttp", "stiefel"), 4, "free").specification == STTP(4, Riemannian(), Free())
    assert Curve(Method("svdp", "householder"), 2, "learned").specification == SVDP(
        2, Householder(redundant=True), Lipschitz()
    )
    assert Curve(Method("sttp", "grassmann"), 4, "free").specification == STTP(4, Riemannian(redundant=False))
    assert Curve(Method("sttp", "householder-reduced"), 4, "free").specification == STTP(4, Householder())
    assert Curve(Method("dense")).specification is None


def test_svdp_has_two_geometries_unless_the_spectrum_is_the_identity():
    with pytest.raises(ValueError, match="same as 'stiefel'; give 'svdp stiefel'"):
        Curve(Method("svdp", "grassmann"), 2, "free")
    assert Curve(Method("svdp", "grassmann"), 2, "identity").rank == 2


@pytest.mark.parametrize("text", ["dense", "svdp stiefel", "sttp householder-reduced"])
def test_methods_survive_their_text_form(text):
    assert str(Method.parse(text)) == text


@pytest.mark.parametrize("text", ["", "sttp", "sttp stiefel 4", "dense stiefel", "sttp steifel"])
def test_wrong_methods_are_refused(text):
    with pytest.raises((ValueError, TypeError), match=r"geometry|methods|spectrum"):
        Method.parse(text)


def test_the_built_in_study_is_the_comparison_of_the_readme():
    study = named_study("digits")
    assert len(study.curves) == 19
    assert [str(curve) for curve in study.curves][:3] == ["dense", "svdp stiefel, rank 2", "svdp stiefel, rank 4"]
    assert len(study.seeds) == 5
    assert len(study.learning_rates) == 3
    assert len(study.curves) * (len(study.learning_rates) + len(study.seeds) - 1) == 133


@pytest.mark.parametrize("study", [*STUDIES.values(), TINY], ids=lambda study: study.name)
def test_a_study_survives_its_plain_values(study):
    assert study_of(study.to_dict()) == study


TOML = """
title = "Two methods"
methods = ["dense", "sttp grassmann"]
ranks = [3]
learning_rates = [1, 3.0]
"""


def test_a_study_is_read_from_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    study = read_study(path)
    assert study == Study(
        "mine", (Method("dense"), Method("sttp", "grassmann")), (3,), "Two methods", learning_rates=(1, 3)
    )
    # 1 and 1.0 are one learning rate, also in identifiers.
    assert isinstance(study.learning_rates[0], float)


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("learning_rate = [0.1]", ValueError, "'learning_rate'; did you mean 'learning_rates'"),
        ('ranks = ["3"]', TypeError, "ranks must be an integer"),
        ("ranks = [0]", ValueError, "ranks must be at least 1, got 0"),
        ("ranks = 3", TypeError, "ranks must be a list, got 3"),
        ("ranks = []", ValueError, "ranks must have at least one entry"),
        ("seeds = [1, 1]", ValueError, "seeds must have no entry twice, got 1 again"),
        ("steps = 2.5", TypeError, "steps must be an integer"),
        ("learning_rates = [0.3, 0.1]", ValueError, "must ascend"),
        ('learning_rates = ["a"]', TypeError, "learning_rates must be a positive number"),
        ('spectrum = "fee"', ValueError, "spectrum has no choice 'fee'; did you mean 'free'"),
        ('task = "digitss"', ValueError, "did you mean 'digits'"),
        ("title = 3", TypeError, "title must be a string"),
        ("batch_size = 5000", ValueError, "batch_size must be at most 960"),
        ("ranks = [", ValueError, "is not TOML"),
    ],
)
def test_a_wrong_line_of_toml_is_refused_by_name(tmp_path, line, kind, message):
    path = tmp_path / "study.toml"
    path.write_text(f'methods = ["dense", "sttp stiefel"]\n{line}\n')
    with pytest.raises(kind, match=message):
        read_study(path)


def test_a_study_needs_methods(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("ranks = [3]")
    with pytest.raises(ValueError, match="methods is missing"):
        read_study(path)
    path.write_text("methods = [3]")
    with pytest.raises(TypeError, match="methods must be strings"):
        read_study(path)
    path.write_text('methods = "dense"')
    with pytest.raises(TypeError, match="methods must be a list"):
        read_study(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_study(tmp_path / "nothing.toml")


@pytest.mark.parametrize("changes", [{"spectrum": "bogus"}, {"name": "a/b"}, {"name": ".."}, {"name": "a\\b"}])
def test_a_study_is_refused_for_what_no_run_of_it_has(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=f"^{name} "):
        replace(TINY, methods=(Method("dense"),), **changes)


@pytest.mark.parametrize("device", ["meta", "mps", "cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match=f"device must be .*{device}"):
        Surroundings(device=device)
