"""Figures and sentences about spectra, on made-up results."""

from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from studies import made_up

from sttp.study import TASKS
from sttp.study.paper import paper_study
from sttp.study.report.findings import findings
from sttp.study.report.plots import accuracy_figure, loss_figure, orthogonality_figure, spectrum_figure
from sttp.study.report.summary import summarize
from sttp.study.result import Snapshot
from sttp.study.tasks.task import Evaluation, ImageShape

STUDY = replace(paper_study("paper-table1", "digits", ImageShape(1, 8, 10)), steps=5)
SPECTRA = {"first": (4.0, 3.0), "last": (2.0, 1.0)}


def summaries(study=STUDY, start=SPECTRA, end=SPECTRA):
    results = {}
    for curve in study.curves:
        run = study.run(curve, study.learning_rates[0], 0)
        error = None if curve.method.is_plain else 1e-6
        looks = tuple(Snapshot(step, Evaluation(1.0, 1.0), error, values) for step, values in ((0, start), (5, end)))
        results[run] = replace(made_up(run), snapshots=looks)
    return summarize(study, results)


@pytest.mark.parametrize(
    "draw",
    [lambda s: accuracy_figure(s, TASKS["gan"]), loss_figure, spectrum_figure, orthogonality_figure],
    ids=["accuracy", "loss", "spectra", "orthogonality"],
)
def test_legends_of_long_names_fit_their_figure(draw):
    figure = draw(summaries())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(canvas.get_renderer()), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_the_smallest_singular_value_of_each_method_is_told():
    text = "\n".join(findings(summaries(end={"first": (4.0, 1.0), "last": (2.0, 1.0)}), TASKS["gan"]))
    assert "SN 0.25 (first, at the start 0.75)" in text
    assert "STTP-L householder-reduced 0.25" in text
    assert "STTP-C householder-reduced" not in text  # whose singular values are all ones


def test_a_stable_rank_that_falls_by_more_than_half_is_called_a_collapse():
    equal, collapsed = (1.0,) * 4, (1.0, 0.1, 0.1, 0.1)
    text = "\n".join(
        findings(
            summaries(start={"first": equal, "last": equal}, end={"first": equal, "last": collapsed}), TASKS["gan"]
        )
    )
    assert "shows in SN (1 of 2 layers: last)" in text
    assert "in no layer" in "\n".join(findings(summaries(), TASKS["gan"]))
