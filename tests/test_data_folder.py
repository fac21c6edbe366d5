"""STL-10, and images of one's own by class."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_archives import drawn, png, small_stl10, stl10_files, write_archive, write_folder
from PIL import Image

from sttp.study.data import DATA, load
from sttp.study.data import stl10 as stl10_module
from sttp.study.data.decoding import Encoded, decode
from sttp.study.data.image_folder import stratified_split
from sttp.study.data.members import Member
from sttp.study.data.resizing import resize

TRAINING, TEST = 6, 3


@pytest.fixture
def stl10(monkeypatch):
    """Files of small forms of both data sets, and their images as rows of pixels."""
    for source in small_stl10(TRAINING, TEST):
        monkeypatch.setitem(DATA, source.name, source)
    return stl10_files(TRAINING, TEST)


def test_stl10_gives_its_images(tmp_path, stl10, monkeypatch):
    files, images = stl10
    write_folder(tmp_path / "stl10_binary", files)
    monkeypatch.setattr(stl10_module, "PIECE", 4)  # of six images
    data = load("stl10", tmp_path, size=96, cache=None)
    for part, name in ((data.training, "train"), (data.test, "test")):
        assert torch.equal(part.images, torch.from_numpy(images[name]))
        assert torch.equal(part.labels, torch.from_numpy(images[f"{name} labels"]))
    write_archive(tmp_path / "stl10_binary.tar.gz", "stl10_binary", files)
    with pytest.raises(ValueError, match=r"stl10_binary.tar.gz has the MD5 sum"):
        load("stl10", tmp_path / "stl10_binary.tar.gz", cache=None)
    monkeypatch.setitem(DATA, "stl10", replace(DATA["stl10"], archives=()))
    again = load("stl10", tmp_path / "stl10_binary.tar.gz", cache=None)
    assert again.image_shape == DATA["stl10"].image_shape == (3, 48, 48)
    for image, original in zip(again.training.images, images["train"], strict=True):
        pillow = Image.fromarray(original.transpose(1, 2, 0)).resize((48, 48), Image.Resampling.BILINEAR)
        assert (image.permute(1, 2, 0).int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1
    unlabelled = load("stl10-unlabelled", tmp_path / "stl10_binary", size=96, cache=None)
    assert torch.equal(unlabelled.training.images, torch.from_numpy(images["unlabeled"]))
    assert torch.equal(unlabelled.test.images, torch.from_numpy(images["test"]))
    assert unlabelled.classes == ("unlabelled",)


def test_stl10_files_that_do_not_fit_are_refused_by_name(tmp_path, stl10):
    files, _ = stl10

    def refused(words, **changed):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        renamed = {name.replace("__", "."): content for name, content in changed.items()}
        write_folder(folder, {name: content for name, content in (files | renamed).items() if content is not None})
        with pytest.raises(ValueError, match=words):
            load("stl10", folder, cache=None)

    refused(
        "train_X.bin has 165887 bytes, where 165888 must be; fetch it again", train_X__bin=files["train_X.bin"][:-1]
    )
    refused("test_y.bin has 4 bytes, where 3 must be", test_y__bin=bytes(4))
    refused("test_y.bin has labels from 0 to 10, where 1 to 10 must be", test_y__bin=bytes([10, 0, 1]))
    refused("lacks train_y.bin", train_y__bin=None)
    refused("holds no stl10; it must hold stl10_binary.tar.gz", train_X__bin=None)


def test_a_file_that_ends_early_is_refused_by_name(tmp_path, stl10, monkeypatch):
    files, _ = stl10
    (tmp_path / "train_X.bin").write_bytes(files["train_X.bin"])
    short = Member("train_X.bin", len(files["train_X.bin"]), io.BytesIO(files["train_X.bin"][:-1]))
    monkeypatch.setattr(stl10_module, "members", lambda path, names: iter([short]))
    with pytest.raises(ValueError, match=r"is damaged \(EOFError: train_X.bin ends early\); fetch it again"):
        load("stl10", tmp_path, cache=None)


def write_images(root, names, seed=0, size=(3, 8, 8)):
    """Write random images and return their pixels by name."""
    pixels = dict(zip(names, drawn(len(names), seed=seed, shape=size)[0], strict=True))
    for name, image in pixels.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(image))
    return pixels


def zipped(root, path, above=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.rglob("*"):
            archive.write(file, above + file.relative_to(root).as_posix())
        archive.writestr("__MACOSX/cat/._1.png", b"no image")
    return path


@pytest.mark.parametrize("place", ["folder", "zip", "zip with a folder above"])
@pytest.mark.parametrize("test", ["test", "val", "Test"])
def test_images_by_class_with_a_test_folder(tmp_path, place, test):
    root = tmp_path / "images"
    names = ["train/cat/b.png", "train/cat/a.PNG", "train/dog/1.png", f"{test}/dog/1.png", f"{test}/cat/deep/2.png"]
    pixels = write_images(root, names)
    (root / "train" / "notes.txt").write_text("no image")
    (root / "train" / ".hidden.png").write_text("no image")
    path = root if place == "folder" else zipped(root, tmp_path / "a.zip", "" if place == "zip" else "some/where/")
    data = load("folder", path, cache=None)
    assert data.classes == ("cat", "dog")
    assert data.training.labels.tolist() == [0, 0, 1]
    assert data.test.labels.tolist() == [0, 1]
    expected = [pixels[name] for name in ("train/cat/a.PNG", "train/cat/b.png", "train/dog/1.png")]
    assert torch.equal(data.training.images, torch.from_numpy(np.stack(expected)))
    expected = [pixels[f"{test}/cat/deep/2.png"], pixels[f"{test}/dog/1.png"]]
    assert torch.equal(data.test.images, torch.from_numpy(np.stack(expected)))


def test_a_validation_folder_beside_a_test_folder_joins_the_training(tmp_path):
    write_images(tmp_path, ["train/cat/1.png", "val/cat/1.png", "test/cat/1.png"])
    data = load("folder", tmp_path, cache=None)
    assert (len(data.training), len(data.test)) == (2, 1)


def test_a_validation_folder_is_the_test_split_where_there_is_none(tmp_path):
    training = write_images(tmp_path, [f"train/cat/{number}.png" for number in range(3)])
    validation = write_images(tmp_path, [f"valid/cat/{number}.png" for number in range(4)], seed=1)
    data = load("folder", tmp_path, cache=None)
    for part, pixels in ((data.training, training), (data.test, validation)):
        assert torch.equal(part.images, torch.from_numpy(np.stack(list(pixels.values()))))


@pytest.mark.parametrize("above", ["", "train/"])
def test_without_a_test_folder_a_fifth_of_every_class_is_taken(tmp_path, above):
    counts = {"cat": 10, "dog": 5, "eel": 2, "fox": 1}
    pixels = write_images(tmp_path, [f"{above}{name}/{k}.png" for name, count in counts.items() for k in range(count)])
    data = load("folder", tmp_path, cache=None)
    assert data.classes == tuple(counts)
    assert data.test.labels.tolist() == [0, 0, 1, 2]
    assert data.training.labels.bincount().tolist() == [8, 4, 1, 1]
    everything = torch.cat([data.training.images, data.test.images])
    assert {image.numpy().tobytes() for image in everything} == {image.tobytes() for image in pixels.values()}
    again = load("folder", tmp_path, cache=None)
    assert torch.equal(again.test.images, data.test.images)
    # Another seed, another split, of the same shares.
    labels = data.training.labels.numpy()
    assert not np.array_equal(stratified_split(labels, 0.5, 0), stratified_split(labels, 0.5, 1))


@pytest.mark.parametrize("place", ["folder", "zip"])
def test_a_class_without_images_is_refused_by_name(tmp_path, place):
    def refused(words, names, *folders):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        write_images(root, names)
        for folder in folders:
            (root / folder).mkdir(parents=True)
        path = root if place == "folder" else zipped(root, root.with_suffix(".zip"))
        if words is None:
            return load("folder", path, cache=None)
        with pytest.raises(ValueError, match=words):
            load("folder", path, cache=None)
        return None

    flat, split = ["cat/1.png", "cat/2.png", "dog/1.png"], ["train/cat/1.png", "test/cat/2.png"]
    refused("holds no images of the class eel, fox; add some that end in .bmp", flat, "eel", "fox/deep")
    refused("holds no images of the class train/eel; add some", split, "train/eel")
    refused("holds no images of the class some/where/eel", [f"some/where/{name}" for name in flat], "some/where/eel")
    kept = refused(None, flat, ".hidden", "cat/deep", "__MACOSX/eel")
    assert kept.classes == ("cat", "dog")
    assert refused(None, [*split, "train/dog/1.png"], "test/dog", "notes").classes == ("cat", "dog")


def test_training_and_test_images_are_in_colour_if_one_is(tmp_path):
    grey = write_images(tmp_path, ["train/cat/1.png", "train/dog/2.png"], size=(1, 8, 8))
    coloured = write_images(tmp_path, ["test/cat/1.png"])
    data = load("folder", tmp_path, cache=None)
    assert data.image_shape == (3, 8, 8)
    expected = torch.from_numpy(np.stack(list(grey.values()))).expand(2, 3, 8, 8)
    assert torch.equal(data.training.images, expected)
    assert torch.equal(data.test.images[0], torch.from_numpy(coloured["test/cat/1.png"]))


def test_folders_that_do_not_fit_are_refused_by_name(tmp_path):
    def refused(words, *names, **options):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        write_images(root, names, **options)
        with pytest.raises(ValueError, match=words):
            load("folder", root, cache=None)

    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images; it must be a folder or a zip archive"):
        load("folder", tmp_path / "empty", cache=None)
    refused("1.png lies in no folder of a class", "1.png", "cat/2.png")
    refused("1.png lies in no folder of a class", "train/1.png", "train/cat/2.png")
    refused("has test images of dog", "train/cat/1.png", "test/dog/1.png", "test/cat/2.png")
    refused("has no folder of training images but test", "test/cat/1.png")
    refused("has no class with two images", "cat/1.png", "dog/1.png")
    write_images(tmp_path / "sizes", ["cat/1.png"], size=(3, 8, 8))
    write_images(tmp_path / "sizes", ["cat/2.png", "cat/3.png"], size=(3, 8, 9))
    with pytest.raises(ValueError, match=r"has 8×9 pixels, where .* has 8×8; give a size"):
        load("folder", tmp_path / "sizes", cache=None)
    assert load("folder", tmp_path / "sizes", size=8, cache=None).image_shape == (3, 8, 8)
    (tmp_path / "sizes" / "cat" / "2.png").write_bytes(png(drawn(1)[0][0])[:-500])
    with pytest.raises(ValueError, match=r"cat/2.png is no image that can be read .*mend or remove it"):
        load("folder", tmp_path / "sizes", size=8, cache=None)


def encoded(*images, ending="PNG", **options):
    contents = []
    for image in images:
        content = io.BytesIO()
        image.save(content, ending, **options)
        contents.append(content.getvalue())
    return Encoded(tuple(contents), tuple(f"image {number}" for number in range(len(images))), 0)


def test_grey_images_have_one_channel_unless_one_is_coloured():
    grey = Image.fromarray(drawn(1, shape=(8, 8))[0][0])
    coloured = Image.fromarray(drawn(1, shape=(8, 8, 3))[0][0])
    assert torch.equal(decode(encoded(grey, grey))[1, 0], torch.from_numpy(np.array(grey)))
    both = decode(encoded(grey, coloured))
    assert torch.equal(both[0], torch.from_numpy(np.array(grey)).expand(3, 8, 8))
    assert torch.equal(both[1], torch.from_numpy(np.array(coloured)).permute(2, 0, 1))
    for position in (0, 20, 39):  # of forty, which are decoded in pieces
        many = decode(encoded(*[grey] * position, coloured, *[grey] * (39 - position)))
        assert torch.equal(many[position], both[1])
        assert torch.equal(many[position - 1], both[0])
    assert decode(encoded(*[grey] * 40)).shape == (40, 1, 8, 8)
    assert decode(encoded(grey.convert("1"), grey.convert("LA"))).shape == (2, 1, 8, 8)
    assert decode(encoded(grey.convert("P"), coloured.convert("RGBA"))).shape == (2, 3, 8, 8)
    deep = Image.fromarray(np.zeros((8, 8), np.uint16))
    with pytest.raises(ValueError, match=r"image 1 is no image that can be read .*more than 8 bits"):
        decode(encoded(grey, deep))


def test_the_square_at_the_centre_is_taken_as_the_camera_held_it():
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    assert (decode(encoded(Image.fromarray(wide)), size=4) == 255).all()
    tall = Image.fromarray(drawn(1, shape=(6, 4, 3))[0][0])
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = decode(encoded(tall, exif=exif))
    assert torch.equal(turned[0], torch.from_numpy(np.rot90(np.array(tall), -1).copy()).permute(2, 0, 1))


def test_resizing_agrees_with_pillow():
    images = torch.from_numpy(drawn(3, shape=(3, 24, 24))[0])
    for size in (8, 12, 23, 40):
        for image, resized in zip(images, resize(images, size), strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
            assert (resized.permute(1, 2, 0).int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1
