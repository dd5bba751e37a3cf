"""The raw zone: every answer as it was received, with its provenance; written once, never changed.

A file ``raw/<source>/<dataset>/dt=YYYY-MM-DD/<raw_id>.json.gz`` holds one line of provenance and then the exact bytes
of the body, so ``zcat`` shows both. Where the body equals the one before it of the same question, the file holds
provenance only and says whose body it shares.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.collection.units import Demand, Page, Request, WorkUnit
from aegis_yield.domain.errors import CollectionError
from aegis_yield.utils.files import remove_unfinished, write_bytes_atomically

FORMAT: Final = 1
_ADVICE: Final = "delete the file and collect again"
SUFFIX: Final = ".json.gz"
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_STAMP: Final = "%Y%m%dT%H%M%S%f"
_STAMP_CHARS: Final = 21
_TICK: Final = dt.timedelta(microseconds=1)
_READ: Final = frozenset(
    {
        "format", "raw_id", "unit", "source", "dataset", "entity", "request", "fetched_at", "verdict", "is_probe",
        "sha256", "body_of",
    }
)  # fmt: skip
_LEVEL: Final = 3
"""Of gzip: most of the gain at a third of the time."""


@dataclass(frozen=True)
class Answer:
    """What came back for a request.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : mapping
        Response headers.
    body : bytes
        After content decoding.
    url : str
        As asked, secrets redacted.
    fetched_at : datetime
        When the body was complete, UTC.
    duration_ms : float
        From asking to the last byte.
    attempt : int
        1 for the first try.
    verdict : str
        Empty if the answer is good, else what is wrong with it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    fetched_at: dt.datetime
    duration_ms: float
    attempt: int
    verdict: str = ""


class RawZone:
    """Append-only storage of answers under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last_body: dict[str, tuple[str, str]] = {}
        self._last_stamp: int | None = None

    def land(self, unit: WorkUnit, request: Request, answer: Answer) -> str:
        """Write one answer and return its raw_id; on return it is on the disk.

        The request must hold no secrets (see ``redaction``).
        """
        raw_id = self._next_id(answer.fetched_at, unit)
        digest = hashlib.sha256(answer.body).hexdigest()
        question = _question(unit.demand, request)
        same, before = self._last_body.get(question, ("", ""))
        shared = before if same == digest and not answer.verdict else ""
        provenance = {
            "format": FORMAT,
            "raw_id": raw_id,
            "unit": unit.id,
            "source": unit.demand.source,
            "dataset": unit.demand.dataset,
            "entity": unit.demand.entity,
            "window": [unit.start.isoformat(), unit.end.isoformat()],
            "url": answer.url,
            "request": {
                "host": request.host,
                "path": request.path,
                "params": dict(request.params),
                "body": request.body,
                "context": dict(request.context),
            },
            "status": answer.status,
            "headers": dict(answer.headers),
            "fetched_at": answer.fetched_at.isoformat(),
            "duration_ms": round(answer.duration_ms, 1),
            "attempt": answer.attempt,
            "verdict": answer.verdict,
            "is_probe": request.is_probe,
            "sha256": digest,
            "body_of": shared,
        }
        line = json.dumps(provenance, separators=(",", ":")).encode() + b"\n"
        content = gzip.compress(line if shared else line + answer.body, _LEVEL, mtime=0)
        write_bytes_atomically(self._path(unit.demand, raw_id), content)
        if not answer.verdict:
            self._last_body[question] = (digest, shared or raw_id)
        return raw_id

    def page(self, path: Path) -> Page | None:
        """Read one file back; None if the answer was an error or only a probe.

        Raises
        ------
        CollectionError
            If the file is damaged: its bytes do not have the hash that was recorded.
        """
        provenance, body = self._read(path)
        if provenance["verdict"] or provenance["is_probe"]:
            return None
        demand = Demand(provenance["source"], provenance["dataset"], provenance["entity"])
        if provenance["body_of"]:
            _, body = self._read(self._path(demand, provenance["body_of"]))
        if hashlib.sha256(body).hexdigest() != provenance["sha256"]:
            raise CollectionError(f"{path}: received bytes other than were recorded; {_ADVICE}")
        fetched_at = dt.datetime.fromisoformat(provenance["fetched_at"])
        return Page(provenance["raw_id"], demand, provenance["unit"], provenance["request"], fetched_at, body)

    def files(self, since: dt.date | None = None) -> Iterator[Path]:
        """Yield all files of days from ``since`` on, in the order in which they were fetched."""
        found = (
            path
            for day in self.folder.glob("*/*/dt=*")
            if since is None or day.name.removeprefix("dt=") >= since.isoformat()
            for path in day.glob(f"*{SUFFIX}")
            if not path.name.startswith(".")
        )
        yield from sorted(found, key=lambda path: path.name)

    def sweep(self) -> None:
        """Remove what a killed writer left unfinished; only for whoever alone may write here."""
        # It was at work on the newest day that there is, or had just left the one before it.
        for day in sorted({path.name for path in self.folder.glob("*/*/dt=*")})[-2:]:
            for folder in self.folder.glob(f"*/*/{day}"):
                remove_unfinished(folder)

    def path_of(self, demand: Demand, raw_id: str) -> Path:
        """Return where an answer lies."""
        return self._path(demand, raw_id)

    def _path(self, demand: Demand, raw_id: str) -> Path:
        day = f"dt={raw_id[:4]}-{raw_id[4:6]}-{raw_id[6:8]}"
        return self.folder / demand.source / demand.dataset / day / f"{raw_id}{SUFFIX}"

    def _next_id(self, fetched_at: dt.datetime, unit: WorkUnit) -> str:
        # Two answers within a microsecond, or a clock set back, even between two runs, must not change places.
        last = self._newest_stamp() if self._last_stamp is None else self._last_stamp
        self._last_stamp = stamp = max((fetched_at - _EPOCH) // _TICK, last + 1)
        return f"{_EPOCH + stamp * _TICK:{_STAMP}}-{unit.id[:12]}"

    def _newest_stamp(self) -> int:
        for day in sorted({path.name for path in self.folder.glob("*/*/dt=*")}, reverse=True):
            stamps = [path.name[:_STAMP_CHARS] for path in self.folder.glob(f"*/*/{day}/[0-9]*{SUFFIX}")]
            if stamps:
                moment = dt.datetime.strptime(max(stamps), _STAMP).replace(tzinfo=dt.UTC)
                return (moment - _EPOCH) // _TICK
        return 0

    def _read(self, path: Path) -> tuple[dict[str, Any], bytes]:
        try:
            line, _, body = gzip.decompress(path.read_bytes()).partition(b"\n")
            provenance = json.loads(line)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise CollectionError(f"{path}: cannot be read as a raw answer ({error}); {_ADVICE}") from error
        if not isinstance(provenance, dict) or not provenance.keys() >= _READ or provenance["format"] != FORMAT:
            raise CollectionError(f"{path}: is not a raw answer of format {FORMAT}; {_ADVICE}")
        return provenance, body


def _question(demand: Demand, request: Request) -> str:
    """Two requests ask the same if nothing but the time differs; a hash, because all of a run are remembered."""
    asked = (request.host, request.path, sorted(request.params.items()), request.body, dict(request.context))
    whole = json.dumps([demand.source, demand.dataset, demand.entity, *asked], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()
