"""Lookups of the playground beside suggestions: the model, tokens, sources, typed files.

Every function takes the body of a request and returns the body of the answer. Paths in a request
are never opened. This module must not know HTTP.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from codeling.errors import InputError
from codeling.generation.engine import Engine
from codeling.generation.suggestions.suggester import THRESHOLDS
from codeling.memory.mixture import MemoryMixture
from codeling.provenance.index import Index
from codeling.provenance.winnowing import GUARANTEE
from codeling.run_folder import RunFolder
from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Json
from codeling.serving.protocol.fields import Body
from codeling.serving.protocol.query import RequestError
from codeling.serving.settings import MODEL_NAME

MAX_TRACED_CHARACTERS = 200_000
_MAX_MATCHES = 40
_MAX_TYPED_FILES = 40
_PAGES = (("report.html", "Report of the run"), ("evaluation.html", "Evaluation"))
_TYPED_KEYS = ("begin", "text", "events", "characters", "saved", "accepted", "shown", "wrong")

PlaygroundText = Annotated[str, Field(max_length=MAX_TRACED_CHARACTERS)]


class PlaygroundExcerpt(Body):
    """A part of the text in the editor: whole lines."""

    text: PlaygroundText


class Lookups:
    """Answers about one model and its run."""

    def __init__(self, engine: Engine, run: RunFolder | None, threshold: float) -> None:
        self._engine = engine
        self._run = run
        self._threshold = threshold
        self._lock = threading.Lock()

    def about(self) -> Json:
        """The model's sizes, and its memory, index and pages."""
        memory = self._engine.memory
        names = memory.names if isinstance(memory, MemoryMixture) else ()
        run = self._run
        levels = {value: name for name, value in THRESHOLDS.items()}
        return {
            "model": run.path.resolve().name if run else MODEL_NAME,
            "context_length": self._engine.runner.context_length,
            "vocab_size": self._engine.tokenizer.vocab_size,
            "can_infill": self._engine.tokenizer.can_infill,
            "sources": ["model", *names],
            "aggressiveness": levels.get(self._threshold),
            "has_provenance": run is not None and run.provenance.is_dir(),
            "min_lexemes": GUARANTEE,
            "pages": [
                {"path": f"/run/{name}", "title": title}
                for name, title in _PAGES
                if run and (run.path / name).is_file()
            ],
            "has_typing": self._newest_typing() is not None,
        }

    def tokens(self, body: Json) -> Json:
        """Where the tokenizer cuts a text: the ends of its tokens, in UTF-16 code units.

        A token that ends within a character has the end of the one before.
        """
        text = fields.read(PlaygroundExcerpt, body).text
        tokenizer = self._engine.tokenizer
        ends, num_units, pending = [], 0, b""
        for token in tokenizer.encode(text):
            pending += tokenizer.token_bytes[token]
            try:
                decoded = pending.decode()
            except UnicodeDecodeError:
                pass
            else:
                num_units += len(decoded.encode("utf-16-le")) // 2
                pending = b""
            ends.append(num_units)
        return {"ends": ends}

    def trace(self, body: Json) -> Json:
        """Places of a text's passages in the training data, the longest first.

        :raises RequestError: the model has no provenance index (404).
        """
        text = fields.read(PlaygroundExcerpt, body).text
        with self._lock:  # the first one opens the index
            index = self._index
        if index is None:
            raise RequestError(404, "the model has no provenance index")
        return {"matches": [asdict(match) for match in index.trace(text, limit=_MAX_MATCHES)]}

    def typing(self) -> Json:
        """The files of the newest result of the suite ``typing``, with what was shown."""
        path = self._newest_typing()
        if path is None:
            raise RequestError(404, "no result of the suite typing; codeling evaluate makes one")
        try:
            values = json.loads(path.read_bytes())
            records = [record for record in values["problems"] if "events" in record]
            return {
                "accept": values.get("settings", {}).get("accept", "word"),
                "files": [_typed_file(record) for record in records[:_MAX_TYPED_FILES]],
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path.name} of the suite typing cannot be read") from error

    def page(self, parts: Sequence[str]) -> Path | None:
        """A page of the run by the parts of its path: only those that a run is known to have."""
        if self._run is None:
            return None
        folder = self._run.path
        found: dict[tuple[str, ...], Path] = {(name,): folder / name for name, _ in _PAGES}
        if len(parts) == 3:  # evaluation/NAME-IDENTITY/evaluation.html
            found |= {
                ("evaluation", each.name, "evaluation.html"): each / "evaluation.html"
                for each in _folders(folder / "evaluation")
            }
        path = found.get(tuple(parts))
        return path if path is not None and path.is_file() else None

    @cached_property
    def _index(self) -> Index | None:
        if self._run is None or not self._run.provenance.is_dir():
            return None
        return Index.load(self._run.provenance)

    def _newest_typing(self) -> Path | None:
        """The result file of the suite that was written last."""
        if self._run is None:
            return None
        folders = _folders(self._run.path / "evaluation")
        found = [each / "evaluation.json" for each in folders if each.name.startswith("typing-")]
        found = [path for path in found if path.is_file()]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _folders(path: Path) -> list[Path]:
    return [each for each in path.iterdir() if each.is_dir()] if path.is_dir() else []


def _typed_file(record: Mapping[str, Any]) -> Json:
    return {"name": record["task_id"], **{key: record[key] for key in _TYPED_KEYS}}
