"""A model file is data from anywhere: what is not exactly a bundle is refused, in one line, and runs nothing."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import BundleError
from aegis_yield.models import bundle as bundle_module
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.models.calibration import Calibrator
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.network import Architecture
from aegis_yield.models.scaling import FeatureScaler
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityMap

Content = dict[str, Any]


class MakesFolder:
    """A pickle of it makes a folder when it is opened by a reader that runs code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def genuine(make_bundle: Callable[..., Bundle]) -> bytes:
    return bundle_bytes(make_bundle())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lstm_v1.pth"


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text


def rezipped(genuine: bytes, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with some entries replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(genuine)) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, old.read(name)))
    return stream.getvalue()


def resaved(genuine: bytes, path: Path, change: Callable[[Content], object]) -> Path:
    """The content changed by someone who does not know the digest."""
    content = torch.load(io.BytesIO(genuine), weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_the_genuine_file_is_accepted(genuine: bytes, path: Path) -> None:
    path.write_bytes(rezipped(genuine, {}))
    assert load_bundle(path).model.name == "LSTM"


def test_a_missing_file(path: Path) -> None:
    assert "no such model file" in refusal(path)


def test_a_folder(path: Path) -> None:
    path.mkdir()
    assert "no such model file" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00" * 5_000, b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_a_foreign_file(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert "train a new one with: python scripts/train.py" in refusal(path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_is_never_opened(path: Path, tmp_path: Path, protocol: int) -> None:
    folder = tmp_path / "made"
    path.write_bytes(pickle.dumps(MakesFolder(folder), protocol=protocol))
    assert "not a model bundle (a pickle or another foreign file is never opened)" in refusal(path)
    assert not folder.exists()
    pickle.loads(path.read_bytes())  # and the payload was live
    assert folder.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_inside_the_archive_runs_nothing(
    genuine: bytes, path: Path, tmp_path: Path, protocol: int
) -> None:
    payload = pickle.dumps(MakesFolder(tmp_path / "made"), protocol=protocol)
    path.write_bytes(rezipped(genuine, {"archive/data.pkl": payload}))
    assert "cannot load as plain weights" in refusal(path)
    assert not (tmp_path / "made").exists()


def test_a_malicious_pickle_before_the_archive_runs_nothing(genuine: bytes, path: Path, tmp_path: Path) -> None:
    path.write_bytes(pickle.dumps(MakesFolder(tmp_path / "made"), protocol=2) + genuine)
    refusal(path)
    assert not (tmp_path / "made").exists()


def test_a_script_module_runs_nothing(genuine: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/version", b"3\n")
    refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_bundle(genuine: bytes, path: Path, share: float) -> None:
    path.write_bytes(genuine[: int(share * len(genuine))])
    refusal(path)


def test_a_flipped_byte_in_a_weight(genuine: bytes, path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(genuine)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    damaged = bytearray(genuine)
    damaged[largest.header_offset + 500] ^= 1
    path.write_bytes(damaged)
    assert "damaged" in refusal(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), bit=st.integers(0, 7), near_the_end=st.booleans())
@example(where=0.0, bit=0, near_the_end=False)
@example(where=0.99999, bit=0, near_the_end=False)
def test_a_flipped_bit_is_refused_or_harmless(
    genuine: bytes, path: Path, where: float, bit: int, near_the_end: bool
) -> None:
    """Headers hold times and padding that decide nothing; any other bit must not pass."""
    damaged = bytearray(genuine)
    span = 4_000 if near_the_end else len(genuine)  # the directory of the archive
    damaged[len(genuine) - 1 - int(where * (span - 1))] ^= 1 << bit
    path.write_bytes(damaged)
    with contextlib.suppress(BundleError):
        assert bundle_bytes(load_bundle(path)) == genuine


def test_every_flag_and_name_of_the_archive_can_break_without_a_traceback(genuine: bytes, path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(genuine)) as archive:
        start = archive.start_dir
    for offset, bit in [(start + 8, 0), (start + 8, 5), (start + 46, 7), (start + 28, 7), (26, 4), (30, 7)]:
        damaged = bytearray(genuine)
        damaged[offset] ^= 1 << bit  # encrypted, patched, not UTF-8, lengths that lie
        path.write_bytes(damaged)
        refusal(path)


def test_a_tampered_weight(genuine: bytes, path: Path) -> None:
    resaved(genuine, path, lambda content: content["members"][0]["head.bias"].add_(1.0))
    assert "does not match its digest" in refusal(path)


@pytest.mark.parametrize("part", ["calibration", "scaler", "provenance", "recipe", "volatility_map", "digest"])
def test_a_missing_part(genuine: bytes, path: Path, part: str) -> None:
    resaved(genuine, path, lambda content: content.pop(part))
    refusal(path)


@pytest.mark.parametrize("version", [0, 4, "1", True, None])
def test_another_format_version(genuine: bytes, path: Path, version: Any) -> None:
    resaved(genuine, path, lambda content: content.update(format_version=version))
    assert f"format version {version!r}, this release reads 1, 2 and 3" in refusal(path)


@pytest.mark.parametrize("change", [list.reverse, list.pop, lambda names: names.append("moon_phase")])
def test_another_feature_list(genuine: bytes, path: Path, change: Callable[[list[str]], object]) -> None:
    resaved(genuine, path, lambda content: change(content["feature_names"]))
    assert "made for other input features" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_archive_could_unpack_to_any_size(genuine: bytes, path: Path, compression: int) -> None:
    path.write_bytes(rezipped(genuine, {}, compression))
    assert "damaged or foreign" in refusal(path)


def test_an_oversized_file(genuine: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(genuine)
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_BYTES", len(genuine) - 1)
    assert f"received {len(genuine):,} bytes, allowed are {len(genuine) - 1:,}" in refusal(path)
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_BYTES", len(genuine))
    assert load_bundle(path)


def test_a_tensor_that_pretends_to_be_vast(genuine: bytes, path: Path) -> None:
    vast = torch.zeros(1, dtype=torch.float64).expand(10**12)  # one number, a stride of zero
    resaved(genuine, path, lambda content: content.update(volatility_map=vast))
    assert path.stat().st_size < 1_000_000
    refusal(path)


@pytest.mark.parametrize("save", [lambda c: c["members"][0], lambda c: c["members"], lambda c: c["scaler"]["mean"]])
def test_bare_weights(genuine: bytes, path: Path, save: Callable[[Content], object]) -> None:
    torch.save(save(torch.load(io.BytesIO(genuine), weights_only=True)), path)
    assert "weights without a bundle around them" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": torch.ones(2)},
        {"format_version": torch.ones(2)},
        {"feature_names": torch.ones(2)},
        {"members": {1: torch.ones(2), "a": 2}},
        {"provenance": torch.ones(2, dtype=torch.bfloat16)},
    ],
)
def test_content_of_other_types(genuine: bytes, path: Path, change: Content) -> None:
    resaved(genuine, path, lambda content: content.update(change))
    refusal(path)


def wide(model: LstmModel) -> LstmModel:
    return replace(model, architecture=replace(model.architecture, hidden_1=10**7))


def short_scaler(model: LstmModel) -> LstmModel:
    return replace(model, scaler=FeatureScaler(model.scaler.mean[1:], model.scaler.std[1:]))


def zero_scaler(model: LstmModel) -> LstmModel:
    return replace(model, scaler=FeatureScaler(model.scaler.mean, 0 * model.scaler.std))


def other_inputs(model: LstmModel) -> LstmModel:
    return replace(model, architecture=Architecture(n_inputs=3))


def missing_weight(model: LstmModel) -> LstmModel:
    first = {name: tensor for name, tensor in model.members[0].items() if name != "dense.bias"}
    return replace(model, members=(first,))


def broken_weight(model: LstmModel) -> LstmModel:
    return replace(model, members=({**model.members[0], "head.bias": torch.tensor([0.0, float("nan")]).half()},))


def no_members(model: LstmModel) -> LstmModel:
    return replace(model, members=())


def short_map(model: LstmModel) -> LstmModel:
    return replace(model, volatility_map=VolatilityMap(np.zeros(3)))


@pytest.mark.parametrize(
    "change",
    [wide, short_scaler, zero_scaler, other_inputs, missing_weight, broken_weight, no_members, short_map],
)
def test_a_sealed_bundle_whose_model_cannot_work(
    make_bundle: Callable[..., Bundle], path: Path, change: Callable[[LstmModel], LstmModel]
) -> None:
    """Somebody who can compute the digest gets no further."""
    bundle = make_bundle()
    path.write_bytes(bundle_bytes(replace(bundle, model=change(bundle.model))))
    assert "incomplete or malformed" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"category": np.full(200, 99)},
        {"horizon_days": np.zeros(200)},
        {"known_day": np.zeros(199)},
        {"ratio": np.full((200, 8), np.nan)},
        {"ratio": np.zeros((200, 7))},
        {"state": np.zeros(199)},
        {"strategy": np.zeros(199)},
    ],
)
def test_a_sealed_bundle_whose_scores_cannot_be_used(
    make_bundle: Callable[..., Bundle], path: Path, change: dict[str, np.ndarray]
) -> None:
    bundle = make_bundle(n_scores=200)
    broken = Calibrator(replace(bundle.calibrator.pool, **change))
    path.write_bytes(bundle_bytes(replace(bundle, calibrator=broken)))
    assert "incomplete or malformed" in refusal(path)


@pytest.mark.parametrize("halflife", [0.0, -1.0, float("nan")])
def test_a_sealed_bundle_without_a_halflife(make_bundle: Callable[..., Bundle], path: Path, halflife: float) -> None:
    bundle = make_bundle()
    path.write_bytes(bundle_bytes(replace(bundle, calibrator=replace(bundle.calibrator, halflife_days=halflife))))
    assert "incomplete or malformed" in refusal(path)


@pytest.mark.parametrize("prior", [0.0, -1.0, float("nan"), float("inf")])
def test_a_sealed_bundle_with_a_prior_that_is_none(
    make_bundle: Callable[..., Bundle], path: Path, prior: float
) -> None:
    bundle = make_bundle()
    path.write_bytes(bundle_bytes(replace(bundle, calibrator=replace(bundle.calibrator, record_prior=prior))))
    assert "incomplete or malformed" in refusal(path)


def test_provenance_that_is_no_table(make_bundle: Callable[..., Bundle], path: Path) -> None:
    path.write_bytes(bundle_bytes(replace(make_bundle(), provenance=["a list"])))
    assert "incomplete or malformed" in refusal(path)
