"""The folder of a study of optimizers, laid out as that of any study: see :mod:`sttp.study.storage`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Self, final

from ..storage import DEFINITION, ERROR, RESULT, RUNS, to_json, write_content
from .configuration import optimizer_study_of
from .result import OptimizationResult
from .run import FORMAT, OptimizationRun
from .study import KIND, OptimizerStudy

_KEY: Final = "kind"


@final
class OptimizerFolder:
    """An open folder of results; see :meth:`create` and :meth:`open`."""

    def __init__(self, path: Path, study: OptimizerStudy) -> None:
        self.path = path
        self.study = study

    @classmethod
    def create(cls, path: Path, study: OptimizerStudy) -> Self:
        """Make the folder for a study, or go on with the one that has its results.

        Raises:
            ValueError: the path is a file, holds something else or another study, or cannot be read or written.
        """
        if (path / DEFINITION).exists():
            folder = cls.open(path)
            if folder.study != study:
                raise ValueError(
                    f"output {str(path)!r} holds another study; give another folder, or move this one away"
                )
            return folder
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
            if others:
                raise ValueError(
                    f"output {str(path)!r} holds {others[0]!r} and no {DEFINITION}; give a new or an empty folder"
                )
            definition = {"format": FORMAT, _KEY: KIND, "study": study.to_dict()}
            write_content(path / DEFINITION, to_json(definition, indent=1))
        except OSError as error:
            raise ValueError(f"output {str(path)!r} cannot be a folder of results ({error}); give another") from None
        return cls(path, study)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that has a study's results.

        Raises:
            ValueError: it has none, or they cannot be read.
        """
        try:
            data = _definition(path)
            if data.get(_KEY) != KIND or data["format"] != FORMAT:
                raise ValueError(f"it is of kind {data.get(_KEY)!r} and format {data['format']!r}")
            return cls(path, optimizer_study_of(data["study"]))
        except OSError:
            raise ValueError(
                f"folder {str(path)!r} has no {DEFINITION} that can be read; give a folder that `sttp study` wrote"
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"folder {str(path)!r}: {DEFINITION} is damaged, of another version or of another kind of study "
                f"({error}); restore it, or give another folder"
            ) from None

    def results(self) -> dict[OptimizationRun, OptimizationResult]:
        """Return the results of all finished runs.

        Raises:
            ValueError: one cannot be read, or lies in a folder that is not its own.
        """
        found = {}
        for path in sorted((self.path / RUNS).glob(f"*/{RESULT}")):
            try:
                result = OptimizationResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
                if result.run.identifier != path.parent.name:
                    raise ValueError(f"its content belongs to {result.run.identifier}")
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"result {str(path)!r} is damaged or of another version ({error}); "
                    f"delete this file to have the run made again"
                ) from None
            found[result.run] = result
        return found

    def save(self, result: OptimizationResult) -> None:
        """Write the result of a run."""
        folder = self.path / RUNS / result.run.identifier
        folder.mkdir(parents=True, exist_ok=True)
        write_content(folder / RESULT, to_json(result.to_dict()))
        (folder / ERROR).unlink(missing_ok=True)

    def save_error(self, run: OptimizationRun, text: str) -> Path:
        """Write why a run failed; return where."""
        path = self.path / RUNS / run.identifier / ERROR
        path.parent.mkdir(parents=True, exist_ok=True)
        write_content(path, f"{run.name}\n\n{text}")
        return path


def holds_optimizer_study(path: Path) -> bool:
    """Return whether a folder has results of a study of optimizers."""
    try:
        return _definition(path).get(_KEY) == KIND
    except (OSError, ValueError):
        return False


def _definition(path: Path) -> dict[str, Any]:
    data = json.loads((path / DEFINITION).read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError("it is no table")
    return data
