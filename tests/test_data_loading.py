"""Names, the bundled digits, the cache, downloads, and checks of what is loaded."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch
from image_archives import TEST, TRAINING, cifar_files, drawn, published, small_cifar, unreachable, write_parquet

from sttp.study.cli.request import read_data
from sttp.study.data import DATA, Archive, DataSource, Found, ImageData, Images, fetch_missing, load, register_data
from sttp.study.data.digits import digits_splits
from sttp.study.surroundings import Surroundings
from sttp.study.tasks import images as task_images


def test_digits_are_those_of_the_task_in_shades_of_uint8():
    data = load("digits")
    assert data.image_shape == DATA["digits"].image_shape == (1, 8, 8)
    splits = digits_splits()
    training = [torch.cat(parts) for parts in zip(splits["training"], splits["validation"], strict=True)]
    for part, (images, labels) in ((data.training, training), (data.test, splits["test"])):
        assert torch.equal(part.labels, labels)
        assert (part.images.double() / 255 - images).abs().max() <= 0.5 / 255 + 1e-7
        assert torch.equal((part.images.double() / 255 * 16).round(), images.double() * 16)  # no shade is lost
    assert load("digits", size=16).image_shape == (1, 16, 16)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="data has no choice 'cifar'; did you mean 'cifar10'"):
        load("cifar")
    with pytest.raises(ValueError, match="directory must be left out with data 'digits'"):
        load("digits", tmp_path)
    with pytest.raises(ValueError, match=r"directory='.*nowhere' is not there; .*holds cifar10; or give --download"):
        load("cifar10", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"directory='.*nowhere' is not there; give a folder or file that .* folder$"):
        load("folder", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="directory must be given with data 'folder'"):
        load("folder", cache=tmp_path)
    for name in ("digits", "folder"):
        with pytest.raises(ValueError, match=f"download is for data .* archive, cifar10, .* got it with data '{name}'"):
            load(name, download=True)
        with pytest.raises(ValueError, match=f"download is for data .* got it with data '{name}'; leave it out"):
            fetch_missing(name)
    with pytest.raises(ValueError, match="directory must be given with data 'cifar10'"):
        load("cifar10", cache=None)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load("digits", size=0)
    with pytest.raises(TypeError, match="workers must be an integer"):
        load("digits", workers=1.5)


def test_shapes_are_checked():
    images, labels = (torch.from_numpy(array) for array in drawn(3))
    part = Images(images, labels)
    classes = tuple("0123456789")
    with pytest.raises(TypeError, match=r"images must be of torch.uint8, got torch.float32"):
        Images(images.float(), labels)
    with pytest.raises(TypeError, match=r"labels must be of torch.int64, got torch.int32"):
        Images(images, labels.int())
    with pytest.raises(
        ValueError, match=r"images must have the shape \(n, 1 or 3, H, W\) and n > 0, got \(3, 2, 32, 32\)"
    ):
        Images(images[:, :2], labels)
    with pytest.raises(ValueError, match=r"labels must have the shape \(3,\), got \(2,\)"):
        Images(images, labels[:2])
    with pytest.raises(ValueError, match=r"training images' shape \(3, 32, 32\), got \(3, 31, 32\)"):
        ImageData("some", classes, part, Images(images[:, :, 1:], labels))
    with pytest.raises(ValueError, match="test labels of 'some' must be from 0 to 9, got 10 to 12"):
        ImageData("some", classes, part, Images(images, torch.arange(10, 13)))
    with pytest.raises(ValueError, match="classes of 'some' must have at least one name"):
        ImageData("some", (), part, part)
    data = ImageData("some", classes, part, part).to("cpu")
    assert torch.equal(data.test.part(slice(1, 3)).images, images[1:])


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A folder of data, and how often it was decoded."""
    source = small_cifar()
    folder = tmp_path / "data"
    write_parquet(folder / "train.parquet", *drawn(TRAINING, seed=1))
    write_parquet(folder / "test.parquet", *drawn(TEST, seed=2))
    counted = []
    original = type(source)._read_parquet
    monkeypatch.setitem(DATA, "cifar10", source)
    monkeypatch.setattr(type(source), "_read_parquet", lambda *arguments: counted.append(1) or original(*arguments))
    return folder, counted


def equal(one, two):
    parts = ((one.training, two.training), (one.test, two.test))
    same = all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in parts)
    return same and (one.name, one.classes) == (two.name, two.classes)


def test_what_was_decoded_is_read_from_the_cache(tmp_path, parquet):
    folder, counted = parquet
    cache = tmp_path / "cache"
    first, second = (load("cifar10", folder, cache=cache) for _ in range(2))
    assert len(counted) == 1
    assert equal(first, second)
    assert equal(first, load("cifar10", folder, cache=None))
    assert len(counted) == 2
    load("cifar10", folder, cache=cache, size=16)  # other sizes are other entries
    assert len(counted) == 3
    assert equal(first, load("cifar10", folder, cache=str(cache)))
    assert len(counted) == 3
    write_parquet(folder / "test.parquet", *drawn(TEST, seed=3))
    changed = load("cifar10", folder, cache=cache)
    assert len(counted) == 4
    assert torch.equal(changed.test.images, torch.from_numpy(drawn(TEST, seed=3)[0]))
    # The same size at another time.
    status = (folder / "train.parquet").stat()
    os.utime(folder / "train.parquet", ns=(status.st_atime_ns, status.st_mtime_ns + 1_000))
    load("cifar10", folder, cache=cache)
    assert len(counted) == 5


@pytest.mark.parametrize("damage", ["truncated", "a bit", "empty", "other"])
def test_a_damaged_cache_is_made_anew(tmp_path, parquet, damage):
    folder, counted = parquet
    first = load("cifar10", folder, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").glob("*.safetensors")
    content = bytearray(entry.read_bytes())
    if damage == "a bit":
        content[-1000] ^= 1
    entry.write_bytes({"truncated": content[:-1], "a bit": content, "empty": b"", "other": b"\0" * 1000}[damage])
    again = load("cifar10", folder, cache=tmp_path / "cache")
    assert len(counted) == 2
    assert equal(first, again)
    load("cifar10", folder, cache=tmp_path / "cache")
    assert len(counted) == 2


def test_of_several_that_load_one_decodes_and_the_others_wait(tmp_path, parquet, monkeypatch):
    folder, counted = parquet
    kind, decoding, released = type(DATA["cifar10"]), threading.Event(), threading.Event()
    original = kind._read_parquet

    def slow(*arguments):
        decoding.set()
        assert released.wait(60)
        return original(*arguments)

    monkeypatch.setattr(kind, "_read_parquet", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load, "cifar10", folder, cache=tmp_path / "cache")
        assert decoding.wait(60)
        second = pool.submit(load, "cifar10", folder, cache=tmp_path / "cache")
        wait([second], timeout=0.3)  # long enough for it to begin to decode as well, if it did
        released.set()
        assert equal(first.result(), second.result())
    assert len(counted) == 1


def test_the_checksum_is_of_all_that_the_data_holds():
    training, test = (Images(*map(torch.from_numpy, drawn(6, seed=seed))) for seed in (1, 2))
    classes = tuple("0123456789")
    data = ImageData("some", classes, training, test)
    assert data.checksum == ImageData("other name", classes, training, test).to("cpu").checksum
    strided = Images(training.images.flip(0).flip(0), training.labels.repeat_interleave(2)[::2])
    assert data.checksum == ImageData("some", classes, strided, test).checksum
    pixel, label = training.images.clone(), training.labels.clone()
    pixel[-1, -1, -1, -1] += 1
    label[-1] = (label[-1] + 1) % 10
    others = [
        ImageData("some", (*classes[:9], "nine"), training, test),
        ImageData("some", (*classes, "10"), training, test),
        ImageData("some", classes, Images(pixel, training.labels), test),
        ImageData("some", classes, Images(training.images, label), test),
        ImageData("some", classes, training, Images(test.images, label)),
        ImageData("some", classes, training, Images(pixel, test.labels)),
        ImageData("some", classes, test, training),
        ImageData(
            "some", classes, *(Images(part.images.reshape(6, 3, 16, 64), part.labels) for part in (training, test))
        ),
    ]
    assert len({other.checksum for other in (data, *others)}) == len(others) + 1


def test_a_cache_that_cannot_be_written_is_told(tmp_path, parquet):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"cache=.* cannot be used .*; give another folder, or None for none"):
        load("cifar10", parquet[0], cache=tmp_path / "file")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A small archive at an address on this machine."""
    with published([small_cifar()], tmp_path, cifar_files(), monkeypatch) as path:
        yield path


def test_a_download_happens_only_when_asked_for_and_once(tmp_path, site):
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match=r"or give --download, .*, to have http://127.*cifar-10-binary.tar.gz"):
        load("cifar10", cache=cache)
    first = load("cifar10", cache=cache, download=True)
    assert torch.equal(first.training.images, torch.from_numpy(drawn(TRAINING, seed=1)[0]))
    assert (cache / "archives" / site.name).read_bytes() == site.read_bytes()
    site.unlink()
    assert equal(first, load("cifar10", cache=cache, download=True))
    assert equal(first, load("cifar10", cache=cache))


def test_a_download_goes_where_it_is_asked_to(tmp_path, site):
    load("cifar10", tmp_path / "new" / "folder", download=True, cache=None)
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == [site.name]


def test_what_is_missing_is_fetched_and_not_read(tmp_path, site, parquet):
    folder, counted = parquet
    fetch_missing("cifar10", folder, cache=None)
    assert sorted(file.name for file in folder.iterdir()) == ["test.parquet", "train.parquet"]
    fetch_missing("cifar10", tmp_path / "new", cache=None)
    fetch_missing("cifar10", cache=tmp_path / "cache")
    for place in (tmp_path / "new", tmp_path / "cache" / "archives"):
        assert [file.name for file in place.iterdir()] == [site.name]
    site.unlink()
    fetch_missing("cifar10", tmp_path / "new", cache=None)
    assert not counted
    (tmp_path / "file").write_text("no archive")
    with pytest.raises(ValueError, match=r"directory=.*file' is a file that holds no cifar10; give a folder to downl"):
        fetch_missing("cifar10", tmp_path / "file")
    with pytest.raises(ValueError, match="directory must be given with data 'cifar10'"):
        fetch_missing("cifar10", cache=None)


def test_a_download_with_another_sum_leaves_nothing(tmp_path, site):
    site.write_bytes(site.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"http://127.* is not the published cifar-10-binary.tar.gz"):
        load("cifar10", tmp_path / "target", download=True, cache=None)
    assert not list((tmp_path / "target").iterdir())


def test_a_download_that_fails_says_what_to_do(tmp_path, site, monkeypatch):
    monkeypatch.setitem(DATA, "cifar10", unreachable(DATA["cifar10"]))
    with pytest.raises(OSError, match=r"cannot be fetched .*; try again, or fetch it by other means and put it into"):
        load("cifar10", tmp_path / "target", download=True, cache=None)
    assert not list((tmp_path / "target").iterdir())


def test_every_source_says_what_it_is():
    for source in DATA.values():
        assert source.description
        assert (source.classes is None) == (source.image_shape is None)
        assert source.bundled or source.archive or source.classes is None
        if source.archive:
            assert isinstance(source.archive, Archive)
            assert source.archive.url.endswith("/" + source.archive.file)
            assert len(bytes.fromhex(source.archive.md5)) == 16


class Stripes(DataSource):
    """A user's own data set: images of stripes, whose number a text file gives."""

    description = "stripes"
    classes = ("across", "down")
    image_shape = (1, 6, 6)

    def find(self, path, size, workers):
        file = path / "number.txt"
        return Found((file,), lambda: self.drawn(int(file.read_text())))

    def drawn(self, number):
        across = torch.zeros(1, 6, 6, dtype=torch.uint8)
        across[:, ::2] = 255
        images = torch.stack([across, across.mT] * number)
        return ImageData("stripes", self.classes, *[Images(images, torch.arange(2 * number) % 2)] * 2)


def test_a_data_set_from_outside_is_known_wherever_a_name_is_taken(tmp_path):
    register_data("stripes", Stripes())
    try:
        (tmp_path / "number.txt").write_text("3")
        for _ in range(2):  # the second time from the cache
            data = load("stripes", tmp_path, cache=tmp_path / "cache", size=12)
            assert data.image_shape == (1, 12, 12)
            assert data.training.labels.tolist() == [0, 1] * 3
        assert len(list((tmp_path / "cache").glob("stripes-*.safetensors"))) == 1
        assert read_data(f"stripes:{tmp_path}") == ("stripes", str(tmp_path))
        shape = task_images.shape_of("stripes", None, Surroundings(data="nowhere"))
        assert (shape.channels, shape.size, shape.classes) == (1, 6, 2)
        with pytest.raises(ValueError, match=r"'stripes' .* is taken"):
            register_data("stripes", Stripes())
    finally:
        del DATA["stripes"]
    with pytest.raises(ValueError, match=r"name .* got 'a:b'"):
        register_data("a:b", Stripes())
    with pytest.raises(TypeError, match="source must be a DataSource"):
        register_data("mine", Stripes)
