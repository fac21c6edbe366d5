"""The folder of a study's results. All that is written is written whole or not at all.

::

    study.json                what is compared, how names are shown, and checksums of the data and of foreign code
    runs/<hash>/result.json   one a finished run, which comes last
    runs/<hash>/checkpoint.pt where a run under way goes on from when it is interrupted
    runs/<hash>/samples.png   images that a finished run generates
    runs/<hash>/error.txt     why a run failed, until it succeeds
    turns.json                times of steps of all cases, taken in turns
    command.txt               the command that began the study
    .progress/<hash>          how far a run under way is
    .lock                     kept by the process whose study is under way
    tensorboard/<hash>/       event files, where they are asked for
    *.csv *.png *.svg report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self, final

from ..layers import write_atomically
from ._plain import to_json, tupled
from .case import FORMAT, Run
from .definition import Study
from .foreign import sources
from .heartbeat import LOCK, clear_heartbeats, sign_lock, stop_heartbeat
from .kind import KINDS
from .machine import command
from .result import Result
from .run_files import remove_checkpoint
from .surroundings import RUNS
from .turns import Turn

DEFINITION: Final = "study.json"
RESULT: Final = "result.json"
ERROR: Final = "error.txt"
TURNS: Final = "turns.json"
COMMAND: Final = "command.txt"
LOCK_SECONDS: Final = 1.0  # longer than a worker of a dead study may look at the lock


@final
class ResultsFolder:
    """An open folder of results; see :meth:`held` and :meth:`open`.

    Attributes:
        path: of the folder.
        study: what is compared.
        presentation: what drawing the report needs beside the results; plain values.
    """

    def __init__(
        self, path: Path, study: Study, presentation: Mapping[str, Any], data: str | None, code: Mapping[str, str]
    ) -> None:
        self.path = path
        self.study = study
        self.presentation = presentation
        self._data = data
        self._code = code

    @classmethod
    @contextmanager
    def held(cls, path: Path, study: Study, data: str | None = None, place: str = "") -> Iterator[Self]:
        """Make the folder for a study, or go on with the one that has its results, and keep it for this process alone.

        Args:
            path: of the folder.
            study: what is compared.
            data: checksum of its data; None where it has none.
            place: where the data is, in words.

        Raises:
            ValueError: the path is a file, holds something else, another study or results on other data or of other
                code, is in use by another process, or cannot be read or written.
        """
        import filelock  # of the extra `study`

        with ExitStack() as stack:
            try:
                cls._require_own(path)  # before anything is written
                path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(filelock.FileLock(path / LOCK).acquire(timeout=LOCK_SECONDS))
                cls._require_own(path)  # once more: another process may have written since
                sign_lock(path)
                clear_heartbeats(path / RUNS)
                if (path / DEFINITION).exists():
                    folder = cls.open(path)
                    folder._require_same(study, data, place)
                else:
                    folder = cls(path, study, study.of.presentation(study), data, _code_of(study))
                    folder._define()
            except filelock.Timeout:
                raise ValueError(
                    f"output {str(path)!r} is in use by another process; wait for it, or give another folder"
                ) from None
            except OSError as error:
                raise ValueError(
                    f"output {str(path)!r} cannot be a folder of results ({error}); give another"
                ) from None
            yield folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that has a study's results.

        Raises:
            ValueError: it has none, was written by another version, or cannot be read.
        """
        try:
            content = json.loads((path / DEFINITION).read_text(encoding="utf-8"))
            written = content["format"]
        except OSError as error:
            raise ValueError(
                f"folder {str(path)!r} has no {DEFINITION} that can be read ({error.strerror}); give a folder that "
                f"`sttp study` wrote"
            ) from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _damaged(path, error) from None
        if isinstance(written, int) and written != FORMAT:
            version = "an earlier" if written < FORMAT else "a later"
            raise ValueError(
                f"folder {str(path)!r} has results of format {written}, which {version} version of sttp wrote, where "
                f"this one reads format {FORMAT}; nothing in it was changed: give another folder, or use that version"
            )
        try:
            kind = KINDS[content["study"]["kind"]]
            cases = [kind.case_type.from_dict(values) for values in content["cases"]]
            stored = {key: cases[index] for key, index in content["assignments"].items()}
            study = Study.from_dict(content["study"], stored)
            return cls(path, study, dict(content["presentation"]), content.get("data"), dict(content.get("code", {})))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise _damaged(path, error) from None

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
            except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                raise ValueError(
                    f"result {str(path)!r} is damaged or of another version ({type(error).__name__}: {error}); "
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
        return self._turns()[1]

    def has_turns_of(self, runs: Sequence[Run]) -> bool:
        """Whether times of these runs were taken, be it that some of them have ended too soon to have any."""
        return {run.identifier for run in runs} <= self._turns()[0]

    def _turns(self) -> tuple[frozenset[str], tuple[Turn, ...]]:
        try:
            content = json.loads((self.path / TURNS).read_text(encoding="utf-8"))
            return frozenset(content["asked"]), tuple(Turn.from_dict(turn) for turn in content["turns"])
        except (OSError, ValueError, TypeError, LookupError):
            return frozenset(), ()

    @property
    def command(self) -> str | None:
        """The command that began the study, if there was one."""
        with suppress(OSError, UnicodeDecodeError):
            return (self.path / COMMAND).read_text(encoding="utf-8").strip()
        return None

    def save_turns(self, runs: Sequence[Run], turns: tuple[Turn, ...]) -> None:
        """Write the times that were taken of these runs in turns."""
        content = {"asked": [run.identifier for run in runs], "turns": [asdict(turn) for turn in turns]}
        write_content(self.path / TURNS, to_json(content))

    def _run_folder(self, run: Run) -> Path:
        path = self.path / RUNS / run.identifier
        path.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def _require_own(path: Path) -> None:
        """Refuse a folder that has something in it and no definition of a study."""
        if (path / DEFINITION).exists() or not path.exists():
            return
        others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        if RUNS in others:
            raise ValueError(
                f"output {str(path)!r} holds runs, but the {DEFINITION} that says of which study is gone; restore it, "
                f"or give another folder"
            )
        if others:
            raise ValueError(
                f"output {str(path)!r} holds {others[0]!r} and no {DEFINITION}; give a new or an empty folder"
            )

    def _define(self) -> None:
        study = self.study
        positions = {case: index for index, case in enumerate(study.cases)}
        content = {
            "format": FORMAT,
            **({} if self._data is None else {"data": self._data}),
            **({"code": dict(self._code)} if self._code else {}),
            "study": study.to_dict(),
            "cases": [case.to_dict() for case in study.cases],
            "assignments": {key: positions[case] for key, case in study.assigned.items()},
            "presentation": self.presentation,
        }
        write_content(self.path / DEFINITION, to_json(content, indent=1))
        if (words := command()) is not None:
            write_content(self.path / COMMAND, words + "\n")

    def _require_same(self, study: Study, data: str | None, place: str) -> None:
        """Refuse a study, or data or code of it, that the folder's results do not belong to."""
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
        now = _code_of(study)
        for name, source in self._code.items():
            if now.get(name, source) != source:
                raise ValueError(
                    f"output {str(self.path)!r} holds results of other code than there is now: that of the {name} has "
                    f"changed; give another output, or delete this folder to have its runs made anew"
                )


def write_content(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment there is the old content or the new one, also on the disk."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def _code_of(study: Study) -> dict[str, str]:
    return sources([study.to_dict(), [case.to_dict() for case in study.cases]])


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"folder {str(path)!r}: {DEFINITION} is damaged or of another version ({type(error).__name__}: {error}); "
        f"restore it, or give another folder"
    )
