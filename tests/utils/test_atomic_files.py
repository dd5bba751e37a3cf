from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_yield.utils.files import (
    remove_unfinished,
    sha256_of,
    write_atomically,
    write_bytes_atomically,
    write_text_atomically,
)

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from aegis_yield.utils.files import write_atomically

def write(path):
    path.write_bytes(b"half of the new cont")
    {death}

write_atomically(Path(sys.argv[1]), write)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_content_arrives(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "a", b"\x00\xff")
    write_text_atomically(tmp_path / "b", "Rendite 5 % ✓")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "Rendite 5 % ✓".encode()


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "models" / "v2" / "m.pth", b"x")
    assert (tmp_path / "models" / "v2" / "m.pth").read_bytes() == b"x"


def test_the_old_content_stands_until_the_new_one_is_complete(target: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(b"new, first half; ")
        assert target.read_bytes() == b"old"
        with temporary.open("ab") as stream:
            stream.write(b"second half")
        assert target.read_bytes() == b"old"

    write_atomically(target, write)
    assert target.read_bytes() == b"new, first half; second half"


def test_a_reader_never_sees_a_mixture(target: Path) -> None:
    contents = {bytes([letter]) * 300_000 for letter in b"abcdefgh"}

    def write_them_all() -> None:
        for content in contents:
            write_bytes_atomically(target, content)

    writer = threading.Thread(target=write_them_all)
    seen = {target.read_bytes()}
    writer.start()
    while writer.is_alive():
        seen.add(target.read_bytes())
    writer.join()
    assert seen <= contents | {b"old"}


def test_the_temporary_file_has_the_suffix_of_the_target(target: Path) -> None:
    seen: list[str] = []
    write_atomically(target, lambda temporary: seen.append(temporary.suffix))
    assert seen == [".parquet"]


def test_a_failing_writer_leaves_the_old_file_and_no_litter(target: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        write_atomically(target, write)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_a_failing_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "new", lambda temporary: 1 // 0)
    assert list(tmp_path.iterdir()) == []


def test_success_leaves_no_litter(target: Path) -> None:
    write_bytes_atomically(target, b"new")
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("death", "code"),
    [("os._exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_a_process_killed_in_the_middle_leaves_the_old_content(target: Path, death: str, code: int) -> None:
    command = [sys.executable, "-c", KILLED_WRITER.format(death=death), str(target)]
    assert subprocess.run(command, check=False, timeout=60).returncode == code
    assert target.read_bytes() == b"old"
    write_bytes_atomically(target, b"the next writer is not disturbed")
    assert target.read_bytes() == b"the next writer is not disturbed"


@pytest.mark.parametrize("name", ["table.parquet", "20260301T0001-abc.json.gz", "CURRENT", "a.b.parquet", "-.-"])
def test_what_a_killed_writer_left_can_be_removed_and_nothing_else_is(tmp_path: Path, name: str) -> None:
    death = "os.kill(os.getpid(), signal.SIGKILL)"
    command = [sys.executable, "-c", KILLED_WRITER.format(death=death), str(tmp_path / name)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    others = [name, ".lock", f".{name}", f".{name}.old", ".t.parquet.abcdefgh.csv", ".t.parquet.ABCDEFGH.parquet"]
    for other in others:
        (tmp_path / other).write_bytes(b"somebody's")
    (tmp_path / ".folder.parquet.abcdefgh.parquet").mkdir()
    (tmp_path / ".link.parquet.abcdefgh.parquet").symlink_to(tmp_path / name)
    assert remove_unfinished(tmp_path, ["another"]) == []
    assert remove_unfinished(tmp_path, [name]) == [left]
    assert {path.name for path in tmp_path.iterdir()} == {
        *others, ".folder.parquet.abcdefgh.parquet", ".link.parquet.abcdefgh.parquet",
    }  # fmt: skip
    assert remove_unfinished(tmp_path) == []
    assert remove_unfinished(tmp_path / "absent") == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], indirect=True)
def test_the_mode_is_that_of_an_ordinary_new_file(tmp_path: Path, umask: int) -> None:
    (tmp_path / "ordinary").write_bytes(b"x")
    write_bytes_atomically(tmp_path / "atomic", b"x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "atomic")}
    assert modes == {0o666 & ~umask}


def test_writing_leaves_the_umask_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o027)
    write_bytes_atomically(tmp_path / "a", b"x")
    assert os.umask(before) == 0o027


# Examples of FIPS 180-4 (NIST, "SHA256.pdf") and the empty message.
@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_sha256_gives_the_published_digests(tmp_path: Path, content: bytes, digest: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == digest


def test_a_write_that_fails_names_the_file(tmp_path: Path) -> None:
    def fill_the_disk(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device.*report\.html"):
        write_atomically(tmp_path / "report.html", fill_the_disk)
    assert list(tmp_path.iterdir()) == []
