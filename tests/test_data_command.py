"""The data of a study on the command line: what is fetched, what is refused before anything is made, and STL-10."""

from dataclasses import replace

import pytest
import torch
from image_archives import (
    TRAINING,
    cifar_files,
    drawn,
    png,
    published,
    small_cifar,
    small_stl10,
    stl10_files,
    unreachable,
    write_folder,
)

from sttp.study.cli import run
from sttp.study.cli.request import changed, requested_study
from sttp.study.data import DATA, fetch_missing, load
from sttp.study.surroundings import Surroundings
from sttp.study.tasks import gan, images
from sttp.study.tasks.images import data_fingerprint, open_images

# A study of a run that takes no time.
SHORT = ["--executor", "sequential", "--set", "methods=['dense']", "--set", "steps=1", "--set", "evaluations=1"]
CLASSIFICATION = ["study", "paper-fig7", *SHORT, "--set", "network=wrn-10-1", "--set", "width=2", "--set", "images=10"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test alone, and a working directory."""
    folder = tmp_path / "cache"
    for function in (load, fetch_missing):
        monkeypatch.setitem(function.__kwdefaults__, "cache", folder)
    monkeypatch.chdir(tmp_path)
    images._open.cache_clear()
    yield folder
    images._open.cache_clear()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An archive at an address on this machine, of five classes with two training images each."""
    files = cifar_files(training=(drawn(TRAINING, seed=1)[0], list(range(5)) * 2))
    with published([small_cifar()], tmp_path, files, monkeypatch) as path:
        yield path


def refused(capsys, *arguments, code=2):
    """Return the line that a command is refused with."""
    assert run([*CLASSIFICATION, "--output", "out", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def made(*arguments):
    return run([*CLASSIFICATION, "--set", "batch_size=2", "--output", "out", *arguments])


@pytest.mark.parametrize("data", ["cifar10", "data/cifar10"])
@pytest.mark.usefixtures("blank_pictures")
def test_data_is_fetched_where_it_is_asked_for_and_before_anything_is_made(tmp_path, capsys, site, cache, data):
    place = cache / "archives" if data == "cifar10" else tmp_path / data
    line = refused(capsys, "--data", data)
    assert "--download" in line
    assert DATA["cifar10"].archive.url in line
    assert not (tmp_path / "out").exists()
    assert not place.exists()
    assert made("--data", data, "--download") == 0
    assert [file.name for file in place.iterdir()] == [site.name]
    site.unlink()
    assert made("--data", data, "--download") == 0  # it is there now


def test_a_dry_run_fetches_and_reads_nothing(tmp_path, site):
    before = sorted(tmp_path.rglob("*"))
    assert made("--data", "cifar10:new", "--download", "--dry-run") == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_data_is_refused_before_anything_is_made(tmp_path, capsys, site, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / site.name).write_bytes(site.read_bytes()[:-1])
    for options in ([], ["--download"]):
        line = refused(capsys, "--data", "cifar10:data", *options)
        assert "has the MD5 sum" in line
        assert f"fetch it again from {DATA['cifar10'].archive.url}" in line
    site.write_bytes(b"another archive")
    assert "is not the published" in refused(capsys, "--data", "cifar10:new", "--download")
    monkeypatch.setitem(DATA, "cifar10", unreachable(DATA["cifar10"]))
    line = refused(capsys, "--data", "cifar10:new", "--download", code=1)
    assert "cannot be fetched" in line
    assert not (tmp_path / "out").exists()


def test_downloads_of_what_is_not_published_are_refused_by_name(tmp_path, capsys):
    (tmp_path / "flowers").mkdir()
    assert "got it with data 'digits'; leave it out" in refused(capsys, "--download")
    assert "got it with data 'digits'" in refused(capsys, "--download", "--dry-run")
    (tmp_path / "flowers" / "a").mkdir()
    (tmp_path / "flowers" / "b").mkdir()
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "b/3"):
        (tmp_path / "flowers" / f"{name}.png").write_bytes(png(drawn(1, shape=(3, 8, 8))[0][0]))
    assert "got it with data 'folder'" in refused(capsys, "--data", "flowers", "--download")
    assert run(["study", "optimizers", "--download", "--output", "out"]) == 2
    assert "--download is for studies on data, got it with 'optimizers'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_suffice_is_refused_before_anything_is_made(tmp_path, capsys, site):
    def line(*arguments):
        found = refused(capsys, *arguments)
        assert not (tmp_path / "out").exists()
        return found

    fetch_missing("cifar10", "data")
    assert "images must be at most 10" in line("--data", "cifar10:data", "--set", "images=11")
    assert "directory must be left out with data 'digits'" in line("--data", "digits:data")
    assert "images must be at most 1378" in line("--set", "images=1379")
    names = ("cat/1", "cat/2", "cat/3", "dog/1", "dog/2")
    for size, folder in (((8, 8), "few"), ((8, 9), "wide")):
        for name in names:
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(drawn(1, shape=(3, *size))[0][0]))
    assert "data 'few' must have two training images of each class" in line("--data", "few")
    assert "got one of 'dog'; add another" in line("--data", "few")
    assert "data 'wide' must have square images for networks, got 8×9, height times width" in line("--data", "wide")
    assert "such as --size 8" in line("--data", "wide")
    (tmp_path / "few" / "dog" / "2.png").write_bytes(b"no image")
    assert "few: dog/2.png is no image that can be read" in line("--data", "few")


def test_the_fingerprint_is_of_the_whole_data(tmp_path, site):
    here = Surroundings(data="data", download=True)
    fingerprint = data_fingerprint("cifar10", None, here)
    assert fingerprint == data_fingerprint("cifar10", None, replace(here, download=False), 10)
    assert fingerprint == load("cifar10", "data").checksum
    assert fingerprint != data_fingerprint("cifar10", 16, here)
    assert data_fingerprint("digits", None, Surroundings()) is None
    assert data_fingerprint("digits", None, Surroundings(), 100) is None
    with pytest.raises(ValueError, match="directory must be left out with data 'digits'"):
        data_fingerprint("digits", None, Surroundings(data="data"))


UNLABELLED = "stl10-unlabelled"


@pytest.fixture
def stl10(tmp_path, monkeypatch):
    """The files of a published archive of STL-10 with 20 training images, two of each class."""
    files, _ = stl10_files(20, 12, labels=list(range(10)) * 2)
    with published(small_stl10(20, 12), tmp_path, files, monkeypatch):
        yield files


@pytest.mark.usefixtures("blank_pictures")
def test_gans_are_trained_on_images_without_classes(tmp_path, capsys, stl10):
    arguments = ["study", "paper-table1", *SHORT, "--data", f"{UNLABELLED}:data", "--size", "8", "--set", "samples=40"]
    arguments += ["--set", "batch_size=4", "--output", "out"]
    assert run(arguments) == 2
    assert "--download" in capsys.readouterr().err
    assert run([*arguments, "--download"]) == 0
    assert "classifier score" in capsys.readouterr().out
    line = refused(capsys, "--data", f"{UNLABELLED}:data", "--set", "batch_size=2")
    assert f"data '{UNLABELLED}' has one class" in line
    assert run([*arguments, "--set", "conditional=true", "--output", "other"]) == 2
    assert "has one class" in capsys.readouterr().err
    assert run([*arguments, "--set", "conditional=true", "--dry-run"]) == 2
    assert "has one class" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_images_without_classes_are_scored_by_the_classifier_of_those_with_classes(tmp_path, stl10, monkeypatch):
    write_folder(tmp_path / "data", stl10)
    splits = {}
    for name in (UNLABELLED, "stl10"):
        study = changed(requested_study("paper-table1", size=8, changes=["batch_size=4"]), {"data": name})
        splits[name] = open_images(study.cases[0], Surroundings(data="data"))
    own, labelled = splits[UNLABELLED], splits["stl10"]
    assert own.shape.classes == 1
    assert own.labelled.classes == labelled.labelled.classes == 10
    assert torch.equal(own.labelled.images.images, labelled.training.images)
    assert torch.equal(own.labelled.images.labels, labelled.training.labels)
    assert torch.equal(own.test.images, labelled.test.images)
    assert labelled.labelled.images is labelled.training
    asked = []
    monkeypatch.setattr(gan, "feature_classifier", lambda *arguments, **_: asked.append(arguments))
    gan._classifier(own, None, "cpu")
    assert asked == [(own.labelled.images, 10)]
    whole = load(UNLABELLED, "data", size=8).training.images
    assert len(own.training) + len(own.validation) == len(whole) == 20
    both = torch.cat([own.training.images, own.validation.images])
    assert sorted(both.flatten(1).tolist()) == sorted(whole.flatten(1).tolist())
    # The checksum is of both: either may be what a folder of results does not belong to.
    before = data_fingerprint(UNLABELLED, 8, Surroundings(data="data"))
    for part in ("train_y.bin", "unlabeled_X.bin"):
        other = tmp_path / part
        write_folder(other, stl10 | {part: stl10[part][1:] + stl10[part][:1]})
        assert data_fingerprint(UNLABELLED, 8, Surroundings(data=str(other))) != before


def test_images_without_classes_need_those_with_classes(tmp_path, stl10):
    folder = tmp_path / "data" / "stl10_binary"
    write_folder(folder, {name: content for name, content in stl10.items() if not name.startswith("train")})
    with pytest.raises(ValueError, match=r"data 'stl10-unlabelled' needs that of 'stl10', whose classes .* holds no s"):
        data_fingerprint(UNLABELLED, 8, Surroundings(data="data"))
    assert data_fingerprint(UNLABELLED, 8, Surroundings(data="data", download=True)) is not None
    assert sorted(file.name for file in (tmp_path / "data").iterdir()) == ["stl10_binary", "stl10_binary.tar.gz"]
