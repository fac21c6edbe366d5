"""Files that are written whole or not at all."""

import errno
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from sttp.layers import write_atomically

# Every way in which this package writes a file, of 4 MB, in a process that may write files of 1 MB.
FULL = """
import json, os, pathlib, resource, signal, sys, torch
from safetensors.torch import save_file
from sttp.layers import STTP, Linear, save, write_atomically

folder = pathlib.Path(sys.argv[1])
tensor = torch.zeros(10**6)
many = {str(number): torch.zeros(10**4) for number in range(100)}
writers = {
    "bytes": lambda path: path.write_bytes(bytes(4 * 10**6)),
    "text": lambda path: path.write_text("a" * 4 * 10**6),
    "safetensors": lambda path: save_file({"a": tensor}, path),
    "torch, one": lambda path: torch.save(tensor, path),
    "torch, many": lambda path: torch.save(many, path),
}
network = Linear(1000, 1000, spec=STTP(500))
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY))
found = {}
for name, write in writers.items():
    try:
        write_atomically(folder / "file", write)
    except OSError as error:
        found[name] = error.errno, error.filename, str(error)
try:
    save(network, folder / "network")
except OSError as error:
    found["save"] = error.errno, error.filename, str(error)
print(json.dumps([list(writers), found]), flush=True)
killed = folder / "killed" / "file.txt"
write_atomically(killed, lambda path: (path.write_text("half"), os.kill(os.getpid(), signal.SIGKILL)))
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """The folder, the output and the end of a process that meets a full disk, and then is killed as it writes."""
    folder = tmp_path_factory.mktemp("process")
    (folder / "file").write_text("old")
    (folder / "killed").mkdir()
    command = [sys.executable, "-c", FULL, str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_told_with_the_file_and_the_cure_by_every_writer(process):
    folder, answer = process
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    writers, found = json.loads(answer.stdout)
    assert list(found) == [*writers, "save"]
    for name, (number, file, text) in found.items():
        assert number == errno.EFBIG, (name, text)
        assert file == str(folder / ("network/model.safetensors" if name == "save" else "file"))
        assert "make room" in text
    assert (folder / "file").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["file", "killed", "network"]
    assert not list((folder / "network").iterdir())


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        SafetensorError(
            'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left" })'
        ),
    ],
    ids=["system", "safetensors", "safetensors of before"],
)
def test_the_old_file_is_left(raised, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise raised

    with pytest.raises(OSError, match=r"No space left on device; make room.*results\.csv") as caught:
        write_atomically(path, write)
    assert caught.value.__cause__ is raised
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def reset(path):
    raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (RuntimeError, lambda path: save_file(dict.fromkeys("ab", torch.zeros(4)), path)),
        (AttributeError, lambda path: torch.save(lambda: 0, path)),
        (ConnectionResetError, reset),
        (KeyError, lambda path: {}["key"]),
    ],
)
def test_other_errors_are_passed_on_as_they_are(kind, write, tmp_path):
    with pytest.raises(kind) as caught:
        write_atomically(tmp_path / "name", write)
    assert "name" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_atomically(tmp_path / "nowhere" / "file", lambda path: path.write_text("new"))


def test_the_next_writer_of_a_path_removes_what_a_kill_left(process):
    folder = process[0] / "killed"
    (left,) = folder.iterdir()
    assert left.name.startswith(".file.txt.")
    write_atomically(folder / "file", lambda temporary: temporary.write_text("other"))
    assert left.exists()
    write_atomically(folder / "file.txt", lambda temporary: temporary.write_text("new"))
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"file.txt": "new", "file": "other"}


def test_a_writer_leaves_the_temporary_file_of_another_one_that_lives(tmp_path):
    path = tmp_path / "file"

    def slow(temporary):
        temporary.write_text("slow")
        write_atomically(path, lambda second: second.write_text("quick"))
        assert path.read_text() == "quick"

    write_atomically(path, slow)
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_many_writers_of_one_path_all_succeed(tmp_path):
    path = tmp_path / "file"
    texts = [f"{number} " * 2000 for number in range(8)]

    def repeat(text):
        for _ in range(20):
            write_atomically(path, lambda temporary: temporary.write_text(text))
            assert path.read_text() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(repeat, texts))
    assert list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("é" * 127)
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
