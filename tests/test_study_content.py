"""What the report of trainings says and shows of results, which are made up."""

import io
import json

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from made_up_trainings import OURS, STEPS, THEIRS, content, found_in, made_up, results_of, study_of, turns_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from sttp.study import STUDIES, Study
from sttp.study.paper import paper_study
from sttp.study.report.intervals import Interval
from sttp.study.run_files import SAMPLES
from sttp.study.surroundings import RUNS
from sttp.study.tasks.images import KNOWN_SHAPES

PAPER = paper_study("paper-table1", "digits", KNOWN_SHAPES["digits"])


def better(name, by=0.02):
    """Make one method better than all others."""
    return lambda run: made_up(run, 0.9 + by * (name in (run.case.parameterization, run.case.geometry)))


def sentence(text, *words):
    """Return the one sentence that has all words."""
    (found,) = [line for line in text.split("\n") if all(word in line for word in words)]
    return found


def test_differences_are_called_so_where_their_interval_excludes_zero():
    study = study_of()
    assert "better" in sentence(found_in(study, better("sttp")), "STTP against SVDP")
    assert "worse" in sentence(found_in(study, better("svdp")), "STTP against SVDP")
    gauge = sentence(found_in(study, better("grassmann")), "gauge-fixed")
    assert "better at rank 2 (+" in gauge
    assert "rank 4 (+" in gauge
    charts = sentence(found_in(study, better("householder-reduced")), "reduced Householder charts")
    assert "worse" in charts
    assert "better" not in found_in(study, lambda run: made_up(run, 0.9))
    assert "one seed only" in found_in(study_of(seeds=[3]), better("sttp"))


def test_sizes_too_far_apart_are_not_compared():
    def make(run):
        return made_up(run, z=1.0 if run.case.parameterization == "sttp" else 50.0)

    assert "about equal size" not in found_in(study_of(), make)


def test_methods_of_others_are_compared_at_equal_rank():
    study = study_of((*OURS, *THEIRS))
    text = found_in(study, lambda run: made_up(run, 0.9 + 0.02 * (run.case.parameterization == "folded")))
    ours = sentence(text, "Folded layers against STTP stiefel")
    assert "better at rank 2 (+" in ours
    assert "Z = 24.0 % against 24.0 %" in ours
    assert "no clear difference" in sentence(text, "pruned against dense")
    assert "Folded layers against" not in found_in(study_of((*OURS, *THEIRS), seeds=[0]))


def test_methods_of_others_stand_wherever_ours_do():
    study = study_of((*OURS, *THEIRS))
    shown = content(study, turns=turns_of(study, results_of(study), lambda case: 2.0))
    assert set(THEIRS) < set(shown.frame()["method"])
    (table,) = shown.tables
    assert {"Folded layers", "pruned"} < {row[0] for row in table.rows}
    for picture in shown.pictures:
        if picture.file != "orthogonality":  # they have no frames
            figure = picture.draw()
            words = {text.get_text().split(", rank")[0] for text in figure.findobj(Text)}
            assert {"Folded layers", "pruned", "STTP stiefel"} <= words, picture.file
    lines = [(look.color, look.marker, look.line) for look in shown.looks.values()]
    assert len(lines) == len(set(lines)) == len(OURS) + len(THEIRS)


def test_speed_is_told_only_of_times_in_turns_that_are_clear_of_each_other():
    study = study_of()
    results = results_of(study)

    def told(spread, milliseconds=lambda case: 2.0 + (case.geometry == "grassmann")):
        return "\n".join(content(study, results, turns_of(study, results, milliseconds, spread)).findings)

    assert "STTP grassmann 1.50" in sentence(told(0.01), "Time of a step, that of STTP stiefel being 1")
    assert "Time of a step" not in told(0.3)
    assert "Time of a step" not in found_in(study)
    (table,) = content(study, results, turns_of(study, results, lambda case: 2.0)).tables
    assert table.rows[0][table.columns.index("ms/step")] == "2.0 (2.0 to 2.0)"
    assert any("load of 1.5" in note for note in table.notes)


def test_the_smallest_singular_value_of_each_method_is_told():
    text = found_in(PAPER, lambda run: made_up(run, end={"first": (4.0, 1.0), "last": (2.0, 1.0)}))
    assert "SN 0.25 (first, at the start 0.75)" in text
    assert "STTP-L householder-reduced 0.25" in text
    assert "STTP-C householder-reduced" not in sentence(text, "smallest")  # whose singular values are all ones


def test_a_stable_rank_that_falls_by_more_than_half_is_called_a_collapse():
    equal, collapsed = (1.0,) * 4, (1.0, 0.1, 0.1, 0.1)
    start, end = {"first": equal, "last": equal}, {"first": equal, "last": collapsed}
    assert "shows in SN (1 of 2 layers: last)" in found_in(PAPER, lambda run: made_up(run, start=start, end=end))
    assert "in no layer" in found_in(PAPER)
    assert "collapse" not in found_in(study_of())


def test_divergence_and_edges_of_rates_are_told():
    def make(run):
        went_astray = run.case.geometry == "stiefel" and run.seed == 1
        return made_up(run, 0.5 + run.learning_rate, diverged_at=5 if went_astray else None)

    study = study_of(learning_rates=[0.01, 0.03])
    text = found_in(study, make)
    assert "STTP stiefel, rank 2 (1)" in sentence(text, "ceased to be finite")
    assert "dense" in sentence(text, "at the edge")
    shown = content(study, results_of(study, make)).frame()
    assert shown["at_edge"].all()
    assert shown.loc[shown["method"] == "sttp stiefel", "diverged"].tolist() == [1, 1]
    assert np.isfinite(shown["accuracy"]).all()


def test_the_frame_has_a_row_a_case_and_a_column_a_factor():
    study = study_of(("dense", "sttp stiefel"), retractions=["qr", "polar"])
    results = results_of(study)
    frame = content(study, results).frame()
    assert len(frame) == len(study.cases) == 5
    curves = json.loads(json.dumps(content(study, results).values, allow_nan=False))["curves"]
    assert [curve["retraction"] for curve in curves] == [None, "qr", "polar", "qr", "polar"]
    assert set(frame["retraction"].dropna()) == {"qr", "polar"}
    assert "optimizer" not in frame.columns
    for case, (_, row) in zip(study.cases, frame.iterrows(), strict=True):
        runs = [results[study.run(case, 0.03, seed)] for seed in study.seeds]
        interval = Interval.of(result.final["test_score"] for result in runs)
        assert (row["accuracy"], row["accuracy_half_width"]) == (interval.mean, interval.half_width)
        assert (row["z"], row["learning_rate"]) == (runs[0].facts["z"], 0.03)


def test_values_of_a_factor_are_compared_over_all_that_differ_in_it_alone():
    def make(run):
        return made_up(run, 0.9 - 0.02 * (run.case.retraction == "polar"))

    text = found_in(study_of(("sttp stiefel", "sttp grassmann"), retractions=["qr", "polar"]), make)
    assert "the mean over 4 curves: worse" in sentence(text, "retraction polar against qr")
    assert sentence(text, "With the retraction polar", "gauge-fixed")


def test_spectra_are_a_table_with_as_many_digits_as_float32_has():
    study = study_of(("dense", "sttp stiefel"), ranks=[2], seeds=[0])
    third = {"first": (1.0, 1 / 3)}
    table = content(study, results_of(study, lambda run: made_up(run, start=third, end=third))).csv["spectra.csv"]()
    text = table.to_csv(index=False, lineterminator="\n")
    assert text.split("\n")[0] == (
        "run,parameterization,geometry,spectrum,rank,learning_rate,seed,step,layer,spectral_norm,stable_rank,"
        "smallest_over_largest"
    )
    assert text.split("\n")[1].endswith(",dense,,,,0.03,0,0,first,1,1.1111111,0.33333333")
    assert len(pd.read_csv(io.StringIO(text))) == 2 * 2


@pytest.mark.parametrize("study", [study_of((*OURS, *THEIRS)), PAPER], ids=["digits", "gan"])
def test_figures_can_be_read_on_a_phone(study):
    pictures = content(study).pictures
    assert {"accuracy", "loss", "singular_values", "spectra_over_training"} <= {picture.file for picture in pictures}
    for picture in pictures:
        figure = picture.draw()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = 358 / figure.get_figwidth() / 72  # a point, where a page of 390 pixels shows the figure whole
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(text.get_fontsize() for text in texts) * pixels >= 8, picture.file
        for legend in figure.legends:
            box, whole = legend.get_window_extent(canvas.get_renderer()), figure.bbox
            assert whole.x0 <= box.x0 < box.x1 <= whole.x1, picture.file
            assert whole.y0 <= box.y0 < box.y1 <= whole.y1, picture.file


def test_a_name_as_long_as_one_likes_leaves_the_legend_in_its_figure():
    study = study_of(("dense", "sttp stiefel"), ranks=[2])
    methods = {
        case.method: {"title": rf"$\bad$ {case.parameterization} " + "words of a title " * 9} for case in study.cases
    }
    for picture in content(study, methods=methods).pictures:
        figure = picture.draw()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for legend in figure.legends:
            assert legend.get_window_extent(canvas.get_renderer()).x1 <= figure.bbox.x1


def test_scores_have_bars_and_losses_bands_where_there_are_seeds():
    def drawn(seeds, file):
        shown = {picture.file: picture for picture in content(study_of(seeds=seeds)).pictures}
        return shown[file].draw().axes[0]

    assert all(container.has_yerr for container in drawn([0, 1, 2], "accuracy").containers)
    assert not any(container.has_yerr for container in drawn([0], "accuracy").containers)
    assert drawn([0, 1, 2], "loss").collections
    assert not drawn([0], "loss").collections


def test_losses_below_zero_are_shown():
    losses = tuple(np.linspace(1, -1, STEPS))
    study = study_of(("dense",))
    shown = {p.file: p for p in content(study, results_of(study, lambda run: made_up(run, losses=losses))).pictures}
    axes = shown["loss"].draw().axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < -0.5


def test_a_study_that_has_just_begun_has_content():
    study = study_of()
    shown = content(study, {})
    assert (shown.findings, shown.tables, shown.pictures, len(shown.frame())) == ((), (), (), 0)
    first = results_of(study)
    some = dict(list(first.items())[:3])
    assert len(content(study, some).frame()) == len({run.case for run in some})
    apart = study_of(tuning_seed=9)  # whose rates are found before any reported run is made
    tuned = {run: result for run, result in results_of(apart).items() if run.seed == 9}
    assert len(content(apart, tuned).frame()) == 0


def test_images_that_runs_generate_are_shown(tmp_path):
    study = study_of(("dense", "sttp stiefel"), ranks=[2])
    for case in study.cases:
        folder = tmp_path / RUNS / study.run(case, 0.03, study.seeds[0]).identifier
        folder.mkdir(parents=True)
        matplotlib.image.imsave(folder / SAMPLES, np.zeros((8, 8, 3)))
    (picture,) = [picture for picture in content(study, folder=str(tmp_path)).pictures if picture.file == "samples"]
    titles = {axes.get_title(loc="left") for axes in picture.draw().axes}
    assert {"dense", "STTP stiefel, rank 2"} <= titles
    assert "samples" not in {picture.file for picture in content(study).pictures}


def test_runs_without_size_or_spectra_are_reported_all_the_same():
    def make(run):
        found = made_up(run, start={}, end={})
        return type(found)(**{**vars(found), "facts": {"z": None, "degrees_of_freedom": None}})

    shown = content(study_of(), results_of(study_of(), make))
    for picture in shown.pictures:
        picture.draw()
    assert {picture.file for picture in shown.pictures} == {"loss", "orthogonality"}
    assert shown.frame()["z"].isna().all()


def test_printed_numbers_stand_beside_those_counted():
    study = study_of(("dense", "sttp stiefel"), ranks=[2])
    (table,) = content(study, published={"sttp stiefel, rank 2": "51.7"}).tables
    place = table.columns.index("paper’s Z %")
    assert [row[place] for row in table.rows] == ["–", "51.7"]
    assert "paper’s Z %" not in content(study).tables[0].columns


def test_all_words_of_a_study_are_explained():
    study = STUDIES["digits"]
    shown = content(study)
    terms = dict(term for section in shown.sections for term in section.terms)
    assert {"dense", "SVDP", "STTP", "stiefel", "grassmann", "householder", "householder-reduced"} <= terms.keys()
    assert "0.01, 0.03, 0.09" in terms["Learning rates"]
    assert "350 steps of 32 examples" in terms["Same data and budget"]
    assert isinstance(study, Study)
