"""Images of one's own by class, how they are decoded, and what is refused before that."""

import io
import zipfile

import numpy as np
import pytest
import torch
from image_archives import drawn, png
from PIL import Image

from sttp.study.data import encoded, load
from sttp.study.data import folder as module
from sttp.study.data.encoded import decode
from sttp.study.data.folder import stratified_split
from sttp.study.data.image_data import resize


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
    refused("has images to test on and none to train on", "test/cat/1.png")
    refused("has no class with two images", "cat/1.png", "dog/1.png")
    write_images(tmp_path / "sizes", ["cat/1.png"], size=(3, 8, 8))
    write_images(tmp_path / "sizes", ["cat/2.png", "cat/3.png"], size=(3, 8, 9))
    with pytest.raises(ValueError, match=r"has 8×9 pixels, where .* has 8×8; give a size"):
        load("folder", tmp_path / "sizes", cache=None)
    assert load("folder", tmp_path / "sizes", size=8, cache=None).image_shape == (3, 8, 8)
    (tmp_path / "sizes" / "cat" / "2.png").write_bytes(png(drawn(1)[0][0])[:-500])
    with pytest.raises(ValueError, match=r"cat/2.png is no image that can be read .*mend or remove it"):
        load("folder", tmp_path / "sizes", size=8, cache=None)


def decoded(*images, size=None, workers=None, **options):
    contents = []
    for image in images:
        content = io.BytesIO()
        image.save(content, "PNG", **options)
        contents.append(content.getvalue())
    return decode([f"image {number}" for number in range(len(images))], contents.__getitem__, size, workers)


def test_grey_images_have_one_channel_unless_one_is_coloured(monkeypatch):
    monkeypatch.setattr(encoded, "PIECE", 8)
    grey = Image.fromarray(drawn(1, shape=(8, 8))[0][0])
    coloured = Image.fromarray(drawn(1, shape=(8, 8, 3))[0][0])
    assert torch.equal(decoded(grey, grey)[1, 0], torch.from_numpy(np.array(grey)))
    both = decoded(grey, coloured)
    assert torch.equal(both[0], torch.from_numpy(np.array(grey)).expand(3, 8, 8))
    assert torch.equal(both[1], torch.from_numpy(np.array(coloured)).permute(2, 0, 1))
    for position in (0, 20, 39):  # of forty, which are decoded in pieces of eight
        many = decoded(*[grey] * position, coloured, *[grey] * (39 - position))
        assert torch.equal(many[position], both[1])
        assert torch.equal(many[position - 1], both[0])
    assert decoded(*[grey] * 40).shape == (40, 1, 8, 8)
    assert decoded(grey.convert("1"), grey.convert("LA")).shape == (2, 1, 8, 8)
    assert decoded(grey.convert("P"), coloured.convert("RGBA")).shape == (2, 3, 8, 8)
    deep = Image.fromarray(np.zeros((8, 8), np.uint16))
    with pytest.raises(ValueError, match=r"image 1 is no image that can be read .*more than 8 bits"):
        decoded(grey, deep)


def test_the_square_at_the_centre_is_taken_as_the_camera_held_it():
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    assert (decoded(Image.fromarray(wide), size=4) == 255).all()
    tall = Image.fromarray(drawn(1, shape=(6, 4, 3))[0][0])
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = decoded(tall, exif=exif)
    assert torch.equal(turned[0], torch.from_numpy(np.rot90(np.array(tall), -1).copy()).permute(2, 0, 1))


def test_resizing_agrees_with_pillow():
    images = torch.from_numpy(drawn(3, shape=(3, 24, 24))[0])
    for size in (8, 12, 23, 40):
        for image, resized in zip(images, resize(images, size), strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
            assert (resized.permute(1, 2, 0).int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1


def test_more_pixels_than_pillow_takes_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    write_images(tmp_path, ["cat/1.png", "cat/2.png"], size=(3, 20, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert load("folder", tmp_path, cache=None).image_shape == (3, 20, 30)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"cat/\d.png is no image that can be read .*599"):
        load("folder", tmp_path, size=8, cache=None)


def test_images_that_would_run_a_program_are_no_images(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (8, 8)).save(tmp_path / "cat" / f"{name}.png", "EPS")
    with pytest.raises(ValueError, match=r"cat/\d.png is no image that can be read"):
        load("folder", tmp_path, cache=None)


def test_archives_that_unpack_to_too_much_are_refused_before_anything_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"cat/{number}.png", bytes(1_000 + number))
        archive.writestr("cat/notes.txt", bytes(1_000_000))  # which is never read
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    monkeypatch.setattr(module, "LARGEST_ENTRY", 1_002)
    with pytest.raises(ValueError, match=r"a.zip: cat/3.png would unpack to 1003 bytes, .* at most 1002"):
        load("folder", path, cache=None)
    monkeypatch.setattr(module, "LARGEST_ENTRY", 1_003)
    monkeypatch.setattr(module, "LARGEST_TOTAL", 0)
    monkeypatch.setattr(module, "LARGEST_RATIO", 1)
    with pytest.raises(ValueError, match=r"a.zip would unpack to 4006 bytes, where its size allows"):
        load("folder", path, cache=None)
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1))
    with pytest.raises(ValueError, match=r"a.zip is damaged"):
        load("folder", path, cache=None)


@pytest.mark.parametrize("place", ["folder", "zip"])
def test_names_do_nothing_to_a_terminal(tmp_path, place):
    def message(root):
        path = root if place == "folder" else zipped(root, root.with_suffix(".zip"))
        with pytest.raises(ValueError, match=r"\\x1b\[2J") as caught:
            load("folder", path, cache=None)
        return str(caught.value)

    for number, names in enumerate(
        (["\x1b[2J.png", "cat/1.png"], ["train/cat/1.png", "test/\x1b[2J/1.png"], ["\x1b[2J/1.png", "\x1b[2J/2.png"])
    ):
        root = tmp_path / str(number)
        write_images(root, names)
        if number == 2:
            (root / names[0]).write_bytes(b"no image")
        assert message(root).isprintable()


def test_many_classes_are_split_without_looking_at_all_images_for_each():
    class Counted(np.ndarray):
        looks = 0

        def __eq__(self, other):
            Counted.looks += 1
            return super().__eq__(other)

    labels = np.repeat(np.arange(500), 4)
    chosen = stratified_split(labels.view(Counted), 0.25, 0)
    assert np.array_equal(np.bincount(labels[np.asarray(chosen)]), np.ones(500))
    assert Counted.looks < 10
