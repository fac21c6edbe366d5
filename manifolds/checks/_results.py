"""What the checks find."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, final

from ._slopes import Slope

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@final
class Verdict(enum.StrEnum):
    """What a finding says."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"


@final
@dataclass(frozen=True)
class Finding:
    """One property of a manifold and whether it holds.

    Attributes:
        name: the property.
        verdict: whether it holds; ABSENT where the manifold does not implement or does not claim it.
        error: the largest error, relative to the vectors' norms; None where a slope says it all.
        tolerance: the error that is allowed.
        slope: the slope of a model's error against the step.
        note: what else there is to know, such as the words of an exception.
    """

    name: str
    verdict: Verdict
    error: float | None = None
    tolerance: float | None = None
    slope: Slope | None = None
    note: str = ""

    @property
    def measured(self) -> tuple[str, ...]:
        """What was measured, in words, with what is allowed or expected."""
        parts = []
        if self.error is not None:
            parts.append(f"error {self.error:.1e} (allowed {self.tolerance:.1e})")
        if self.slope is not None:
            measured = "exact" if self.slope.is_exact else "no slope"
            if self.slope.measured is not None:
                measured = f"slope {self.slope.measured:.2f}"
            parts.append(f"{measured} (expected {self.slope.expected:g})")
        return tuple(parts)

    def __str__(self) -> str:
        """Return one line."""
        parts = [f"{self.verdict:6s}", self.name, *self.measured]
        return "  ".join([*parts, self.note] if self.note else parts)


@final
@dataclass(frozen=True)
class CheckResult:
    """All findings of one check.

    Attributes:
        subject: the manifold, in words.
        dtype: the precision.
        findings: the properties in the order of their checks.
    """

    subject: str
    dtype: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no finding failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that failed."""
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FAILED)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of that name.

        Raises:
            KeyError: there is none.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding {name!r}; there are {', '.join(finding.name for finding in self.findings)}")

    def __str__(self) -> str:
        """Return a table in plain text."""
        return "\n".join([f"{self.subject}, {self.dtype}", *(f"  {finding}" for finding in self.findings)])

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        rows = [_line("th", "property", "verdict", "measured", "note")]
        rows += [_line("td", f.name, f.verdict, ", ".join(f.measured), f.note) for f in self.findings]
        return f"<table><caption>{escape(f'{self.subject}, {self.dtype}')}</caption>{''.join(rows)}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return the findings in plain types, for JSON: numbers that are not finite become None."""
        return {
            "subject": self.subject,
            "dtype": self.dtype,
            "passed": self.passed,
            "findings": [
                {
                    "name": finding.name,
                    "verdict": str(finding.verdict),
                    "error": _finite(finding.error),
                    "tolerance": finding.tolerance,
                    "slope": None if finding.slope is None else _finite(finding.slope.measured),
                    "expected_slope": None if finding.slope is None else finding.slope.expected,
                    "exact": None if finding.slope is None else finding.slope.is_exact,
                    "note": finding.note,
                }
                for finding in self.findings
            ],
        }

    def plot(self) -> Figure:
        """Return a figure: the log-log plot of each slope, or where there is none the errors as bars."""
        from matplotlib.figure import Figure

        slopes = [finding for finding in self.findings if finding.slope is not None]
        figure = Figure(figsize=(4.2 * max(1, len(slopes)), 3.6), layout="constrained")
        figure.suptitle(f"{self.subject}, {self.dtype}", fontsize=10)
        for position, finding in enumerate(slopes):
            assert finding.slope is not None
            axes = figure.add_subplot(1, len(slopes), position + 1)
            finding.slope.plot(axes, f"{finding.name}: {finding.verdict}")
        if not slopes:
            self._plot_errors(figure)
        return figure

    def _plot_errors(self, figure: Figure) -> None:
        measured = [finding for finding in self.findings if finding.error is not None]
        figure.set_size_inches(7, 0.8 + 0.28 * len(measured))
        axes = figure.add_subplot()
        colors = ["#009e73" if finding.verdict is Verdict.PASSED else "#d55e00" for finding in measured]
        smallest = 1e-18  # an error of exactly 0 has no place on a logarithmic axis
        widths = [max(finding.error or 0.0, smallest) for finding in measured]
        axes.barh(range(len(measured)), widths, left=smallest / 10, color=colors)
        for position, finding in enumerate(measured):
            if finding.tolerance:
                axes.plot([finding.tolerance] * 2, [position - 0.4, position + 0.4], color="black")
        axes.set_xscale("log")
        axes.set_yticks(range(len(measured)), [finding.name for finding in measured], fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel("error (bar) and tolerance (line)")


def _line(tag: str, *cells: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def by_error(error: float, tolerance: float, note: str = "") -> Callable[[str], Finding]:
    """Return a finding, but for its name, that holds where the error is at most the tolerance; NaN is a failure."""
    verdict = Verdict.PASSED if not math.isnan(error) and error <= tolerance else Verdict.FAILED
    return lambda name: Finding(name, verdict, error, tolerance, note=note)


def by_slope(slope: Slope, note: str = "") -> Callable[[str], Finding]:
    """Return a finding, but for its name, that holds where the slope does."""
    return lambda name: Finding(name, Verdict.PASSED if slope.passed else Verdict.FAILED, slope=slope, note=note)


def absent(note: str) -> Callable[[str], Finding]:
    """Return a finding, but for its name, about what is neither implemented nor claimed."""
    return lambda name: Finding(name, Verdict.ABSENT, note=note)


def collect(subject: str, dtype: str, properties: dict[str, Callable[[], Callable[[str], Finding]]]) -> CheckResult:
    """Evaluate named properties: what raises NotImplementedError is absent, what raises anything else has failed."""
    findings = []
    for name, evaluate in properties.items():
        try:
            findings.append(evaluate()(name))
        except NotImplementedError as error:
            findings.append(absent(str(error) or "not implemented")(name))
        except Exception as error:  # a manifold of somebody else may fail in any way, and that is the finding
            note = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            findings.append(Finding(name, Verdict.FAILED, note=note))
    return CheckResult(subject, dtype, tuple(findings))
