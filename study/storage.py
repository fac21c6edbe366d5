"""The folder of a study's results. All that is written is written whole or not at all.

::

    study.json                what is compared, and a checksum of its data; another study, and other data, are refused
    runs/<hash>/result.json   one a finished run
    runs/<hash>/checkpoint.pt where a run under way goes on from when it is interrupted
    runs/<hash>/progress.txt  how far a run under way is
    runs/<hash>/samples.png   images that a finished run generates
    tensorboard/<hash>/       event files, where they are asked for
    runs/<hash>/error.txt     why a run failed, until it succeeds
    results.csv timings.csv   a row a finished run
    spectra.csv               a row a layer of each look at a network; not of studies of optimizers
    report.html *.png
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, Self, final

from ..layers import write_atomically
from .configuration import study_of
from .kind import AnyResult, AnyRun, AnyStudy, Definition, Job, Kind
from .result import Result
from .run import FORMAT
from .runs.checkpoint import remove_checkpoint
from .runs.heartbeat import clear_heartbeats, stop_heartbeat
from .study import Study
from .surroundings import RUNS

DEFINITION: Final = "study.json"
RESULT: Final = "result.json"
ERROR: Final = "error.txt"
LOCK: Final = ".lock"


TRAININGS: Final[Kind[Study, Result]] = Kind(None, FORMAT, study_of, Result.from_dict)


@final
class ResultsFolder(Generic[AnyStudy, AnyRun, AnyResult]):
    """An open folder of results; see :meth:`create` and :meth:`open`."""

    def __init__(self, path: Path, kind: Kind[AnyStudy, AnyResult], study: AnyStudy, data: str | None = None) -> None:
        self.path = path
        self.study = study
        self._kind = kind
        self._data = data

    @classmethod
    def create(
        cls,
        path: Path,
        kind: Kind[AnyStudy, AnyResult],
        study: AnyStudy,
        data: str | None = None,
        place: str = "",
    ) -> Self:
        """Make the folder for a study, or go on with the one that has its results.

        Args:
            path: of the folder.
            kind: of the study.
            study: what is compared.
            data: checksum of the images; None for bundled ones.
            place: where the images are, in words.

        Raises:
            ValueError: the path is a file, holds something else, another study or results on other images, or cannot
                be read or written.
        """
        try:
            if (path / DEFINITION).exists():
                folder = cls.open(path, kind)
                folder._require_same(study, data, place)
                return folder
            path.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
            if others:
                raise ValueError(
                    f"output {str(path)!r} holds {others[0]!r} and no {DEFINITION}; give a new or an empty folder"
                )
            folder = cls(path, kind, study, data)
            folder._define()
        except OSError as error:
            raise ValueError(f"output {str(path)!r} cannot be a folder of results ({error}); give another") from None
        return folder

    @classmethod
    def open(cls, path: Path, kind: Kind[AnyStudy, AnyResult]) -> Self:
        """Open a folder that has a study's results.

        Raises:
            ValueError: it has none, those of another kind of study, or they cannot be read.
        """
        try:
            content = _definition(path)
            if content.get("kind") != kind.name:
                raise ValueError(f"kind must be {kind.name!r}, got {content.get('kind')!r}")
            if content["format"] != kind.format:
                raise ValueError(f"format must be {kind.format}, got {content['format']!r}")
            return cls(path, kind, kind.read_study(content["study"]), content.get("data"))
        except OSError:
            raise ValueError(
                f"folder {str(path)!r} has no {DEFINITION} that can be read; give a folder that `sttp study` wrote"
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"folder {str(path)!r}: {DEFINITION} is damaged, of another version or of another kind of study "
                f"({_in_words(error)}); restore it, or give another folder"
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

    def results(self) -> dict[AnyRun, AnyResult]:
        """Return the results of all finished runs.

        Raises:
            ValueError: one cannot be read, or lies in a folder that is not its own.
        """
        found = {}
        for path in sorted((self.path / RUNS).glob(f"*/{RESULT}")):
            try:
                result = self._kind.read_result(json.loads(path.read_text(encoding="utf-8")))
                if result.run.identifier != path.parent.name:
                    raise ValueError(f"its content belongs to {result.run.identifier}")
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"result {str(path)!r} is damaged or of another version ({_in_words(error)}); "
                    f"delete this file to have the run made again"
                ) from None
            found[result.run] = result
        return found

    def save(self, result: AnyResult) -> None:
        """Write the result of a run."""
        folder = self._run_folder(result.run)
        write_content(folder / RESULT, to_json(result.to_dict()))
        (folder / ERROR).unlink(missing_ok=True)
        remove_checkpoint(folder)
        stop_heartbeat(folder)

    def save_error(self, run: AnyRun, text: str) -> Path:
        """Write why a run failed; return where."""
        path = self._run_folder(run) / ERROR
        write_content(path, f"{run.name}\n\n{text}")
        return path

    def _run_folder(self, run: Job) -> Path:
        path = self.path / RUNS / run.identifier
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _define(self) -> None:
        """Write what is compared, and on what."""
        kind = {} if self._kind.name is None else {"kind": self._kind.name}
        images = {} if self._data is None else {"data": self._data}
        content = {"format": self._kind.format, **kind, **images, "study": self.study.to_dict()}
        write_content(self.path / DEFINITION, to_json(content, indent=1))

    def _require_same(self, study: AnyStudy, data: str | None, place: str) -> None:
        """Refuse a study, or images, that the folder's results do not belong to.

        Raises:
            ValueError: as said.
        """
        if study != self.study:
            raise ValueError(
                f"output {str(self.path)!r} holds another study ({_difference(self.study, study)}); "
                f"give another folder, or move this one away"
            )
        if data != self._data:
            was, is_now = (checksum or "none, as of bundled ones" for checksum in (self._data, data))
            raise ValueError(
                f"output {str(self.path)!r} holds results on other images than there are in {place}: their checksum "
                f"was {was}, not {is_now}; put the former images back, or give another output"
            )


def kind_of(path: Path) -> str | None:
    """Return the kind of study that a folder has results of; None for trained networks, and where there are none."""
    try:
        kind = _definition(path).get("kind")
    except (OSError, ValueError):
        return None
    return kind if isinstance(kind, str) else None


def to_json(data: Any, indent: int | None = None) -> str:
    """Return JSON text; NaN and infinity, which JSON does not have, are refused."""
    return json.dumps(data, allow_nan=False, indent=indent) + "\n"


def write_content(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment there is the old content or the new one, also on the disk."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def _definition(path: Path) -> dict[str, Any]:
    content = json.loads((path / DEFINITION).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no table")
    return content


def _difference(old: Definition, new: Definition) -> str:
    before, after = old.to_dict(), new.to_dict()
    for key in before | after:
        if before.get(key) != after.get(key):
            return f"its {key} is {before.get(key)}, not {after.get(key)}"
    raise AssertionError("the studies differ")


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON from line {error.lineno} column {error.colno} on"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
