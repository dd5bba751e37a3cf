"""A throw-away PostgreSQL of the tests' own: Debian's programs, a temporary folder, an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

DATABASE = "postgres"
USER = "aegis"
UNPRIVILEGED = ("postgres", "nobody")
WHERE_FROM = "scripts/install_postgres.sh installs Debian's"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest version's, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = [folder for folder in folders if (folder / "initdb").exists()]
    on_path = shutil.which("initdb")
    return found[-1] if found else Path(on_path).resolve().parent if on_path else None


def unprivileged_user() -> str | None:
    """Whom to run the server as, which refuses to run as root; None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


class Cluster:
    """A server on a free port of this machine; start and stop it as often as you like."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = unprivileged_user()
        self._root = Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
        if self._user:
            shutil.chown(self._root, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")

    @property
    def uri(self) -> str:
        return f"postgresql://{USER}:secret@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def _data(self) -> str:
        return str(self._root / "data")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories={self._root} -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-l", str(self._root / "log"), "-o", options, "start")

    def vanish(self) -> None:
        """Stop at once, connections and all."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def new_database(self, name: str, template: str = "template1") -> str:
        """Make a database and return its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-T", template, name)
        return f"postgresql://{USER}:secret@127.0.0.1:{self.port}/{name}"

    def is_running(self) -> bool:
        status = self._command("pg_ctl", "-D", self._data, "status")
        return subprocess.run(status, user=self._user, cwd=self._root, capture_output=True, check=False).returncode == 0

    def remove(self) -> None:
        if self.is_running():
            self.vanish()
        shutil.rmtree(self._root, ignore_errors=True)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._binaries / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        # Its output goes to a file: the server inherits it, and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                self._command(program, *arguments), user=self._user, cwd=self._root, stdout=output,
                stderr=subprocess.STDOUT, timeout=120, check=False,
            )  # fmt: skip
            output.seek(0)
            assert done.returncode == 0, output.read().decode()
