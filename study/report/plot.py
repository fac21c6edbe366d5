"""One figure of any measure, for notebooks and for figures of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._plain import require_known
from ..case import Case
from ..register import Appearance, default_look
from ..result import LAST_STEPS, Result
from .axes import add_legend, dress, logarithmic
from .intervals import half_widths
from .pictures import to_file
from .reached import chosen_results
from .text import label

if TYPE_CHECKING:
    from ..outcome import Outcome

LOSS: Final = "loss"  # of training, which has a value a step
ABSCISSAS: Final = ("step", "seconds")
POINTS: Final = 1000  # of a line; more are not seen
WIDE: Final = 10.0  # the ratio of the largest to small values from which an axis is logarithmic
EQUAL: Final = (
    1e-12  # values below this share of the largest count as equal on a logarithmic axis: gaps end in rounding
)
Line = dict[str, Any]


@final
class Plot(Figure):
    """A figure that a notebook shows, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        return to_file(self)


def plot(outcome: Outcome, measure: str, against: str = "step") -> Plot:
    """Return a figure of a measure; see :meth:`sttp.study.Outcome.plot`."""
    reported = _reported(outcome)
    figure = Plot(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    if against in ABSCISSAS:
        _lines(axes, outcome, reported, measure, against)
    else:
        _points(axes, outcome, reported, measure, against)
    axes.set_xlabel(label(against))
    axes.set_ylabel(label(measure))
    dress(axes)
    add_legend(figure, axes.get_legend_handles_labels()[0], size=9)
    return figure


def _reported(outcome: Outcome) -> dict[Case, tuple[Result, ...]]:
    """Return the results of the chosen runs of each case that has any."""
    study, results = outcome.study, outcome.results
    found = {case: chosen_results(study, case, results) for case in study.cases}
    found = {case: runs for case, runs in found.items() if runs}
    if not found:
        raise ValueError("no case has a result at a chosen learning rate yet; let the study go on")
    return found


def _lines(axes: Axes, outcome: Outcome, reported: Mapping[Case, Sequence[Result]], measure: str, against: str) -> None:
    """Draw a line a case over its training, with a band over seeds."""
    names = outcome.content.measures.get(measure, (measure,))
    known = _seen(reported) | {LOSS for runs in reported.values() for run in runs if run.losses}
    if not known.intersection(names):
        also = [name for name, meant in outcome.content.measures.items() if known.intersection(meant)]
        require_known("measure", measure, [*also, *sorted(known)])
    groups, names_of = _groups(reported), outcome.content.names
    curves = []
    for position, (shared, cases) in enumerate(groups.items()):
        look = outcome.content.looks.get(shared, default_look(position))
        for case, line in zip(cases, _dashes(look, len(cases)), strict=True):
            runs = [run for run in reported[case] if not run.diverged]
            found = [s for run in runs if (s := _series(run, names, against)) is not None]
            steps = min((len(x) for x, _ in found), default=0)
            if steps:
                x = np.mean([x[:steps] for x, _ in found], axis=0)
                y = np.array([y[:steps] for _, y in found])
                curves.append((names_of.get(case.title, case.title), look, line, x, y))
    # A score rises from chance, and is shown as it is; a loss falls by orders of magnitude.
    falling = sum(y[:, -1].mean() < y[:, 0].mean() for *_, y in curves)
    floor = _floor([y for *_, y in curves]) if 2 * falling > len(curves) else None
    if floor is not None:
        logarithmic(axes, "y")
    bands = []
    for title, look, line, x, y in curves:
        thin = slice(None, None, max(1, len(x) // POINTS))
        middle, low, high = (values[thin] for values in _band(y, floor))
        axes.plot(x[thin], middle, color=look.color, linestyle=line, linewidth=1.6, label=label(title))
        least = y.min() if floor is None else max(y.min(), floor)
        axes.update_datalim([(x[0], least), (x[0], y.max())])
        bands.append((x[thin], low, high, look.color))
    # The axis shows what was seen: bands of few seeds reach further, such as beyond what a share can be.
    axes.autoscale_view()
    axes.autoscale(False)
    for x, low, high, color in bands:
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)


def _points(
    axes: Axes, outcome: Outcome, reported: Mapping[Case, Sequence[Result]], measure: str, against: str
) -> None:
    """Draw a point a case with a bar over seeds; a line through those that differ in numbers alone."""
    columns = _columns(outcome, reported)
    require_known("against", against, [*ABSCISSAS, *columns])
    samples = _samples(outcome, reported, columns, measure)
    floor = _floor(samples.values())
    places = columns[against]
    numbers = [place for case in samples if (place := places[case]) is not None]
    if not all(_is_number(place) for place in numbers):
        numbers = []
    for position, (shared, cases) in enumerate(_groups(samples, against).items()):
        look = outcome.content.looks.get(shared, default_look(position))
        bands = {case: [float(value[0]) for value in _band(samples[case][:, None], floor)] for case in cases}
        style: Line = {"color": look.color, "label": label(outcome.content.names.get(shared, shared))}
        for level in (band[0] for case, band in bands.items() if places[case] is None):
            axes.axhline(level, linestyle=look.line, linewidth=1, **style)
        placed = sorted((case for case in cases if places[case] is not None), key=lambda case: _order(places[case]))
        if placed:
            middle, low, high = (np.array(values) for values in zip(*(bands[case] for case in placed), strict=True))
            axes.errorbar(
                [places[case] if numbers else label(str(places[case])) for case in placed],
                middle,
                yerr=[middle - low, high - middle],
                marker=look.marker,
                linestyle=look.line if numbers else "",
                capsize=3,
                **style,
            )
    if numbers and min(numbers) > 0 and max(numbers) > WIDE * min(numbers):
        logarithmic(axes, "x")
    if floor is not None:
        logarithmic(axes, "y")
        # Geometric bars of few seeds may reach over dozens of magnitudes; the axis shows what was seen.
        seen = np.concatenate(list(samples.values()))
        axes.set_ylim(max(seen.min(), floor) / 3, 3 * seen.max())


def _seen(reported: Mapping[Case, Sequence[Result]]) -> set[str]:
    """Return the names of all measures of looks."""
    return {name for runs in reported.values() for run in runs for look in run.looks for name in look.measures}


def _samples(
    outcome: Outcome, reported: Mapping[Case, Sequence[Result]], columns: Mapping[str, Mapping[Case, Any]], measure: str
) -> dict[Case, np.ndarray]:
    """Return a measure at the end, one value a seed; of what only the table has, one value."""
    names = outcome.content.measures.get(measure, (measure,))
    found: dict[Case, list[float]] = {}
    for case, runs in reported.items():
        per_run = (next((value for name in names if (value := _end(run, name)) is not None), None) for run in runs)
        found[case] = [value for value in per_run if value is not None]
    if not any(found.values()):
        numeric = [name for name, cells in columns.items() if any(_is_number(cell) for cell in cells.values())]
        known = {name for runs in reported.values() for run in runs for name in run.final} | _seen(reported)
        require_known("measure", measure, [*outcome.content.measures, *sorted({*known, LOSS}), *numeric])
        cells = columns.get(measure, {})
        found = {case: [float(cells[case])] for case in reported if _is_number(cells.get(case))}
    return {case: np.array(values) for case, values in found.items() if values}


def _columns(outcome: Outcome, reported: Mapping[Case, Sequence[Result]]) -> dict[str, dict[Case, Any]]:
    """Return what cases can be set apart by: their own values, facts of their runs, and columns of the table."""
    found: dict[str, dict[Case, Any]] = {}
    for case, runs in reported.items():
        for name, value in {**case.to_dict(), **runs[0].facts}.items():
            if value is None or isinstance(value, str | int | float):
                found.setdefault(name, dict.fromkeys(reported))[case] = value
    table = outcome.table
    if len(table) == len(reported):
        for column in table.columns:
            cells = [
                None if cell != cell else cell for cell in table[column].astype(object).where(table[column].notna())
            ]
            plain_cells = [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]
            found[str(column)] = dict(zip(reported, plain_cells, strict=True))
    return found


def _groups(cases: Iterable[Case], against: str = "") -> dict[str, list[Case]]:
    """Return the cases that differ in numbers, or in what is across, alone, by what they share in words."""
    groups: dict[str, list[Case]] = {}
    words: dict[str, dict[str, str]] = {}
    for case in cases:
        found = {name: word for name, word in _words(case.to_dict()) if not f"{name}.".startswith(f"{against}.")}
        words[repr(found)] = found
        groups.setdefault(repr(found), []).append(case)
    differing = {name for found in words.values() for name in found if len({o.get(name) for o in words.values()}) > 1}
    named: dict[str, list[Case]] = {}
    for key, members in groups.items():
        # Titles begin with what matters most; where that is across, there is no telling a line by it.
        parts = [case.title.split(", ") for case in members]
        shared = [part for part in parts[0] if all(part in others for others in parts)]
        if parts[0][0] not in shared:
            told = [word for name, word in words[key].items() if name in differing and word]
            shared = [word for word in told if not any(o != word and o.startswith(word) for o in told)]
        name = ", ".join(shared)
        named.setdefault(name if name and name not in named else members[0].title, []).extend(members)
    return named


def _words(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield all values but numbers, by their names with dots; the empty word for None."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _words(item, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _words(item, f"{name}.{index}")
    elif not _is_number(value):
        yield name, "" if value is None else str(value)


def _series(result: Result, names: Sequence[str], against: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return steps or seconds, and the first of the measures that the result has on its way."""
    for name in names:
        if name == LOSS and result.losses:
            width = min(LAST_STEPS, len(result.losses))
            values = np.convolve(result.losses, np.full(width, 1 / width), mode="valid")
            steps = np.arange(width, len(result.losses) + 1)
        else:
            seen = [(look.step, value) for look in result.looks if (value := look.measures.get(name)) is not None]
            if not seen:
                continue
            steps, values = (np.array(numbers) for numbers in zip(*seen, strict=True))
        if against == "step":
            return steps, values
        seconds = np.array([0.0, *accumulate(result.timing.step_seconds)])
        return seconds[np.minimum(steps, len(seconds) - 1)], values
    return None


def _end(result: Result, name: str) -> float | None:
    return result.final_loss if name == LOSS else result.last(name)


def _band(samples: np.ndarray, floor: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means over the rows and the ends of their intervals; geometric ones where there is a floor."""
    values = samples if floor is None else np.log10(np.maximum(samples, floor))
    middle, width = values.mean(axis=0), half_widths(values)
    ends = middle, middle - width, middle + width
    return ends if floor is None else (10.0 ** ends[0], 10.0 ** ends[1], 10.0 ** ends[2])


def _floor(samples: Iterable[np.ndarray]) -> float | None:
    """Return the least value that a logarithmic axis tells from others; None where a linear one serves better."""
    values = np.concatenate([np.ravel(sample) for sample in samples] or [np.zeros(1)])
    largest = float(values.max())
    floor = EQUAL * largest
    is_wide = values.min() >= -floor and largest > WIDE * max(float(np.quantile(values, 0.25)), floor)
    return floor if is_wide else None


def _dashes(look: Appearance, count: int) -> list[Any]:
    """Return the look's own line where one case has it, and several kinds of lines where several do."""
    return [look.line] if count == 1 else [("-", "--", ":", "-.")[index % 4] for index in range(count)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _order(place: Any) -> tuple[bool, Any]:
    return (False, place) if _is_number(place) else (True, str(place))
