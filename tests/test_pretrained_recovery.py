"""Recovery: what a compressed network learns from the dense one."""

import copy

import pytest
import torch
from torch import nn

from sttp.layers import SVDP, Riemannian, reparameterize
from sttp.study import compare, distillation, fitted, recover


@pytest.fixture
def pair():
    torch.manual_seed(0)
    blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = blocks

        def forward(self, inputs):
            return self.blocks[1](self.blocks[0](inputs).tanh())

    teacher = Network()
    return reparameterize(teacher, SVDP(4), init="weights", inplace=False), teacher


def batches():
    """Inputs in three dimensions of eight, which rank 4 can do justice to and the plain fit does not look at."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(3, 8, generator=generator)
    return [torch.randn(16, 3, generator=generator) @ basis for _ in range(4)]


def test_the_loss_falls_and_the_teacher_stays(pair):
    student, teacher = pair
    before = copy.deepcopy(teacher.state_dict())
    losses = recover(student, teacher, batches(), 60, lr=1e-2)
    assert len(losses) == 60
    assert losses[-1] < 0.3 * losses[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batches": []}, "batches must have some"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"hidden": ["nothing"]}, "hidden='nothing' matches no module"),
    ],
)
def test_bad_input_changes_nothing(pair, changed, words):
    student, teacher = pair
    before = copy.deepcopy(student.state_dict())
    with pytest.raises(ValueError, match=words):
        recover(student, teacher, **{"batches": batches(), "steps": 1, **changed})
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())


def teacher():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 12))


def test_a_study_compares_what_fits_learn_from_the_dense_network(tmp_path):
    inputs = torch.randn(200, 12, generator=torch.Generator().manual_seed(6))
    outcome = compare(
        distillation(teacher, inputs, hidden=["1"]),
        methods=["dense", fitted("svdp fit", SVDP), fitted("whole rank", SVDP, frames=Riemannian(redundant=False))],
        ranks=[4, 12],
        steps=20,
        seeds=[0],
        output=tmp_path / "study",
        learning_rates=[1e-3],
        extensions=0,
        executor="sequential",
    )
    kept = outcome.table.set_index(["method", "rank"])["share_kept"]
    assert kept["dense"].item() == 1  # the teacher, whose gradient is zero
    assert kept["whole rank", 12] > 0.9999
    assert 0 < kept["svdp fit", 4] < kept["svdp fit", 12]


def test_what_cannot_be_distilled_is_refused():
    inputs = torch.randn(64, 12, generator=torch.Generator().manual_seed(7))
    with pytest.raises(ValueError, match="nothing"):
        distillation(teacher, inputs, hidden=["nothing"])
    with pytest.raises(TypeError, match="train"):
        distillation(teacher, [inputs])
