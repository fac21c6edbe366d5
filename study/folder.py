"""The folder of a study's results. All that is written is written whole or not at all.

::

    study.json                what is compared, how names are shown, and a checksum of the data
    runs/<hash>/result.json   one a finished run, which comes last
    runs/<hash>/checkpoint.pt where a run under way goes on from when it is interrupted
    runs/<hash>/progress.txt  how far a run under way is
    runs/<hash>/samples.png   images that a finished run generates
    runs/<hash>/error.txt     why a run failed, until it succeeds
    turns.json                times of steps of all cases, taken in turns
    command.txt               the command that began the study
    tensorboard/<hash>/       event files, where they are asked for
    *.csv *.png *.svg report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, final

from ..layers import write_atomically
from ._plain import to_json, tupled
from .case import FORMAT, Run
from .checkpoint import remove_checkpoint
from .definition import Study
from .heartbeat import clear_heartbeats, stop_heartbeat
from .kind import KINDS
from .machine import command
from .result import Result
from .surroundings import RUNS
from .turns import Turn

DEFINITION: Final = "study.json"
RESULT: Final = "result.json"
ERROR: Final = "error.txt"
TURNS: Final = "turns.json"
COMMAND: Final = "command.txt"
LOCK: Final = ".lock"


@final
class ResultsFolder:
    """An open folder of results; see :meth:`create` and :meth:`open`.

    Attributes:
        path: of the folder.
        study: what is compared.
        presentation: what drawing the report needs beside the results; plain values.
    """

    def __init__(self, path: Path, study: Study, data: str | None, presentation: Mapping[str, Any]) -> None:
        self.path = path
        self.study = study
        self.presentation = presentation
        self._data = data

    @classmethod
    def create(cls, path: Path, study: Study, data: str | None = None, place: str = "") -> Self:
        """Make the folder for a study, or go on with the one that has its results.

        Args:
            path: of the folder.
            study: what is compared.
            data: checksum of its data; None where it has none.
            place: where the data is, in words.

        Raises:
            ValueError: the path is a file, holds something else, another study or results on other data, or cannot
                be read or written.
        """
        try:
            if (path / DEFINITION).exists():
                folder = cls.open(path)
                folder._require_same(study, data, place)
                return folder
            path.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
            if others:
                raise ValueError(
                    f"output {str(path)!r} holds {others[0]!r} and no {DEFINITION}; give a new or an empty folder"
                )
            folder = cls(path, study, data, study.of.presentation(study))
            folder._define()
        except OSError as error:
            raise ValueError(f"output {str(path)!r} cannot be a folder of results ({error}); give another") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that has a study's results.

        Raises:
            ValueError: it has none, was written by another version, or cannot be read.
        """
        try:
            content = json.loads((path / DEFINITION).read_text(encoding="utf-8"))
            written = content["format"]
            if written != FORMAT:
                raise ValueError(
                    f"it has format {written!r}, of version 0.1 or a later one, where this version reads {FORMAT}"
                )
            kind = KINDS[content["study"]["kind"]]
            cases = [kind.case_type.from_dict(values) for values in content["cases"]]
            stored = {key: cases[index] for key, index in content["assignments"].items()}
            study = Study.from_dict(content["study"], stored)
            return cls(path, study, content.get("data"), content["presentation"])
        except OSError:
            raise ValueError(
                f"folder {str(path)!r} has no {DEFINITION} that can be read; give a folder that `sttp study` wrote"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"folder {str(path)!r}: {DEFINITION} is damaged or of another version ({_in_words(error)}); "
                f"restore it, or give another folder"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Keep the folder for this process alone. What killed processes have told of their progress is forgotten.

        Raises:
            ValueError: another process has it.
        """
        import filelock  # of the extra `study`

        try:
            held = filelock.FileLock(self.path / LOCK, timeout=0).acquire()
        except filelock.Timeout:
            raise ValueError(
                f"output {str(self.path)!r} is in use by another process; wait for it, or give another folder"
            ) from None
        with held:
            clear_heartbeats(self.path / RUNS)
            yield self

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
        folder = self._run_folder(result.run)
        write_content(folder / RESULT, to_json(result.to_dict()))
        (folder / ERROR).unlink(missing_ok=True)
        remove_checkpoint(folder)
        stop_heartbeat(folder)

    def save_error(self, run: Run, text: str) -> Path:
        """Write why a run failed; return where."""
        path = self._run_folder(run) / ERROR
        write_content(path, f"{run.name}\n\n{text}")
        return path

    def turns(self) -> tuple[Turn, ...]:
        """Return the times that were taken in turns; none where there are none, or none that can be read."""
        try:
            content = json.loads((self.path / TURNS).read_text(encoding="utf-8"))
            return tuple(Turn.from_dict(turn) for turn in content)
        except (OSError, ValueError, TypeError, KeyError):
            return ()

    @property
    def command(self) -> str | None:
        """The command that began the study, if there was one."""
        with suppress(OSError, UnicodeDecodeError):
            return (self.path / COMMAND).read_text(encoding="utf-8").strip()
        return None

    def save_turns(self, turns: tuple[Turn, ...]) -> None:
        """Write the times that were taken in turns."""
        write_content(self.path / TURNS, to_json([turn.to_dict() for turn in turns]))

    def _run_folder(self, run: Run) -> Path:
        path = self.path / RUNS / run.identifier
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _define(self) -> None:
        data = {} if self._data is None else {"data": self._data}
        study = self.study
        positions = {case: index for index, case in enumerate(study.cases)}
        content = {"format": FORMAT, **data, "study": study.to_dict(), "cases": [c.to_dict() for c in study.cases]}
        content["assignments"] = {key: positions[case] for key, case in study.assigned.items()}
        content["presentation"] = self.presentation
        write_content(self.path / DEFINITION, to_json(content, indent=1))
        if (words := command()) is not None:
            write_content(self.path / COMMAND, words + "\n")

    def _require_same(self, study: Study, data: str | None, place: str) -> None:
        """Refuse a study, or data, that the folder's results do not belong to.

        Raises:
            ValueError: as said.
        """
        before, after = (tupled(json.loads(to_json(s.to_dict()))) for s in (self.study, study))
        for key in before | after:
            if before.get(key) != after.get(key):
                raise ValueError(
                    f"output {str(self.path)!r} holds another study (its {key} is {before.get(key)}, not "
                    f"{after.get(key)}); give another folder, or move this one away"
                )
        if data != self._data:
            was, is_now = (checksum or "none, as of bundled data" for checksum in (self._data, data))
            raise ValueError(
                f"output {str(self.path)!r} holds results on other data than there is in {place}: its checksum "
                f"was {was}, not {is_now}; put the former data back, or give another output"
            )


def write_content(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment there is the old content or the new one, also on the disk."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON from line {error.lineno} column {error.colno} on"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
