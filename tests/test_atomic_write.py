"""Files that are written whole or not at all."""

import errno

import pytest

from sttp.layers import write_atomically


def test_a_full_disk_is_told_with_the_file_and_the_cure_and_the_old_file_is_left(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device; make room.*results\.csv"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_atomically(tmp_path / "nowhere" / "file", lambda path: path.write_text("new"))
