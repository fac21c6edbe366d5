"""Small data sets in the layouts of the large ones, and what is in them."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sttp.study.data import DATA

TRAINING, TEST = 10, 4  # five files of two images


def small_cifar(name="cifar10"):
    """Return the data source with fewer images."""
    return replace(DATA[name], training_size=TRAINING, test_size=TEST)


def with_checksum(source, path):
    """Return the source with the checksum and address of a file that takes the place of the published one."""

    def published(archive):
        if archive.file != path.name:
            return archive
        checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        return replace(archive, md5=checksum, url=path.as_uri())

    if not hasattr(source, "layouts"):
        return replace(source, archives=tuple(map(published, source.archives)))
    return replace(
        source, layouts=tuple(replace(layout, archive=published(layout.archive)) for layout in source.layouts)
    )


def publish(folder, monkeypatch, training=None):
    """Lay an archive of CIFAR-10 with fewer images at an address on this machine, as if published; return its path."""
    layout, files = cifar_files("binary", training=training)
    path = folder / "site" / layout.archive.file
    path.parent.mkdir()
    write_archive(path, layout.folder, files)
    monkeypatch.setitem(DATA, "cifar10", with_checksum(small_cifar(), path))
    return path


def drawn(count, classes=10, seed=0, shape=(3, 32, 32)):
    """Return random images and labels."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, generator.integers(0, classes, count)


def pickled(images, labels, label_key="labels"):
    """Return a batch as Python 2 published it, written out in the operations of pickle's protocol 2."""
    rows, columns = images.reshape(len(images), -1).shape if len(images) else (0, 3072)

    def text(word):
        return b"U" + bytes([len(word)]) + word

    def number(value):
        return b"J" + value.to_bytes(4, "little", signed=True)

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    content = b"T" + images.size.to_bytes(4, "little") + images.tobytes()
    state = b"(" + number(1) + number(rows) + number(columns) + b"\x86" + kind + b"\x89" + content + b"tb"
    names = b"](" + b"".join(map(number, map(int, labels))) + b"e"
    fields = text(b"batch_label") + text(b"a batch") + text(b"data") + empty + state + text(label_key.encode()) + names
    return b"\x80\x02}(" + fields + b"u."


def records(images, labels, coarse=False):
    """Return a batch in the binary form, with a coarse label first that is to be ignored."""
    rows = [
        bytes([99, label] if coarse else [label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
    ]
    return b"".join(rows)


def cifar_files(form, name="cifar10", training=None, test=None):
    """Return names and contents of the files of an archive, and the folder in it."""
    layout = next(layout for layout in DATA[name].layouts if form in layout.archive.file)
    training = drawn(TRAINING, seed=1) if training is None else training
    test = drawn(TEST, seed=2) if test is None else test
    count = TRAINING // len(layout.training)
    files = {}
    for index, file in enumerate((*layout.training, layout.test)):
        own = slice(index * count, (index + 1) * count)
        images, labels = test if file == layout.test else (part[own] for part in training)
        if form == "python":
            files[file] = pickled(images, labels, "labels" if name == "cifar10" else "fine_labels")
        else:
            files[file] = records(images, labels, coarse=name == "cifar100")
    return layout, files


def small_stl10(training, test):
    """Return both data sources of STL-10 with fewer images."""
    return [replace(DATA[name], training_size=training, test_size=test) for name in ("stl10", "stl10-unlabelled")]


def stl10_files(training, test, labels=None):
    """Return names and contents of STL-10's files, and the images and labels that are in them.

    The labels are those of the training images; None for random ones.
    """
    images = {}
    files = {"class_names.txt": b"airplane\n", "fold_indices.txt": b"0 1\n"}
    for seed, (name, count) in enumerate({"train": training, "test": test, "unlabeled": training}.items()):
        images[name], own = drawn(count, seed=seed, shape=(3, 96, 96))
        own = own if labels is None or name != "train" else np.array(labels)
        files[f"{name}_X.bin"] = b"".join(
            np.asfortranarray(channel).tobytes(order="F") for image in images[name] for channel in image
        )
        images[f"{name} labels"] = own
        files[f"{name}_y.bin"] = bytes(own.astype(np.uint8) + 1)
    del files["unlabeled_y.bin"]
    return files, images


def write_folder(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def png(image):
    """Return an image ``(C, H, W)`` as PNG, which loses nothing."""
    content = io.BytesIO()
    Image.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)).save(content, "PNG")
    return content.getvalue()


def write_parquet(path, images, labels, column="label", classes=None, image_column="img", contents=None):
    """Write a file in the layout of the Hugging Face hub."""
    contents = [png(image) for image in images] if contents is None else contents
    columns = {
        image_column: pa.array([{"bytes": content, "path": None} for content in contents]),
        column: pa.array(np.asarray(labels, dtype=np.int64)),
    }
    columns[image_column] = columns[image_column].cast(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table(columns)
    if classes is not None:
        features = {column: {"names": list(classes), "_type": "ClassLabel"}, image_column: {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
