"""What a user may call a version, and which file that is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from aegis_yield.domain.errors import BundleError, RegistryError
from aegis_yield.registry import find_version
from aegis_yield.registry.aliases import Why, promote


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    for number in (3, 12):
        (folder / f"lstm_v{number}.pth").write_text(f"bundle {number}")
    promote(folder, "lstm_v3", Why("a test"))
    return folder


@pytest.mark.parametrize("reference", ["12", "v12", "lstm_v12", "012"])
def test_a_version_has_several_names(models: Path, reference: str) -> None:
    assert find_version(reference) == models.resolve() / "lstm_v12.pth"


def test_an_alias_is_a_name(models: Path) -> None:
    assert find_version("champion") == models.resolve() / "lstm_v3.pth"
    assert find_version(Path("champion")) == models.resolve() / "lstm_v3.pth"


@pytest.mark.parametrize("reference", ["models/lstm_v12.pth", "lstm_v12.pth", "./12", "absent.pth", "lstm"])
def test_anything_else_is_a_path(models: Path, reference: str) -> None:
    assert find_version(reference) == Path(reference)


def test_a_file_named_like_a_version_is_reached_as_a_path(models: Path) -> None:
    Path("12").write_text("mine")
    assert find_version("12") == models.resolve() / "lstm_v12.pth"
    assert find_version("./12") == Path("12")


def test_the_name_in_answers_names_the_very_bytes(models: Path) -> None:
    digest = hashlib.sha256(b"bundle 12").hexdigest()[:8]
    assert find_version(f"lstm_v12-{digest}") == models.resolve() / "lstm_v12.pth"
    with pytest.raises(BundleError, match="holds other bytes"):
        find_version("lstm_v12-00000000")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("4", "4: no such version in"),
        ("lstm_v4", "list versions with: aegis models list"),
        ("challenger", "challenger: no version has this alias"),
    ],
)
def test_a_name_without_a_file_says_how_to_list_them(models: Path, reference: str, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        find_version(reference)


def test_an_alias_whose_file_is_gone_says_which(models: Path) -> None:
    (models / "lstm_v3.pth").unlink()
    with pytest.raises(BundleError, match=r"champion is lstm_v3, but .*lstm_v3\.pth is gone"):
        find_version("champion")


def test_a_damaged_list_of_aliases_stops_only_aliases(models: Path) -> None:
    (models / "registry.json").write_text("{")
    assert find_version("3").name == "lstm_v3.pth"
    with pytest.raises(RegistryError, match="damaged"):
        find_version("champion")
