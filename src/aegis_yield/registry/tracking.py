"""The tracking store: MLflow as the record of runs, versions and aliases. The only module that imports MLflow.

MLflow is imported when a store is opened, never before. Everything written can be written again without doubling: runs
are found by the id of their record, versions by the digest of their bundle, points of curves by step and time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import AegisError, RegistryError, TrackingError
from aegis_yield.registry.outbox import Receipt
from aegis_yield.registry.records import BundleFact, Point, Record, finite
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.utils.files import sha256_of

EXPERIMENT: Final = "aegis-yield"
MODEL: Final = "lstm"
"""Name of the registered model."""

BUNDLE_FOLDER: Final = "bundle"
ID_TAG: Final = "aegis.id"
NAME_TAG: Final = "aegis.bundle"
SHA256_TAG: Final = "aegis.sha256"
CONNECT_S: Final = 5
_BATCH: Final = {"metrics": 900, "params": 90, "tags": 90}
"""MLflow takes at most 1000 figures and 100 texts at once."""

_QUIET: Final = {
    # Nothing is told to anybody but the store that was named.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # A server that takes a request and never answers is given up after twice this, seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class CorruptArtifactError(TrackingError):
    """Bytes that are not those that were recorded."""


@dataclass(frozen=True)
class TrackingStore:
    """An open store.

    Attributes
    ----------
    settings : TrackingSettings
        Where it is.
    client : MlflowClient
        Connected, with experiment and registered model in place.
    experiment_id : str
        Of :data:`EXPERIMENT`.
    """

    settings: TrackingSettings
    client: Any
    experiment_id: str

    @classmethod
    def open(cls, settings: TrackingSettings) -> TrackingStore:
        """Connect; a new store is set up, which takes seconds once.

        Raises
        ------
        TrackingError
            If the store cannot be reached, or MLflow is not installed.
        """
        with _speaking_of(settings):
            _quieten()
            _probe(settings.uri)
            from mlflow.tracking import MlflowClient

            client = MlflowClient(_patient(settings.uri), _patient(settings.uri))
            return cls(settings, client, _experiment(client, settings))

    def begin(self, record: Record) -> str:
        """Return the run of a record, started if it is new."""
        with _speaking_of(self.settings):
            return self._run(record)

    def log(self, run_id: str, points: Mapping[str, Sequence[Point]]) -> None:
        """Add points to curves."""
        from mlflow.entities import Metric

        entries = [
            Metric(name, point.value, point.at_ms, point.step) for name, curve in points.items() for point in curve
        ]
        with _speaking_of(self.settings):
            for part in _parts(entries, _BATCH["metrics"]):
                self.client.log_batch(run_id, metrics=part)

    def deliver(self, record: Record, bundle: Path | None) -> Receipt | None:
        """Write a complete record, its bundle and its files; what is there already is left.

        Parameters
        ----------
        record : Record
            What happened.
        bundle : Path or None
            The bundle's file; None if it is gone.

        Returns
        -------
        Receipt or None
            Run and version; None without a bundle.

        Raises
        ------
        CorruptArtifactError
            If the file is not the recorded one, before or after it was stored.
        TrackingError
            If the store fails.
        """
        with _speaking_of(self.settings):
            if record.kind == "deletion":
                self._retire(record)
                return None
            if record.kind == "import" and (known := self._version(record.bundle)) and record.bundle:
                return self._receipt(record.bundle, known)
            run_id = self._run_of_bundle(record) if record.kind == "scores" else self._run(record)
            self._write_facts(run_id, record)
            for place, file in record.files.items():
                if Path(file).is_file():  # else a delivery that was killed at its end had put it away already
                    self.client.log_artifact(run_id, file, place.rpartition("/")[0] or None)
            if record.kind == "scores":
                return None
            receipt = self._register(run_id, record.bundle, bundle) if record.bundle and bundle else None
            self.client.set_terminated(run_id, record.outcome, record.ended_ms)
            return receipt

    def mirror(self, aliases: Mapping[str, BundleFact | None]) -> None:
        """Let the store's aliases be those of the models folder; an alias without a version is taken away."""
        with _speaking_of(self.settings):
            held = dict(self.client.get_registered_model(MODEL).aliases)
            for alias, fact in aliases.items():
                version = self._version(fact) if fact else None
                if version is not None and str(held.get(alias)) != str(version.version):
                    self.client.set_registered_model_alias(MODEL, alias, version.version)
                elif version is None and alias in held:
                    self.client.delete_registered_model_alias(MODEL, alias)

    def facts(self, bundle: BundleFact) -> dict[str, Any] | None:
        """Return what is recorded of a bundle: run, version, parameters, figures; None if nothing is."""
        with _speaking_of(self.settings):
            version = self._version(bundle)
            if version is None:
                return None
            run = self.client.get_run(version.run_id)
            return {
                "run_id": version.run_id,
                "version": str(version.version),
                "parameters": dict(run.data.params),
                "metrics": dict(run.data.metrics),
                "tags": {name: text for name, text in run.data.tags.items() if not name.startswith("mlflow.")},
            }

    def fetch(self, reference: str) -> tuple[str, bytes]:
        """Return name and bytes of a recorded bundle, by MLflow's version number, an alias or its name.

        Raises
        ------
        RegistryError
            If the store has no such version.
        CorruptArtifactError
            If the stored bytes are not those that were recorded.
        """
        with _speaking_of(self.settings):
            version = self._named(reference)
            name, wanted = version.tags[NAME_TAG], version.tags[SHA256_TAG]
            with tempfile.TemporaryDirectory() as folder:
                content = self._stored(version.run_id, name, Path(folder))
        if hashlib.sha256(content).hexdigest() != wanted:
            raise CorruptArtifactError(
                f"{self.settings.address}: the stored file of version {version.version} ({name}) is not the one that "
                f"was recorded (SHA-256 {wanted[:8]}…): damaged or changed; restore it from a copy or train again"
            )
        return name, content

    def _named(self, reference: str) -> Any:
        found = [one for one in self._versions() if reference in (str(one.version), one.tags.get(NAME_TAG))]
        aliases = dict(self.client.get_registered_model(MODEL).aliases)
        found += [one for one in self._versions() if str(one.version) == str(aliases.get(reference))]
        if not found:
            known = ", ".join(f"{one.version} ({one.tags.get(NAME_TAG, '?')})" for one in self._versions()) or "none"
            raise RegistryError(f"{self.settings.address}: no version {reference!r}; there are: {known}")
        return found[0]

    def _run(self, record: Record) -> str:
        held = self.client.search_runs([self.experiment_id], f"tags.`{ID_TAG}` = '{record.id}'", max_results=1)
        if held:
            return str(held[0].info.run_id)
        run = self.client.create_run(
            self.experiment_id,
            start_time=record.started_ms,
            tags={ID_TAG: record.id, **record.tags},
            run_name=record.title,
        )
        return str(run.info.run_id)

    def _run_of_bundle(self, record: Record) -> str:
        version = self._version(record.bundle) if record.bundle else None
        if version is None:
            raise RegistryError(f"{record.title}: scores of a bundle that is not recorded; run: aegis models sync")
        return str(version.run_id)

    def _write_facts(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Param, RunTag

        metrics = {name: (Point(0, value, record.ended_ms),) for name, value in finite(record.metrics).items()}
        self.log(run_id, {**record.curves, **metrics})
        for part in _parts([Param(name, str(value)) for name, value in record.parameters.items()], _BATCH["params"]):
            self.client.log_batch(run_id, params=part)
        tags = dict(record.tags)
        if record.bundle and record.kind != "scores":
            tags |= {NAME_TAG: record.bundle.name, SHA256_TAG: record.bundle.sha256}
        for part in _parts([RunTag(name, text) for name, text in tags.items()], _BATCH["tags"]):
            self.client.log_batch(run_id, tags=part)

    def _register(self, run_id: str, fact: BundleFact, bundle: Path) -> Receipt:
        _check_bytes(sha256_of(bundle), fact, str(bundle))
        self.client.log_artifact(run_id, str(bundle), BUNDLE_FOLDER)
        with tempfile.TemporaryDirectory() as folder:
            stored = self._stored(run_id, bundle.stem, Path(folder))
        _check_bytes(hashlib.sha256(stored).hexdigest(), fact, f"{self.settings.address}, run {run_id}")
        return self._receipt(fact, self._version(fact) or self._create_version(run_id, fact))

    def _receipt(self, fact: BundleFact, version: Any) -> Receipt:
        return Receipt(fact.name, fact.sha256, str(version.run_id), str(version.version), self.settings.address)

    def _create_version(self, run_id: str, fact: BundleFact) -> Any:
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{BUNDLE_FOLDER}"
        tags = {NAME_TAG: fact.name, SHA256_TAG: fact.sha256}
        return self.client.create_model_version(MODEL, source, run_id, tags=tags)

    def _stored(self, run_id: str, name: str, folder: Path) -> bytes:
        place = f"{BUNDLE_FOLDER}/{name}.pth"
        return Path(self.client.download_artifacts(run_id, place, str(folder))).read_bytes()

    def _version(self, fact: BundleFact | None) -> Any:
        if fact is None:
            return None
        wanted = (fact.name, fact.sha256)
        same = [one for one in self._versions() if (one.tags.get(NAME_TAG), one.tags.get(SHA256_TAG)) == wanted]
        return same[0] if same else None

    def _versions(self) -> list[Any]:
        found: list[Any] = []
        page = None
        while True:
            page = self.client.search_model_versions(f"name='{MODEL}'", max_results=500, page_token=page or None)
            found += page
            page = page.token
            if not page:
                return found

    def _retire(self, record: Record) -> None:
        version = self._version(record.bundle)
        if version is not None:
            self.client.set_tag(version.run_id, "aegis.deleted", record.tags.get("reason", ""))
            self.client.delete_model_version(MODEL, version.version)


def _check_bytes(received: str, fact: BundleFact, where: str) -> None:
    if received != fact.sha256:
        raise CorruptArtifactError(
            f"{where}: the bytes of {fact.name} are not those that were recorded "
            f"(SHA-256 {received[:8]}…, recorded {fact.sha256[:8]}…): damaged or changed, refused"
        )


def _parts(entries: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(entries[first : first + size]) for first in range(0, len(entries), size))


def _quieten() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _probe(uri: str) -> None:
    """Ask once, with short patience: MLflow itself would retry for minutes before it says no."""
    if uri.startswith("http"):
        import requests

        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=CONNECT_S).raise_for_status()
        except requests.Timeout as error:
            raise TimeoutError(f"no answer for {CONNECT_S} s") from error
        return
    import sqlalchemy

    url = sqlalchemy.make_url(_patient(uri))
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _patient(uri: str) -> str:
    """Return the address with a bound on connecting, where its driver would wait for minutes."""
    if not uri.startswith("postgresql") or "connect_timeout" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={CONNECT_S}"


def _experiment(client: Any, settings: TrackingSettings) -> str:
    from mlflow.exceptions import MlflowException

    held = client.get_experiment_by_name(EXPERIMENT)
    if held is None:
        try:
            location = settings.artifacts or None
            if location and "://" not in location:
                location = Path(location).resolve().as_uri()
            client.create_experiment(EXPERIMENT, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # else another training was quicker
                raise
        held = client.get_experiment_by_name(EXPERIMENT)
    try:
        client.get_registered_model(MODEL)
    except MlflowException:
        try:
            client.create_registered_model(MODEL)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    return str(held.experiment_id)


@contextmanager
def _speaking_of(settings: TrackingSettings) -> Iterator[None]:
    """Turn whatever MLflow, a database or a server raises into one line that names the store."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about MLflow's own use of its libraries
            yield
    except AegisError:
        raise
    except ModuleNotFoundError as error:
        raise TrackingError(_missing(error)) from error
    except _failures() as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__).replace(settings.uri, settings.address)
        raise TrackingError(f"{settings.address}: {reason}") from error


def _missing(error: ModuleNotFoundError) -> str:
    extra = "postgres" if str(error.name).startswith("psycopg") else "track"
    return f"recording needs {error.name}; install it with: pip install 'aegis-yield[{extra}]'"


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError, ValueError)
