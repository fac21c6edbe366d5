"""The examples: each checks its own answer, runs as it is, and says so when the answer is wrong."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "fit_low_rank_matrix": {"modes": (4, 4), "rank": 3, "steps": 800},
    "train_digits": {"width": 16, "budget": 20.0, "epochs": 6, "wanted": 0.85},
    "compress_pretrained": {"width": 128, "epochs": 6},
}
HOPELESS = {
    "fit_low_rank_matrix": {"modes": (4, 4), "rank": 3, "steps": 10},
    "train_digits": {"width": 16, "budget": 20.0, "epochs": 1, "wanted": 1.01},
    "compress_pretrained": {"width": 128, "epochs": 1, "tolerance": -1.0},
}
RIGHT = {
    "fit_low_rank_matrix": lambda result: result.error < 1e-6,
    "train_digits": lambda result: result.accuracy > 0.85 and result.compression.z <= 20,
    "compress_pretrained": lambda result: result.cut < result.tuned and result.percent < 20,
}


def run_of(name: str):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["run"]


def test_every_example_is_tested():
    others = {path.stem for path in EXAMPLES.glob("study_*.py")} | {"finetune_with_peft"}  # with tests of their own
    assert {path.stem for path in EXAMPLES.glob("*.py")} - others == SMALL.keys() == HOPELESS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_small_sizes_give_the_right_answer(name):
    assert RIGHT[name](run_of(name)(**SMALL[name]))


@pytest.mark.parametrize("name", HOPELESS)
def test_a_wrong_answer_is_an_error(name):
    with pytest.raises(RuntimeError, match=r"take more steps|train longer"):
        run_of(name)(**HOPELESS[name])


@pytest.mark.parametrize("name", SMALL)
def test_the_program_prints_a_few_lines(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert 2 < len(capsys.readouterr().out.splitlines()) < 12


@pytest.mark.parametrize("name", SMALL)
def test_examples_are_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80
