"""The folder of a study's results. All that is written is written whole or not at all.

::

    study.json                what is compared; another study is refused
    runs/<hash>/result.json   one a finished run
    runs/<hash>/checkpoint.pt where a run under way goes on from when it is interrupted
    runs/<hash>/samples.png   images that a finished run generates
    tensorboard/<hash>/       event files, where they are asked for
    runs/<hash>/error.txt     why a run failed, until it succeeds
    results.csv timings.csv report.html *.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Self, final

from ..layers.atomic_write import write_atomically
from .checkpoint import remove_checkpoint
from .configuration import study_of
from .heartbeat import stop_heartbeat
from .result import Result
from .run import FORMAT, Run
from .study import Study

DEFINITION: Final = "study.json"
RUNS: Final = "runs"
RESULT: Final = "result.json"
ERROR: Final = "error.txt"
LOCK: Final = ".lock"


@final
class ResultsFolder:
    """An open folder of results; see :meth:`create` and :meth:`open`."""

    def __init__(self, path: Path, study: Study) -> None:
        self.path = path
        self.study = study

    @classmethod
    def create(cls, path: Path, study: Study) -> Self:
        """Make the folder for a study, or go on with the one that has its results.

        Raises:
            ValueError: the path is a file, holds something else or another study, or cannot be read or written.
        """
        if (path / DEFINITION).exists():
            folder = cls.open(path)
            if folder.study != study:
                raise ValueError(
                    f"output {str(path)!r} holds another study ({_difference(folder.study, study)}); "
                    f"give another folder, or move this one away"
                )
            return folder
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
            if others:
                raise ValueError(
                    f"output {str(path)!r} holds {others[0]!r} and no {DEFINITION}; give a new or an empty folder"
                )
            write_content(path / DEFINITION, to_json({"format": FORMAT, "study": study.to_dict()}, indent=1))
        except OSError as error:
            raise ValueError(f"output {str(path)!r} cannot be a folder of results ({error}); give another") from None
        return cls(path, study)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that has a study's results.

        Raises:
            ValueError: it has none, or they cannot be read.
        """
        definition = path / DEFINITION
        try:
            data = json.loads(definition.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format must be {FORMAT}, got {data['format']!r}")
            return cls(path, study_of(data["study"]))
        except OSError:
            raise ValueError(
                f"folder {str(path)!r} has no {DEFINITION} that can be read; give a folder that `sttp study` wrote"
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"folder {str(path)!r}: {DEFINITION} is damaged or of another version ({_in_words(error)}); "
                f"restore it, or give another folder"
            ) from None

    def results(self) -> dict[Run, Result]:
        """Return the results of all finished runs.

        Raises:
            ValueError: one cannot be read, or lies in a folder that is not its own.
        """
        found = {}
        for path in sorted((self.path / RUNS).glob(f"*/{RESULT}")):
            try:
                result = Result.from_dict(json.loads(path.read_text(encoding="utf-8")))
                if result.run.identifier != path.parent.name:
                    raise ValueError(f"its content belongs to {result.run.identifier}")
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"result {str(path)!r} is damaged or of another version ({_in_words(error)}); "
                    f"delete this file to have the run made again"
                ) from None
            found[result.run] = result
        return found

    def save(self, result: Result) -> None:
        """Write the result of a run."""
        folder = self.path / RUNS / result.run.identifier
        folder.mkdir(parents=True, exist_ok=True)
        write_content(folder / RESULT, to_json(result.to_dict()))
        (folder / ERROR).unlink(missing_ok=True)
        remove_checkpoint(folder)
        stop_heartbeat(folder)

    def save_error(self, run: Run, text: str) -> Path:
        """Write why a run failed; return where."""
        path = self.path / RUNS / run.identifier / ERROR
        path.parent.mkdir(parents=True, exist_ok=True)
        write_content(path, f"{run.name}\n\n{text}")
        return path


def to_json(data: Any, indent: int | None = None) -> str:
    """Return JSON text; NaN and infinity, which JSON does not have, are refused."""
    return json.dumps(data, allow_nan=False, indent=indent) + "\n"


def write_content(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment there is the old content or the new one, also on the disk."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def _difference(old: Study, new: Study) -> str:
    before, after = old.to_dict(), new.to_dict()
    for key in before | after:
        if before.get(key) != after.get(key):
            return f"its {key} is {before.get(key)}, not {after.get(key)}"
    raise AssertionError("the studies differ")


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON from line {error.lineno} column {error.colno} on"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
