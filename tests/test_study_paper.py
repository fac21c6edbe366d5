"""The paper's experiments: their networks' Z, their scale, and what the paper prints of them."""

import pytest
import torch

from sttp.layers import report
from sttp.study import KINDS, STUDIES, Study
from sttp.study.networks import NETWORKS, network_entry
from sttp.study.paper import EXPERIMENTS, paper_study, published_z
from sttp.study.tasks.construction import first_network, weightless_network
from sttp.study.tasks.images import KNOWN_SHAPES
from sttp.study.tasks.task import ImageShape

# Counted by hand and to three decimals, where Table 2 prints them cut: CIFAR-10, STL-10.
TABLE_2 = {
    ("svdp", "identity"): (51.743, 14.227),
    ("sttp", "identity"): (16.713, 3.246),
    ("svdp", "lipschitz"): (53.358, 14.497),
    ("sttp", "lipschitz"): (18.329, 3.516),
    ("svdp", "regularized"): (53.358, 14.497),
    ("sttp", "regularized"): (18.329, 3.516),
}


def shared(study, key):
    """The one value of all cases."""
    (value,) = {getattr(case, key, None) or getattr(case.settings, key) for case in study.cases}
    return value


def compression(case, shape):
    """Z of a case's network in percent, of ours counted without its weights."""
    if case.specification is None:
        return first_network(case, shape, 0).z
    return report(weightless_network(case, shape), case.specification, network_entry(case.network).skip).z


@pytest.mark.parametrize(("data", "column"), [("cifar10", 0), ("stl10", 1)])
def test_the_compressions_are_those_of_table_2(data, column):
    study = paper_study("paper-table2", data, KNOWN_SHAPES[data])
    printed = KINDS["training"].presentation(study)["published"]
    found = {}
    for case in study.cases:
        if case.rank is None:
            assert case.title not in printed
            continue
        z = compression(case, KNOWN_SHAPES[data])
        found[case.parameterization, case.spectrum] = z
        # The paper cuts some digits and rounds others: its number is less than a unit of its last digit away.
        digits = len(printed[case.title].split(".")[1])
        assert abs(z - float(printed[case.title])) < 10.0**-digits
    assert found == pytest.approx({key: values[column] for key, values in TABLE_2.items()}, abs=0.002)


def test_published_numbers_stand_beside_equal_conditions_alone():
    shape = KNOWN_SHAPES["cifar10"]
    full = paper_study("paper-table2", "cifar10", shape)
    assert len(published_z(full)) == len(TABLE_2)
    for other in (
        paper_study("paper-table2", "cifar10", shape, 0.5),
        paper_study("paper-table1", "cifar10", shape),
        paper_study("paper-table3", "cifar10", shape),
        paper_study("paper-table2", "digits", KNOWN_SHAPES["digits"]),
        Study.from_dict(full.to_dict() | {"conditional": True}),
    ):
        assert not published_z(other), other


@pytest.mark.parametrize("name", list(EXPERIMENTS))
@pytest.mark.parametrize(("data", "scale"), [("digits", 1e-6), ("cifar10", 0.01), ("stl10", 0.1)])
def test_every_experiment_is_a_study_at_any_scale(name, data, scale):
    study = paper_study(name, data, KNOWN_SHAPES[data], scale)
    assert Study.from_dict(study.to_dict()) == study
    assert (study.name, study.title) == (name, EXPERIMENTS[name].title)
    assert shared(study, "data") == data
    assert shared(study, "steps") >= 20
    for case in study.cases:
        z = compression(case, KNOWN_SHAPES[data])
        assert z == 100 if case.rank is None else 0 < z <= 101


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_experiment_on_the_digits_is_a_built_in_study(name):
    assert STUDIES[name] == paper_study(name, "digits", KNOWN_SHAPES["digits"])


def test_the_full_size_is_the_papers():
    figure = paper_study("paper-fig7", "cifar10", KNOWN_SHAPES["cifar10"])
    assert [shared(figure, key) for key in ("steps", "batch_size", "network")] == [100_000, 128, "wrn-28-10"]
    assert [shared(figure, key) for key in ("width", "weight_decay", "augment")] == [16, 1e-4, True]
    assert figure.search.learning_rates == (0.1,)
    ranks = {name: sorted({c.rank for c in figure.cases if c.parameterization == name}) for name in ("svdp", "sttp")}
    assert ranks == {"svdp": [4, 16], "sttp": [16, 32, 64]}
    assert {case.spectrum for case in figure.cases if case.rank} == {"regularized"}
    table = paper_study("paper-table2", "stl10", KNOWN_SHAPES["stl10"])
    assert [shared(table, key) for key in ("steps", "batch_size")] == [100_000, 64]
    assert [shared(table, key) for key in ("width", "partner_width", "critic_steps")] == [1024, 512, 5]
    assert table.search.learning_rates == (2e-4,)
    assert {case.rank for case in table.cases} == {None, 64}
    reduced = paper_study("paper-table1", "cifar10", KNOWN_SHAPES["cifar10"])
    assert [shared(reduced, key) for key in ("width", "partner_width")] == [32, 256]
    assert shared(paper_study("paper-table1", "stl10", KNOWN_SHAPES["stl10"]), "width") == 64


def test_the_scale_shortens_and_narrows():
    full, quarter = (paper_study("paper-table2", "stl10", KNOWN_SHAPES["stl10"], scale) for scale in (1.0, 0.25))
    assert [shared(quarter, key) for key in ("steps", "width")] == [25_000, 512]
    assert {case.rank for case in quarter.cases} == {None, 32}
    assert shared(full, "steps") == 4 * shared(quarter, "steps")
    for bad in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="scale must be"):
            paper_study("paper-table2", "stl10", KNOWN_SHAPES["stl10"], bad)
    with pytest.raises(ValueError, match=r"size must be one of 8, 32, 48, 64 for a GAN, got 28; .*--size"):
        paper_study("paper-table2", "folder", ImageShape(3, 28, 2))
    with pytest.raises(ValueError, match="did you mean 'paper-table2'"):
        paper_study("paper-tabel2", "digits", KNOWN_SHAPES["digits"])


def test_every_network_of_a_pair_has_its_partner():
    halves = {name: NETWORKS[name] for name in NETWORKS if NETWORKS[name].role in ("generator", "discriminator")}
    assert halves
    for name, entry in halves.items():
        other = NETWORKS[entry.partner]
        assert other.partner == name
        assert other.size == entry.size
        assert {other.role, entry.role} == {"generator", "discriminator"}
        images = NETWORKS[name if entry.role == "generator" else entry.partner].build(16)(torch.zeros(1, 128))
        assert images.shape[-1] == entry.size
