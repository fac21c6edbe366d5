"""What a study of optimizers found, in sentences that are computed from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .comparison import Comparison, Entry
from .setting import Setting

# Mean ranks closer than this are called equal.
_CLOSE = 0.5


def findings(comparisons: Sequence[Comparison], tolerance: float) -> list[str]:
    """Return the sentences, a few a factor."""
    sentences: list[str] = []
    for comparison in comparisons:
        if len(comparison.ordered) > 1:
            sentences += [*_ranking(comparison), *_solving(comparison, tolerance), *_centre(comparison)]
    return [*sentences, *_feasibility(comparisons), *_divergence(comparisons), *_edges(comparisons)]


def _ranking(comparison: Comparison) -> Iterator[str]:
    ordered, ranks = comparison.ordered, comparison.ranks
    best = [setting for setting in ordered if ranks[setting] - ranks[ordered[0]] < _CLOSE]
    named = _listed([f"{comparison.label(s)} ({ranks[s]:.1f})" for s in best])
    yield (
        f"{comparison.factor.capitalize()}: by the gap at the end the best mean rank over "
        f"{len(comparison.problems)} problems has {named} of {len(ordered)}; "
        f"the last is {comparison.label(ordered[-1])} ({ranks[ordered[-1]]:.1f})."
    )


def _solving(comparison: Comparison, tolerance: float) -> Iterator[str]:
    solved = {setting: comparison.solved(setting) for setting in comparison.ordered}
    shares = {setting: count / total for setting, (count, total) in solved.items() if total}
    if not shares:
        return
    most = max(shares.values())
    if most == 0:
        yield f"{comparison.factor.capitalize()}: none reaches a gap of {tolerance:g} on any problem within its budget."
        return
    best = [setting for setting, share in shares.items() if share == most]
    quickest = min(best, key=comparison.step_microseconds)
    yield (
        f"{comparison.factor.capitalize()}: {_listed([comparison.label(s) for s in best])} "
        f"{'reach' if len(best) > 1 else 'reaches'} a gap of {tolerance:g} on {100 * most:.0f} % of problems and starts"
        + (f", {comparison.label(quickest)} with the cheapest steps" if len(best) > 1 else "")
        + "."
    )


def _centre(comparison: Comparison) -> Iterator[str]:
    centre = comparison.settings[0]
    if centre not in comparison.ranks or comparison.factor in ("optimizers", "methods"):
        return
    times = {s: comparison.step_microseconds(s) / comparison.step_microseconds(centre) for s in comparison.ordered}
    listed = _listed([f"{comparison.label(s)} {ratio:.2f}" for s, ratio in times.items() if s != centre])
    yield f"{comparison.factor.capitalize()}: time of a step, {comparison.label(centre)} being 1: {listed}."


def _feasibility(comparisons: Sequence[Comparison]) -> Iterator[str]:
    errors: dict[str, float] = {}
    for comparison in comparisons:
        for setting in comparison.ordered:
            errors[str(setting)] = comparison.orthogonality_error(setting)
    loose = {name: error for name, error in errors.items() if error > 1e-10}
    if loose:
        listed = _listed([f"{name} ({error:.0e})" for name, error in loose.items()])
        yield f"Frames left the manifold by more than 1e-10 in ‖XᵀX − I‖ under {listed}; all others stayed to rounding."
    elif errors:
        yield f"No frame was ever further from orthogonality than ‖XᵀX − I‖ = {max(errors.values()):.0e}, in float64."


def _divergence(comparisons: Sequence[Comparison]) -> Iterator[str]:
    diverged = _counted(comparisons, lambda entry: sum(result.diverged for result in entry.results))
    yield (
        f"Runs whose loss ceased to be finite, at a chosen learning rate: {_listed(diverged)}."
        if diverged
        else "No run at a chosen learning rate diverged."
    )


def _edges(comparisons: Sequence[Comparison]) -> Iterator[str]:
    edges = _counted(comparisons, lambda entry: int(entry.at_edge))
    if edges:
        yield (
            "Learning rates that were the best at the edge of what was tried, marked * in the tables, might gain from "
            f"a wider search; number of problems: {_listed(edges)}."
        )


def _counted(comparisons: Sequence[Comparison], count: Callable[[Entry], int]) -> list[str]:
    totals: dict[Setting, int] = {}
    seen = set()
    for comparison in comparisons:
        for entry in comparison.entries:
            key = (entry.setting, entry.problem)
            if key not in seen:
                seen.add(key)
                totals[entry.setting] = totals.get(entry.setting, 0) + count(entry)
    return [f"{setting} ({total})" for setting, total in totals.items() if total]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
