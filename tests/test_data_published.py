"""CIFAR and STL-10 in every layout that they are read in, and what is refused."""

from itertools import count

import numpy as np
import pytest
import torch
from image_archives import (
    TEST,
    TRAINING,
    cifar_files,
    drawn,
    png,
    small_cifar,
    small_stl10,
    stl10_files,
    with_checksum,
    write_archive,
    write_folder,
    write_parquet,
)
from PIL import Image

from sttp.study.data import DATA, load
from sttp.study.data import published as module

STL10_TRAINING, STL10_TEST = 6, 3


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small forms of all data sets."""
    for source in (small_cifar(), small_cifar("cifar100"), *small_stl10(STL10_TRAINING, STL10_TEST)):
        monkeypatch.setitem(DATA, source.name, source)


@pytest.fixture
def refused(tmp_path):
    """Check that a data set of some files is refused with some words."""
    number = count()

    def check(words, name, files, changed):
        folder = tmp_path / str(next(number))
        write_folder(folder, {file: content for file, content in (files | changed).items() if content is not None})
        with pytest.raises(ValueError, match=words):
            load(name, folder, cache=None)

    return check


def require_drawn(data):
    """Check that a data set has the images that the fake files were made of."""
    for part, (images, labels) in ((data.training, drawn(TRAINING, seed=1)), (data.test, drawn(TEST, seed=2))):
        assert torch.equal(part.images, torch.from_numpy(images))
        assert torch.equal(part.labels, torch.from_numpy(labels))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("place", ["folder", "folder above", "archive", "folder of archive"])
def test_the_published_files_give_their_images(tmp_path, monkeypatch, name, place):
    source, files = DATA[name], cifar_files(name)
    path = tmp_path / (source.archive.file if place == "archive" else "")
    if "archive" in place:
        # The order inside an archive does not matter.
        write_archive(tmp_path / source.archive.file, source.archive.folder, dict(reversed(files.items())))
        monkeypatch.setitem(DATA, name, with_checksum(source, tmp_path / source.archive.file))
    else:
        write_folder(tmp_path / source.archive.folder, files)
        path = tmp_path / source.archive.folder if place == "folder" else tmp_path
    data = load(name, path, cache=None)
    require_drawn(data)
    assert data.name == name
    assert data.classes == source.classes
    assert data.image_shape == source.image_shape
    assert load(name, path, size=16, cache=None).image_shape == (3, 16, 16)


def test_classes_are_in_the_order_of_the_labels():
    # Labels as the data sets' page tells them, and the authors' order of the hundred, which is that of the alphabet.
    assert [DATA["cifar10"].classes[label] for label in (0, 3, 6, 9)] == ["airplane", "cat", "frog", "truck"]
    assert list(DATA["cifar100"].classes) == sorted(DATA["cifar100"].classes)
    assert len(set(DATA["cifar100"].classes)) == 100


def test_files_that_do_not_fit_are_refused_by_name(refused):
    files = cifar_files()

    def check(words, **changed):
        refused(words, "cifar10", files, {f"{name}.bin": content for name, content in changed.items()})

    second, test = files["data_batch_2.bin"], files["test_batch.bin"]
    check("lacks data_batch_2.bin", data_batch_2=None)
    check("data_batch_2.bin has 6145 bytes, where 6146 must be", data_batch_2=second[:-1])
    check("data_batch_2.bin has 6147 bytes", data_batch_2=second + b"0")
    check("test_batch.bin has labels from 10 to 10, where 0 to 9 must be", test_batch=(b"\n" + test[1:3073]) * TEST)
    files, _ = stl10_files(STL10_TRAINING, STL10_TEST)
    for words, changed in (
        ("train_X.bin has 165887 bytes, where 165888 must be", {"train_X.bin": files["train_X.bin"][:-1]}),
        ("test_y.bin has 4 bytes, where 3 must be", {"test_y.bin": bytes(4)}),
        ("test_y.bin has labels from 0 to 10, where 1 to 10 must be", {"test_y.bin": bytes([10, 0, 1])}),
        ("lacks train_y.bin", {"train_y.bin": None}),
        ("holds no stl10; it must hold stl10_binary.tar.gz", {"train_X.bin": None}),
    ):
        refused(words, "stl10", files, changed)


def test_another_archive_than_the_published_one_is_refused(tmp_path):
    source = DATA["cifar10"]
    write_archive(tmp_path / source.archive.file, source.archive.folder, cifar_files())
    with pytest.raises(ValueError, match=r"binary.tar.gz has the MD5 sum .*; fetch it again from https://"):
        load("cifar10", tmp_path, cache=None)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["files", "folder", "archive", "folder of archive"])
def test_pickles_are_refused_by_name_and_with_the_cure(tmp_path, name, form):
    archive = DATA[name].archive.outdated
    files = {"test_batch" if name == "cifar10" else "test": b"cos\nsystem\n(S'touch here'\ntR."}
    if "archive" in form:
        (tmp_path / archive).write_bytes(b"of pickles")
        path = tmp_path / archive if form == "archive" else tmp_path
    else:
        write_folder(tmp_path / f"cifar-{name[5:]}-batches-py", files)
        path = tmp_path / f"cifar-{name[5:]}-batches-py" if form == "files" else tmp_path
    with pytest.raises(
        ValueError, match=rf"pickles, which are programs .* {DATA[name].archive.file} or its folder .* --download"
    ):
        load(name, path, cache=None)


def test_a_folder_without_data_is_told_what_to_hold(tmp_path):
    with pytest.raises(ValueError, match=r"holds no cifar10; it must hold cifar-10-binary.tar.gz .* or give --downl"):
        load("cifar10", tmp_path, cache=None)


@pytest.mark.parametrize("below", ["", "plain_text/"])
def test_parquet_files_give_their_images(tmp_path, below):
    images, labels = drawn(TRAINING, seed=1)
    first, second = (tmp_path / f"{below}train-0000{number}-of-00002.parquet" for number in (0, 1))
    write_parquet(first, images[:7], labels[:7], classes=DATA["cifar10"].classes)
    write_parquet(second, images[7:], labels[7:])
    write_parquet(tmp_path / f"{below}test.parquet", *drawn(TEST, seed=2), image_column="image")
    for workers in (None, 1, 3):
        require_drawn(load("cifar10", tmp_path, cache=None, workers=workers))
    write_parquet(tmp_path / "hundred" / "train.parquet", *drawn(TRAINING, seed=1), column="fine_label")
    write_parquet(tmp_path / "hundred" / "test.parquet", *drawn(TEST, seed=2), column="fine_label")
    require_drawn(load("cifar100", tmp_path / "hundred", cache=None))


def test_parquet_files_that_do_not_fit_are_refused_by_name(tmp_path):
    training, test = drawn(TRAINING, seed=1), drawn(TEST, seed=2)

    def refused(words, **options):
        write_parquet(tmp_path / "train.parquet", *training)
        images, labels = options.pop("test", test)
        write_parquet(tmp_path / "test.parquet", images, labels, **options)
        with pytest.raises(ValueError, match=words) as caught:
            load("cifar10", tmp_path, cache=None)
        assert str(caught.value).isprintable()

    refused("test.parquet has no column label but img, fine_label", column="fine_label")
    refused(r"test.parquet has no column label but img, \\x1b\[2J", column="\x1b[2J")
    refused("test.parquet has the classes airplane, bird", classes=DATA["stl10"].classes)
    refused("test.parquet has labels from .* to 10, where there are 10 classes", test=(test[0], [0, 1, 2, 10]))
    refused("test.parquet has labels from -1 to 9, where there are 10 classes", test=(test[0], [0, 9, 2, -1]))
    refused(r"test.parquet has images of the shape \(3, 33, 32\)", test=drawn(TEST, shape=(3, 33, 32)))
    refused(r"test.parquet has images of the shape \(1, 32, 32\)", test=drawn(TEST, shape=(1, 32, 32)))
    contents = [png(image) for image in test[0]]
    refused("test.parquet, row 2 has no bytes", contents=[*contents[:2], None, contents[3]])
    refused("test.parquet, row 1 is no image", contents=[contents[0], contents[1][:-900], *contents[2:]])
    narrow = [*contents[:3], png(test[0][0, :, :8])]
    refused(r"test.parquet, row 3 has 8×32 pixels, where .*row 0 has 32×32", contents=narrow)
    refused("test.parquet holds no image", test=(test[0][:0], []), contents=[])


def test_missing_parquet_files_are_told(tmp_path):
    def refused(words, folder):
        with pytest.raises(ValueError, match=words):
            load("cifar10", tmp_path / folder, cache=None)

    write_parquet(tmp_path / "shards" / "test.parquet", *drawn(1))
    refused(r"has train\*.parquet nowhere; add it", "shards")
    for name in ("train-00000-of-00003", "train-00002-of-00003"):
        write_parquet(tmp_path / "shards" / f"{name}.parquet", *drawn(1))
    refused(r"has 2 of the 3 files that train-00000-of-00003.parquet is one of", "shards")
    for folder in ("two/a", "two/b"):
        write_parquet(tmp_path / folder / "train.parquet", *drawn(1))
        write_parquet(tmp_path / folder / "test.parquet", *drawn(1))
    refused("in several folders", "two")
    write_folder(tmp_path / "broken", {"train.parquet": b"PAR1 no more", "test.parquet": b""})
    refused(r"train.parquet is damaged or in another layout", "broken")


def test_stl10_gives_its_images(tmp_path, monkeypatch):
    files, images = stl10_files(STL10_TRAINING, STL10_TEST)
    write_folder(tmp_path / "stl10_binary", files)
    monkeypatch.setattr(module, "PIECE", 4)  # of six images
    data = load("stl10", tmp_path, size=96, cache=None)
    for part, name in ((data.training, "train"), (data.test, "test")):
        assert torch.equal(part.images, torch.from_numpy(images[name]))
        assert torch.equal(part.labels, torch.from_numpy(images[f"{name} labels"]))
    archive = tmp_path / "stl10_binary.tar.gz"
    write_archive(archive, "stl10_binary", files)
    monkeypatch.setitem(DATA, "stl10", with_checksum(DATA["stl10"], archive))
    again = load("stl10", archive, cache=None)
    assert again.image_shape == DATA["stl10"].image_shape == (3, 48, 48)
    for image, original in zip(again.training.images, images["train"], strict=True):
        pillow = Image.fromarray(original.transpose(1, 2, 0)).resize((48, 48), Image.Resampling.BILINEAR)
        assert (image.permute(1, 2, 0).int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1
    unlabelled = load("stl10-unlabelled", tmp_path / "stl10_binary", size=96, cache=None)
    assert torch.equal(unlabelled.training.images, torch.from_numpy(images["unlabeled"]))
    assert torch.equal(unlabelled.test.images, torch.from_numpy(images["test"]))
    assert unlabelled.classes == ("unlabelled",)
    assert not unlabelled.training.labels.any()
