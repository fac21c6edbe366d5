"""The report of any study: tables, pictures, the page, and what a notebook shows of an outcome."""

import csv
import io
import re
from html.parser import HTMLParser

import made_up_kind
import numpy as np
import pandas as pd
import pytest
from made_up_kind import results_of
from matplotlib.figure import Figure
from scipy import stats

from sttp.study.folder import COMMAND, ResultsFolder
from sttp.study.outcome import Outcome, write_all
from sttp.study.report.content import Picture, Table
from sttp.study.report.intervals import Interval, half_widths
from sttp.study.report.pictures import drawn
from sttp.study.report.reached import still_falling
from sttp.study.report.tables import to_csv, to_latex
from sttp.study.report.text import plain

pytestmark = pytest.mark.usefixtures("coarse_pictures")

HOSTILE = "<script>alert(1)</script>[red]&\x1b[31mred\x07 $\\frac$"


@pytest.fixture
def write(tmp_path):
    def write(slope=0.0, drop=0, **others):
        study = made_up_kind.study(**others)
        results = results_of(study, slope)
        kept = dict(list(results.items())[: len(results) - drop])
        with ResultsFolder.held(tmp_path / "results", study) as folder:
            (folder.path / COMMAND).write_text("sttp study made-up\n")
            return write_all(folder, kept)

    return write


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What a finished study has led to; nothing of it is written."""
    study = made_up_kind.study()
    with ResultsFolder.held(tmp_path_factory.mktemp("outcome") / "results", study) as folder:
        return Outcome.of(folder, results_of(study, 0.0))


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, key):
        return [attributes[key] for name, attributes in self.tags if name == tag and key in attributes]


def page_of(outcome):
    return Page(outcome.report.read_text(encoding="utf-8"))


def test_the_same_figure_is_drawn_to_the_same_bytes():
    pictures = [Picture("first", "", "", made_up_kind._figure)] * 2
    first, second = drawn(pictures)
    assert first == second
    assert first.files["png"].startswith(b"\x89PNG")
    assert b"<svg" in first.files["svg"]
    assert first.size == pytest.approx((9, 5), abs=0.01)


def test_what_cannot_be_drawn_costs_no_other_figure_and_no_table(write):
    outcome = write(picture="bad")
    folder = outcome.report.parent
    assert (folder / "first.png").exists()
    assert not (folder / "second.png").exists()
    assert len(pd.read_csv(folder / "results.csv")) == len(outcome.results)
    assert "division by zero" in page_of(outcome).text


def test_tables_of_runs_are_there_even_where_a_report_cannot_be(write, tmp_path):
    with pytest.raises(RuntimeError, match="cannot be made"):
        write(picture="no content")
    assert {"results.csv", "timings.csv"} <= {path.name for path in (tmp_path / "results").iterdir()}


def test_the_results_table_has_a_row_a_run_and_whole_numbers_where_some_are_missing(write):
    outcome = write()
    text = (outcome.report.parent / "results.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run"] for row in rows] == list(dict.fromkeys(row["run"] for row in rows))
    assert {row["rank"] for row in rows} == {"", "2", "4", "8"}
    chosen = [row for row in rows if row["chosen"] == "True"]
    assert len(chosen) == 3 * len(outcome.study.cases)


def test_every_link_of_the_page_leads_to_a_file_that_was_written(write):
    outcome = write()
    folder = outcome.report.parent
    for run in outcome.results:
        (folder / "runs" / run.identifier).mkdir(parents=True)
        (folder / "runs" / run.identifier / "result.json").touch()
    links = [link for link in page_of(outcome).all("a", "href") if not link.startswith(("#", "data:"))]
    assert len([link for link in links if link.endswith(".json")]) > 3 * len(outcome.study.cases)
    assert {"results.csv", "timings.csv", "extra.csv", "first.png", "first.svg"} <= set(links)
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_page_needs_no_other_file_to_be_read(write):
    page = page_of(write())
    assert all(source.startswith("data:image/png;base64,") for source in page.all("img", "src"))
    assert page.all("script", "src") == page.all("link", "href") == []


def test_the_page_says_where_its_numbers_come_from(write):
    text = page_of(write()).text
    for words in ("A processor", "torch 0", "0.5 to 2.5", "2023-11-14", "sttp study made-up"):
        assert words in text


def test_drawing_again_gives_the_same_page(write):
    outcome = write()
    before = outcome.report.read_bytes()
    write_all(ResultsFolder.open(outcome.report.parent), outcome.results)
    assert outcome.report.read_bytes() == before


def test_names_are_shown_as_text_everywhere(write):
    outcome = write(methods=(HOSTILE, "_other"), title=HOSTILE)
    source = outcome.report.read_text(encoding="utf-8")
    page = Page(source)
    assert len(page.all("script", "src")) == 0
    assert source.count("<script") == 1
    assert "<script>alert(1)</script>[red]&red $\\frac$" in page.text
    shown = outcome._repr_html_()
    assert "<script" not in shown
    assert "&lt;script" in shown
    figure = outcome.plot("accuracy", against="rank")
    drawn_names = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert len(drawn_names) == 2
    for text in (source, shown, *drawn_names):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    assert drawn([Picture("p", "", "", lambda: figure)])[0].error is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07rest", "rest"),
        ("two\nlines\tand", "two lines and"),
        ("right\u202eleft", "rightleft"),
        ("broken \ud800", "broken ?"),
        ("plain ü ‖X‖", "plain ü ‖X‖"),
    ],
)
def test_text_has_nothing_that_a_terminal_would_obey(text, shown):
    assert plain(text) == shown


def test_an_unfinished_study_is_said_to_be_one(write):
    assert "not finished" in page_of(write(drop=5)).text
    assert "not finished" not in page_of(write()).text


def test_a_loss_that_falls_to_the_last_step_is_told_and_one_that_is_level_is_not(write):
    study = made_up_kind.study()
    assert still_falling(study, results_of(study, slope=0.0)) is None
    assert "7 of 7" in still_falling(study, results_of(study, slope=0.05))
    assert "still falling" in page_of(write(slope=0.05)).text


TABLE = Table("t", ("a", "50 % & more", "‖X‖"), (("x_1, y", "1.5 ± 0.1", "–"), ("#2 {}", "\\alpha", "2")))


def test_a_table_as_csv_is_read_back():
    assert list(csv.reader(io.StringIO(to_csv(TABLE)))) == [list(row) for row in (TABLE.columns, *TABLE.rows)]


def test_a_table_as_latex_has_its_rows_between_rules_with_no_sign_left_that_latex_reads():
    lines = to_latex(TABLE).splitlines()
    rules = [index for index, line in enumerate(lines) if line.endswith("rule")]
    assert [lines[index] for index in rules] == [r"\toprule", r"\midrule", r"\bottomrule"]
    body = [lines[rules[0] + 1], *lines[rules[1] + 1 : rules[2]]]
    assert len(body) == 1 + len(TABLE.rows)
    for line in body:
        cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
        assert len(cells) == len(TABLE.columns)
        assert not re.search(r"(?<!\\)[%#_]", re.sub(r"\$[^$]*\$", "", line))


def test_intervals_are_those_of_students_t():
    samples = np.random.default_rng(0).normal(size=(5, 3))
    for column, width in zip(samples.T, half_widths(samples), strict=True):
        low, high = stats.t.interval(0.95, len(column) - 1, loc=column.mean(), scale=stats.sem(column))
        found = Interval.of(column)
        assert found.mean == pytest.approx(column.mean())
        assert found.half_width == pytest.approx((high - low) / 2)
        assert width == pytest.approx((high - low) / 2)
    assert (half_widths(samples[:1]) == 0).all()
    assert Interval.of([1.0]).half_width is None


def test_a_plot_against_a_column_has_a_line_a_method_through_means_with_bars(outcome):
    axes = outcome.plot("accuracy", against="z").axes[0]
    assert len(axes.containers) == 3
    for container, method in zip(axes.containers, ("dense", "STTP stiefel", "STTP grassmann"), strict=True):
        rows = outcome.table[outcome.table["case"].str.startswith(method)]
        np.testing.assert_allclose(container.lines[0].get_xydata(), rows[["z", "accuracy"]])
        assert container.get_label() == method


def test_a_case_without_a_place_across_is_a_level_line(outcome):
    axes = outcome.plot("accuracy", against="rank").axes[0]
    assert len(axes.containers) == 2
    assert [line.get_label() for line in axes.lines if line.get_label() == "dense"] == ["dense"]


def test_against_words_there_is_a_place_a_word_and_no_line_between_them(outcome):
    axes = outcome.plot("accuracy", against="method").axes[0]
    assert {label.get_text() for label in axes.get_xticklabels()} == {"dense", "STTP stiefel", "STTP grassmann"}
    assert {container.lines[0].get_linestyle() for container in axes.containers} == {"None"}


@pytest.mark.parametrize("against", ["step", "seconds"])
@pytest.mark.parametrize("measure", ["loss", "validation_score", "accuracy"])
def test_a_plot_over_training_has_a_line_and_a_band_a_case(outcome, measure, against):
    axes = outcome.plot(measure, against=against).axes[0]
    assert [line.get_label() for line in axes.lines] == [case.title for case in outcome.study.cases]
    assert len(axes.collections) == len(outcome.study.cases)
    last = axes.lines[0].get_xdata()[-1]
    assert last == pytest.approx(60 if against == "step" else 60 * 0.016)


@pytest.mark.parametrize(
    ("measure", "against", "known"),
    [("acuracy", "z", "accuracy"), ("acuracy", "step", "accuracy"), ("accuracy", "rnk", "rank"), ("mss", "rank", "ms")],
)
def test_an_unknown_measure_or_column_is_refused_by_name(outcome, measure, against, known):
    with pytest.raises(ValueError, match=f"did you mean '{known}'"):
        outcome.plot(measure, against=against)


def test_a_column_of_the_table_alone_can_be_plotted(outcome):
    axes = outcome.plot("ms", against="rank").axes[0]
    assert {float(y) for container in axes.containers for y in container.lines[0].get_ydata()} == {3.5}


def test_a_notebook_shows_outcomes_and_their_plots(outcome):
    html = outcome._repr_html_()
    assert html.count("<li>") == len(outcome.findings)
    assert html.count("<tr") == 1 + len(outcome.table)
    figure = outcome.plot("loss")
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
