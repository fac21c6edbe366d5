"""CIFAR in every layout that it is published in, and what is refused."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_archives import (
    TEST,
    TRAINING,
    cifar_files,
    drawn,
    pickled,
    png,
    records,
    small_cifar,
    with_checksum,
    write_archive,
    write_folder,
    write_parquet,
)

from sttp.study.data import DATA, load
from sttp.study.data.pickles import read_arrays


@pytest.fixture
def small(monkeypatch):
    def use(source):
        monkeypatch.setitem(DATA, source.name, source)

    for name in ("cifar10", "cifar100"):
        use(small_cifar(name))
    return use


def require_drawn(data):
    """Check that a data set has the images that the fake files were made of."""
    for part, (images, labels) in ((data.training, drawn(TRAINING, seed=1)), (data.test, drawn(TEST, seed=2))):
        assert torch.equal(part.images, torch.from_numpy(images))
        assert torch.equal(part.labels, torch.from_numpy(labels))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("place", ["folder", "folder above", "archive", "folder of archive"])
def test_published_layouts_give_their_images(tmp_path, small, name, form, place):
    layout, files = cifar_files(form, name)
    if "archive" in place:
        path = tmp_path / layout.archive.file
        # The order inside an archive does not matter.
        write_archive(path, layout.folder, dict(reversed(files.items())))
        small(with_checksum(DATA[name], path))
        directory = path if place == "archive" else tmp_path
    else:
        write_folder(tmp_path / layout.folder, files)
        directory = tmp_path / layout.folder if place == "folder" else tmp_path
    data = load(name, directory, cache=None)
    require_drawn(data)
    assert data.name == name
    assert len(data.classes) == (10 if name == "cifar10" else 100)
    assert data.image_shape == DATA[name].image_shape


@pytest.mark.parametrize("below", ["", "plain_text/"])
def test_parquet_files_give_their_images(tmp_path, small, below):
    images, labels = drawn(TRAINING, seed=1)
    write_parquet(
        tmp_path / f"{below}train-00000-of-00002.parquet", images[:7], labels[:7], classes=DATA["cifar10"].classes
    )
    write_parquet(tmp_path / f"{below}train-00001-of-00002.parquet", images[7:], labels[7:])
    write_parquet(tmp_path / f"{below}test.parquet", *drawn(TEST, seed=2), image_column="image")
    require_drawn(load("cifar10", tmp_path, cache=None))
    write_parquet(tmp_path / "hundred" / "train.parquet", *drawn(TRAINING, seed=1), column="fine_label")
    write_parquet(tmp_path / "hundred" / "test.parquet", *drawn(TEST, seed=2), column="fine_label")
    require_drawn(load("cifar100", tmp_path / "hundred", cache=None))


def test_the_fake_pickles_are_real_ones():
    images, labels = drawn(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they name numpy's modules of old
        fields = pickle.loads(pickled(images, labels), encoding="bytes")
    assert np.array_equal(fields[b"data"], images.reshape(2, -1))
    assert fields[b"labels"] == labels.tolist()


def test_classes_are_in_the_order_of_the_labels():
    # Labels as the data sets' page tells them, and the authors' order of the hundred, which is that of the alphabet.
    assert [DATA["cifar10"].classes[label] for label in (0, 3, 6, 9)] == ["airplane", "cat", "frog", "truck"]
    assert list(DATA["cifar100"].classes) == sorted(DATA["cifar100"].classes)
    assert len(set(DATA["cifar100"].classes)) == 100


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path, small, protocol):
    victim = tmp_path / "victim"
    _, files = cifar_files("python")
    files["data_batch_3"] = pickle.dumps({b"data": Malicious(victim), b"labels": []}, protocol=protocol)
    write_folder(tmp_path / "data", files)
    with pytest.raises(ValueError, match=r"data_batch_3 is refused: .*open, which no array needs"):
        load("cifar10", tmp_path / "data", cache=None)
    assert not victim.exists()
    pickle.loads(files["data_batch_3"])[b"data"].close()
    assert victim.exists()  # it would have


@pytest.mark.parametrize(
    "content",
    [
        np.array([print, 1]),  # an array of objects
        np.zeros(3, dtype=[("field", "i4")]),
        np.float64(1.0),
        {1, 2}.__class__,
        torch.zeros(2),
    ],
    ids=["objects", "records", "scalar", "class", "tensor"],
)
def test_a_pickle_of_anything_but_arrays_of_numbers_is_refused(content):
    with pytest.raises(ValueError, match=r"file.pkl is refused"):
        read_arrays(pickle.dumps({b"data": content}, protocol=2), "file.pkl")


@pytest.mark.parametrize("dtype", ["uint8", ">i4", "<f8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_numpy_pickled_them(dtype, order):
    array = np.asarray(np.random.default_rng(0).integers(0, 2, (3, 5)), dtype=dtype, order=order)
    fields = {"array": array, "words": [b"a", 1, 2.5, None, True], b"text": "text"}
    found = read_arrays(pickle.dumps(fields, protocol=2), "file.pkl")
    assert np.array_equal(found.pop("array"), array)
    assert found == {"words": [b"a", 1, 2.5, None, True], "text": "text"}


@pytest.mark.parametrize("form", ["python", "binary"])
def test_damaged_archives_are_refused_by_name(tmp_path, small, form):
    layout, files = cifar_files(form)
    path = tmp_path / layout.archive.file
    write_archive(path, layout.folder, files)
    with pytest.raises(ValueError, match=rf"{layout.archive.file} has the MD5 sum .*; fetch it again from https://"):
        load("cifar10", tmp_path, cache=None)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"no archive", whole[:50] + b"\0" * 9 + whole[59:]):
        path.write_bytes(content)
        small(with_checksum(small_cifar(), path))
        with pytest.raises(ValueError, match=rf"{layout.archive.file} (is damaged|lacks|holds)|is refused"):
            load("cifar10", path, cache=None)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_files_that_do_not_fit_are_refused_by_name(tmp_path, small, form):
    layout, files = cifar_files(form)
    second, last = layout.training[1], layout.test

    def refused(words, **changed):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_folder(folder, {name: content for name, content in (files | changed).items() if content is not None})
        with pytest.raises(ValueError, match=words):
            load("cifar10", folder, cache=None)

    refused(f"lacks {second}", **{second: None})
    refused(rf"{second}.* fetch it again|{second} is refused", **{second: files[second][:-1]})
    refused("has 9 training images, where cifar10 has 10", **{second: cifar_files(form, test=drawn(1))[1][last]})
    refused("has 11 training images, where cifar10 has 10", **{second: cifar_files(form, test=drawn(3))[1][last]})
    refused("has 3 test images, where cifar10 has 4", **{last: cifar_files(form, test=drawn(3))[1][last]})
    refused("labels from 7 to 10, where cifar10 has 10 classes", **{last: labelled(form, last, 7)})
    refused(f"{second} has .* too large", **{second: bytes(100_000)})
    if form == "python":
        narrow = drawn(2, shape=(3, 31, 32))
        refused(
            rf"{second} has pixels of uint8 in the shape \(2, 2976\)",
            **{second: cifar_files(form, test=narrow)[1][last]},
        )
        whole = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2**70]}
        refused("has labels that are no integers from 0 to 255", **{second: pickle.dumps(whole, protocol=2)})
        refused("must hold an array 'data' and a list 'labels', got words", **{second: pickle.dumps({"words": 1})})
        refused("holds no dictionary but list", **{second: pickle.dumps([1])})


def labelled(form, file, first):
    images, labels = drawn(TEST, seed=2)
    return cifar_files(form, test=(images, np.arange(first, first + len(labels))))[1][file]


def test_parquet_files_that_do_not_fit_are_refused_by_name(tmp_path, small):
    training, test = drawn(TRAINING, seed=1), drawn(TEST, seed=2)

    def refused(words, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_parquet(folder / "train.parquet", *training)
        images, labels = options.pop("test", test)
        write_parquet(folder / "test.parquet", images, labels, **options)
        with pytest.raises(ValueError, match=words):
            load("cifar10", folder, cache=None)

    refused("test.parquet has no column label but img, fine_label", column="fine_label")
    refused("test.parquet has the classes airplane, bird", classes=DATA["stl10"].classes)
    refused("test.parquet has labels from .* to 10, where there are 10 classes", test=(test[0], [0, 1, 2, 10]))
    refused("test.parquet has labels from -1 to 9, where there are 10 classes", test=(test[0], [0, 9, 2, -1]))
    refused(r"test.parquet has images of the shape \(3, 33, 32\)", test=drawn(TEST, shape=(3, 33, 32)))
    refused(r"test.parquet has images of the shape \(1, 32, 32\)", test=drawn(TEST, shape=(1, 32, 32)))
    contents = [png(image) for image in test[0]]
    refused("test.parquet, row 2 has no bytes", contents=[*contents[:2], None, contents[3]])
    refused("test.parquet, row 1 is no image", contents=[contents[0], contents[1][:-900], *contents[2:]])
    refused(
        r"test.parquet, row 3 has 8×32 pixels, where .*row 0 has 32×32",
        contents=[*contents[:3], png(test[0][0, :, :8])],
    )
    refused("test.parquet holds no image", test=(test[0][:0], []), contents=[])


def test_missing_parquet_files_are_told(tmp_path):
    write_parquet(tmp_path / "shards" / "test.parquet", *drawn(1))
    with pytest.raises(ValueError, match=r"has no file train\*.parquet"):
        load("cifar10", tmp_path / "shards", cache=None)
    for name in ("train-00000-of-00003", "train-00002-of-00003"):
        write_parquet(tmp_path / "shards" / f"{name}.parquet", *drawn(1))
    with pytest.raises(ValueError, match=r"has 2 of the 3 files that train-00000-of-00003.parquet is one of"):
        load("cifar10", tmp_path / "shards", cache=None)
    for folder in ("two/a", "two/b"):
        write_parquet(tmp_path / folder / "train.parquet", *drawn(1))
        write_parquet(tmp_path / folder / "test.parquet", *drawn(1))
    with pytest.raises(ValueError, match="in several folders"):
        load("cifar10", tmp_path / "two", cache=None)
    write_folder(tmp_path / "broken", {"train.parquet": b"PAR1 no more", "test.parquet": b""})
    with pytest.raises(ValueError, match=r"train.parquet is damaged or in another layout"):
        load("cifar10", tmp_path / "broken", cache=None)


def test_a_folder_without_data_is_told_what_to_hold(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no cifar10; it must hold cifar-10-binary.tar.gz or its folder .* or give --dow"
    ):
        load("cifar10", tmp_path, cache=None)


def test_all_processes_give_the_same_images(tmp_path, small):
    training, test = drawn(40, seed=1), drawn(TEST, seed=2)
    write_parquet(tmp_path / "train.parquet", *training)
    write_parquet(tmp_path / "test.parquet", *test)
    one, two = (load("cifar10", tmp_path, cache=None, workers=workers) for workers in (1, 2))
    assert torch.equal(one.training.images, two.training.images)
    assert torch.equal(one.training.images, torch.from_numpy(training[0]))


def test_a_tiny_member_named_twice_is_refused(tmp_path, small):
    layout, files = cifar_files("binary")
    path = tmp_path / layout.archive.file
    files["other/data_batch_2.bin"] = records(*drawn(2))
    write_archive(path, layout.folder, files)
    small(with_checksum(DATA["cifar10"], path))
    with pytest.raises(ValueError, match=r"holds 'data_batch_2.bin' twice"):
        load("cifar10", path, cache=None)


def test_sizes_can_be_changed(tmp_path, small):
    layout, files = cifar_files("binary")
    write_folder(tmp_path / layout.folder, files)
    data = load("cifar10", tmp_path, size=16, cache=None)
    assert data.image_shape == (3, 16, 16)
    assert replace(data, name="x").name == "x"
