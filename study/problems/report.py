"""The report of a study of optimizers, as plain content."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Final

import pandas as pd

from ..definition import Study
from ..report.content import Content, Picture, Section, Table
from ..schedule import Results
from ..search import Bisection, GridSearch
from ..turns import Turn
from .case import DEFAULTS
from .comparison import COMBINATIONS, Choice, Comparison, Entry, Words, comparisons_of, entries_of
from .figures import convergence_figure, orthogonality_figure, profile_figure
from .findings import findings
from .measures import tolerances

TITLES: Final = {
    "optimizer": "Optimizers that step by a learning rate",
    "method": "Full-batch methods",
    "retraction": "Retractions",
    "metric": "Metrics",
    "geometry": "Geometries",
    COMBINATIONS: "All combinations",
}
ON_FINDINGS: Final = (
    "These sentences hold for these problems, sizes and budgets, and for them alone: ranks on a handful of small "
    "problems say which choices to try first, not which one is best on yours."
)
PROFILES: Final = (
    "Performance profiles (Dolan and Moré 2002) over the problems with a known answer. Across: a budget, in times of "
    "what the best of all choices needed on the same problem from the same start. Up: the share of problems and starts "
    "on which a choice reached the gap within that budget. Higher and further left is better; a line that stays below "
    "1 has not solved everything within its steps. All steps follow one schedule, so the cost in steps says how early "
    "in it the gap was reached."
)
CONVERGENCE: Final = (
    "Relative gap to the optimum, of the start that ends in the middle of all; the band goes from the best to the "
    "worst start. Where the answer is not known it is the loss: in training on the whole training set, divided by that "
    "of a guess. The learning rate falls to 0 along a half cosine, which is where a late drop comes from."
)
ORTHOGONALITY: Final = (
    "How far frames left the manifold at any time, a mark a problem. Nothing repairs them but the methods."
)


def content_of(
    study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...] = ()
) -> Content:
    """Return what the report of a study shows: a table and figures for each factor."""
    comparisons = comparisons_of(study, results, presentation, turns)
    shown = [comparison for comparison in comparisons if comparison.problems]
    problems, seeds = presentation["problems"], len(study.seeds)
    draw = partial(orthogonality_figure, tuple(shown))
    picture = Picture("orthogonality", "Orthogonality", ORTHOGONALITY, draw)
    general = [Section("Orthogonality", pictures=(picture,))] if shown else []
    return Content(
        subtitle=f"{len(problems)} problem{'s' * (len(problems) != 1)}, {seeds} start{'s' * (seeds != 1)} each.",
        question=_question(study),
        findings=findings(shown),
        on_findings=ON_FINDINGS,
        sections=(_problems(presentation), _procedure(study), *(_section(c, study) for c in shown), *general),
        frame=lambda: frame_of(entries_of(study, results, presentation, turns)),
        names={name: title for name, title in presentation["titles"].items() if name != title},
        values={"comparisons": [comparison.to_dict() for comparison in shown]},
    )


def frame_of(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return a row a case: how it was made, and the geometric mean of its gap over starts, with the extremes."""
    rows = []
    for entry in entries:
        case = entry.case
        row: dict[str, Any] = {"problem": case.problem_name, "optimizer": case.optimizer}
        row |= {name: getattr(case, name) for name in DEFAULTS} | dict(case.options)
        ends = [result.looks[-1].measures for result in entry.results if result.looks]
        low, high = entry.extremes
        row |= {"learning_rate": entry.learning_rate, "seeds": len(entry.results)}
        row |= {
            "gap": entry.gap,
            "gap_low": low,
            "gap_high": high,
            "orthogonality_error": entry.orthogonality_error or 0.0,
        }
        row |= {"evaluations": fmean(end["evaluations"] or 0 for end in ends) if ends else None}
        rows.append({**row, "step_microseconds": entry.step_microseconds})
    return pd.DataFrame(rows)


def _question(study: Study) -> str:
    if not study.groups:
        return "Which choice leads to the smallest gap, at what cost? Each is run on the same problems and starts."
    values = study.shared
    return (
        "Which optimizer, retraction, metric and geometry should move points on a manifold? One choice at a time is "
        f"changed around a centre, `{values['optimizer']}` with the retraction `{values['retraction']}`, the metric "
        f"`{values['metric']}` and the geometry `{values['geometry']}`, and each is run on the same problems from the "
        "same starts."
    )


def _problems(presentation: Mapping[str, Any]) -> Section:
    problems = [Words(text=text, **words) for text, words in presentation["problems"].items()]
    return Section(
        "Problems",
        (
            "The gap is the cost above its optimum, which this package’s problems have from scipy in float64, divided "
            "by the size of the problem’s costs; below 1e-12 all gaps count as equal. Where frames are further from "
            "orthonormal than the gap is small, ‖XᵀX − I‖ takes its place: a point off the manifold solves nothing. "
            "Problems with a known answer are in float64, training in float32.",
        ),
        tuple((problem.label, _sentence(problem)) for problem in problems),
    )


def _sentence(problem: Words) -> str:
    sizes = f" Here: {problem.sizes}." if problem.sizes and problem.sizes != problem.label else ""
    return f"{problem.summary[:1].upper()}{problem.summary[1:]}.{sizes}"


def _procedure(study: Study) -> Section:
    search = study.search
    rates = ", ".join(f"{rate:g}" for rate in getattr(search, "learning_rates", ()))
    if isinstance(search, Bisection):
        how = (
            f"Every choice is given {search.trials} runs on each problem to find one, from a start that is used for "
            f"nothing else: {rates} first, then between or beyond them, where the best gap was. "
        )
    elif isinstance(search, GridSearch):
        how = f"The best of {rates} on each problem, from a start that is used for nothing else. "
    else:
        how = "A search finds one on each problem, from a start that is used for nothing else. "
    values = study.shared
    return Section(
        "How",
        terms=(
            ("Learning rates", how + "A * marks one that was the best at the edge of what was tried."),
            (
                "Budget",
                f"{values['steps']} steps, {values['training_steps']} in training; the learning rate falls to 0 along "
                "a half cosine. Full-batch methods choose their own steps and stop at the optimum; they have "
                f"{values['steps']} iterations at most.",
            ),
            (
                "Time",
                "A step’s time is taken after all runs, in turns on one worker, so that whatever slows the machine "
                "slows all choices alike; of full-batch methods, which make their iterations at once, and of an "
                "unfinished study it is that of the runs, of which several are made at a time. Seconds in figures are "
                "steps in turns, too, but where some of the choices have none: there all are those of the runs. Where "
                "matrices are small, time is mostly that of Python and of starting kernels.",
            ),
            (
                "Operations",
                "They are counted in matrix products and convolutions, cost and gradient included; factorizations and "
                "triangular solves are not counted.",
            ),
        ),
    )


def _section(comparison: Comparison, study: Study) -> Section:
    title = TITLES.get(comparison.factor, f"Values of {comparison.factor}")
    pictures = [
        Picture(
            f"convergence-{comparison.plural}",
            f"{title}: the gap on the way",
            CONVERGENCE,
            partial(convergence_figure, comparison),
        )
    ]
    if any(problem.is_known for problem in comparison.problems):
        draw = partial(profile_figure, comparison, tolerances(study))
        pictures.insert(0, Picture(f"profiles-{comparison.plural}", f"{title}: who solves most", PROFILES, draw))
    return Section(title, tables=(_table(comparison, title),), pictures=tuple(pictures))


def _table(comparison: Comparison, title: str) -> Table:
    labels = [problem.label for problem in comparison.problems]
    columns = (comparison.factor, "mean rank", "solved", *labels, "µs / step", "products / step", "‖XᵀX−I‖")
    rows, links = [], []
    for choice in comparison.ordered:
        row, entries = comparison.row(choice), [comparison.find(choice, problem) for problem in comparison.problems]
        cells = [choice.label, f"{row['mean_rank']:.1f}", f"{row['solved']}/{row['runs']}", *map(_gap, entries)]
        products = "–" if row["products"] is None else f"{row['products']:.0f}"
        rows.append((*cells, _microseconds(comparison, choice), products, f"{row['orthogonality_error']:.0e}"))
        links.append(tuple(r.run.identifier for entry in entries if entry is not None for r in entry.results))
    notes = (
        f"Mean rank: over the problems, by the gap at the end; 1 is the best. Solved: runs on problems with a known "
        f"answer that ended with a gap of at most {comparison.tolerance:g}. Then for each problem the gap at the end, "
        "the geometric mean over starts; a dash where a choice makes no difference or is not open.",
        "µs / step: median over problems. Products / step: products of n × p with p × p on the first Procrustes "
        "problem, whose cost has none of its own. ‖XᵀX−I‖: the largest distance of a frame from orthogonality in "
        "float64, of other points from their manifold.",
    )
    return Table(title, columns, tuple(rows), notes, tuple(links), optional=tuple(labels))


def _gap(entry: Entry | None) -> str:
    if entry is None:
        return "–"
    return ("diverged" if math.isinf(entry.gap) else f"{entry.gap:.0e}") + "*" * entry.at_edge


def _microseconds(comparison: Comparison, choice: Choice) -> str:
    """Return the median time of a step, and the quartiles over turns where steps were timed in turns on one problem."""
    time = comparison.step_microseconds(choice)
    entries = comparison.entries_of(choice)
    if len(entries) == 1 and (turn := entries[0].turn) is not None:
        low, high = turn.spread
        return f"{time:.0f} ({1e6 * low:.0f}–{1e6 * high:.0f})"
    return "–" if math.isnan(time) else f"{time:.0f}"
