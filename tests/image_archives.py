"""Small data sets in the layouts of the large ones, what is in them, and an address where one is published."""

import hashlib
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sttp.study.data import DATA

TRAINING, TEST = 10, 4  # five files of two images


def small_cifar(name="cifar10"):
    """Return the data source with fewer images."""
    return replace(DATA[name], training_size=TRAINING, test_size=TEST)


def small_stl10(training, test):
    """Return both data sources of STL-10 with fewer images."""
    return [replace(DATA[name], training_size=training, test_size=test) for name in ("stl10", "stl10-unlabelled")]


def with_checksum(source, path, **changed):
    """Return the source with the checksum of a file that takes the place of the published one."""
    checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return replace(source, archive=replace(source.archive, md5=checksum, **changed))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def published(sources, folder, files, monkeypatch):
    """Lay files in an archive at an address on this machine, as if the sources had been published there."""
    path = folder / "site" / sources[0].archive.file
    path.parent.mkdir()
    write_archive(path, sources[0].archive.folder, files)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=path.parent)) as server:
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        for source in sources:
            monkeypatch.setitem(DATA, source.name, with_checksum(source, path, url=url))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


def unreachable(source):
    """Return the source with an address where nobody answers."""
    return replace(source, archive=replace(source.archive, url=f"http://127.0.0.1:1/{source.archive.file}"))


def drawn(count, classes=10, seed=0, shape=(3, 32, 32)):
    """Return random images and labels."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, generator.integers(0, classes, count)


def cifar_files(name="cifar10", training=None, test=None):
    """Return names and contents of the files of an archive; a coarse label, which CIFAR-100 has, is to be ignored."""
    source = DATA[name]

    def records(images, labels):
        first = bytes([99]) if name == "cifar100" else b""
        return b"".join(first + bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))

    images, labels = training or drawn(TRAINING, seed=1)
    count = len(labels) // len(source.training_files)
    files = {
        file: records(images[index * count : (index + 1) * count], labels[index * count : (index + 1) * count])
        for index, file in enumerate(source.training_files)
    }
    return files | {source.test_file: records(*(test or drawn(TEST, seed=2)))}


def stl10_files(training, test, labels=None):
    """Return names and contents of STL-10's files, and the images and labels that are in them.

    The labels are those of the training images; None for random ones.
    """
    images = {}
    files = {"class_names.txt": b"airplane\n", "fold_indices.txt": b"0 1\n"}
    for seed, (name, count) in enumerate({"train": training, "test": test, "unlabeled": training}.items()):
        images[name], own = drawn(count, seed=seed, shape=(3, 96, 96))
        own = own if labels is None or name != "train" else np.array(labels)
        files[f"{name}_X.bin"] = b"".join(channel.tobytes(order="F") for image in images[name] for channel in image)
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
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        image_column: pa.array([{"bytes": content, "path": None} for content in contents], kind),
        column: pa.array(np.asarray(labels, dtype=np.int64)),
    }
    table = pa.table(columns)
    if classes is not None:
        features = {column: {"names": list(classes), "_type": "ClassLabel"}, image_column: {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
