"""The examples of comparisons: each checks its own answer, runs as it is, and says so when the answer is wrong."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("blank_pictures")

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("study_*.py"))
SMALL = {"steps": 8, "seeds": [0], "learning_rates": [0.03], "extensions": 0, "evaluations": 1, "wanted": 0.05}


def run_of(path):
    if path.stem == "study_other_library":
        pytest.importorskip("tltorch")
    return runpy.run_path(str(path))["run"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tltorch", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs_small_and_a_wrong_answer_is_an_error(path, tmp_path):
    values = SMALL | {"output": tmp_path / "out", "executor": "sequential", "progress": False}
    if path.stem == "study_own_problem":
        values = {name: values[name] for name in ("output", "executor", "progress")}
    outcome = run_of(path)(**values)
    assert outcome.finished
    assert outcome.report.exists()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    if path.stem == "study_own_method":  # once is enough: all are written alike
        with pytest.raises(RuntimeError, match="take more steps"):
            run_of(path)(**values | {"wanted": 1.1})
