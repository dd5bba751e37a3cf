from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import polars as pl
import pytest
from table_makers import TODAY, day, market_table, strategies_table, write_tables, yields_table

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, TableFaultsError
from aegis_yield.preprocessing.tables import (
    MAX_TABLE_BYTES,
    MissingMarketWarning,
    find_table,
    read_dataset,
    write_dataset,
)

TABLES = ("yields", "strategies", "market")


def test_what_was_written_is_read_back(small_market: Dataset, tmp_path: Path) -> None:
    write_dataset(small_market, tmp_path / "new" / "folder")
    back = read_dataset(tmp_path / "new" / "folder")
    assert back.name == str(tmp_path / "new" / "folder")
    assert back.yields.equals(small_market.yields.sort("strategy_id", "date"))
    assert back.strategies.equals(small_market.strategies)
    assert back.market.equals(small_market.market)


def test_csv_equals_parquet(small_market: Dataset, tmp_path: Path) -> None:
    tables = {name: getattr(small_market, name) for name in TABLES}
    parquet = read_dataset(write_tables(tmp_path / "parquet", **tables))
    csv = read_dataset(write_tables(tmp_path / "csv", ".csv", **tables))
    assert csv.yields.equals(parquet.yields)
    assert csv.yields.schema == parquet.yields.schema
    assert csv.strategies.equals(parquet.strategies)
    assert csv.market.equals(parquet.market)


def test_parquet_goes_before_csv(tmp_path: Path) -> None:
    write_tables(tmp_path, ".csv", yields=yields_table(apy=[9.0] * 4))
    assert find_table(tmp_path, "yields") == tmp_path / "yields.csv"
    write_tables(tmp_path)
    assert find_table(tmp_path, "yields") == tmp_path / "yields.parquet"
    assert read_dataset(tmp_path, TODAY).yields["apy"].to_list() == [0.1, 0.2, 0.3, 0.4]


def test_rows_are_sorted_by_strategy_and_date(tmp_path: Path) -> None:
    frame = yields_table(strategy_id=["b", "a", "b", "a"], date=[day(1), day(1), day(2), day(2)])
    back = read_dataset(write_tables(tmp_path, yields=frame), TODAY).yields
    assert back["strategy_id"].to_list() == ["a", "a", "b", "b"]
    assert back["apy"].to_list() == [0.2, 0.4, 0.1, 0.3]


def test_only_the_required_columns_are_required(tmp_path: Path) -> None:
    dataset = read_dataset(write_tables(tmp_path, market=market_table(eth_price=None, vix=None)), TODAY)
    assert dataset.yields.columns == ["strategy_id", "date", "apy", "is_outlier"]
    assert not dataset.yields["is_outlier"].any()


def test_unknown_columns_do_not_disturb(tmp_path: Path) -> None:
    frame = yields_table(comment=["x"] * 4, nested=[[1]] * 4)
    assert read_dataset(write_tables(tmp_path, yields=frame), TODAY).yields["apy"].to_list() == [0.1, 0.2, 0.3, 0.4]


def test_a_missing_market_warns_and_goes_on(tmp_path: Path) -> None:
    with pytest.warns(MissingMarketWarning, match="no market table"):
        dataset = read_dataset(write_tables(tmp_path, market=None), TODAY)
    assert dataset.market.columns == ["date"]
    assert dataset.market.height == 0


@pytest.mark.parametrize("table", ["yields", "strategies"])
def test_another_missing_table_is_refused_by_name(tmp_path: Path, table: str) -> None:
    with pytest.raises(DataError, match=rf"{table} is missing; allowed is {table}\.parquet or {table}\.csv"):
        read_dataset(write_tables(tmp_path, **{table: None}), TODAY)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(DataError, match="needed is a folder"):
            read_dataset(path)


def test_strategies_that_are_not_described_are_listed_with_their_first_row(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, strategies=strategies_table(strategy_id=["a", "c"]))
    with pytest.raises(TableFaultsError, match=r"must be described in strategies \(row 2 = b\)") as caught:
        read_dataset(folder, TODAY)
    assert [(fault.column, fault.n_rows) for fault in caught.value.faults] == [("strategy_id", 1)]


@pytest.mark.parametrize("table", ["yields", "strategies", "market"])
def test_a_csv_of_zero_bytes_is_an_empty_table(tmp_path: Path, table: str) -> None:
    folder = write_tables(tmp_path, ".csv")
    (folder / f"{table}.csv").write_bytes(b"")
    with pytest.raises(TableFaultsError, match=rf"^{table}: .* received an empty table"):
        read_dataset(folder, TODAY)


def test_a_csv_with_a_heading_only_is_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(TableFaultsError, match=r"yields: 1 fault: .* received an empty table"):
        read_dataset(write_tables(tmp_path, ".csv", yields=yields_table().clear()), TODAY)


def test_faults_of_a_csv_name_its_rows(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, ".csv")
    (folder / "yields.csv").write_text("strategy_id,date,apy\na,2025-01-01,0.1\na,2025-13-01,5%\na,,inf\n")
    with pytest.raises(TableFaultsError) as caught:
        read_dataset(folder, TODAY)
    faults = [(fault.column, fault.rows, fault.values) for fault in caught.value.faults]
    assert sorted(faults) == [
        ("apy", (1,), ("5%",)), ("apy", (2,), ("inf",)), ("date", (1,), ("2025-13-01",)), ("date", (2,), ("None",)),
    ]  # fmt: skip


def test_a_cell_with_line_breaks_gives_a_message_of_one_line(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, ".csv", yields=yields_table(apy=["0.1", "a\nb\r\nc", "x" * 999, "0"]))
    with pytest.raises(TableFaultsError, match="row 1 = a b c") as caught:
        read_dataset(folder, TODAY)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1" + bytes(200) + b"PAR1", "half"])
def test_a_broken_parquet_file_is_refused_in_one_line(tmp_path: Path, content: bytes | str) -> None:
    path = write_tables(tmp_path) / "yields.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"yields\.parquet: cannot be read as parquet: ") as caught:
        read_dataset(tmp_path, TODAY)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_in_a_parquet_file_never_escape_as_another_error(small_market: Dataset, tmp_path: Path) -> None:
    write_dataset(small_market, tmp_path)
    path, rng = tmp_path / "market.parquet", random.Random(1)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path.write_bytes(bytes(broken))
        try:
            read_dataset(tmp_path)
        except DataError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("content", [b"strategy_id,date,apy\na,2025-01-01,0.1,7\n", b"a,b\n\xff\xfe,\xff\n"])
def test_a_broken_csv_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    folder = write_tables(tmp_path, ".csv")
    (folder / "yields.csv").write_bytes(content)
    with pytest.raises(DataError, match="yields") as caught:
        read_dataset(folder, TODAY)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (write_tables(tmp_path) / "yields.parquet").open("wb") as stream:
        stream.truncate(MAX_TABLE_BYTES + 1)  # sparse: takes no room on disk
    with pytest.raises(DataError, match=f"{MAX_TABLE_BYTES + 1} bytes, at most {MAX_TABLE_BYTES} are read"):
        read_dataset(tmp_path, TODAY)


def test_a_folder_in_the_place_of_a_table_counts_as_missing(tmp_path: Path) -> None:
    write_tables(tmp_path, yields=None)
    (tmp_path / "yields.parquet").mkdir()
    with pytest.raises(DataError, match="yields is missing"):
        read_dataset(tmp_path, TODAY)


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        ("yields", yields_table(apy=[0.1, None, 0.3, 0.4])),
        ("strategies", strategies_table(category=["lending", "?"])),
        ("strategies", strategies_table(strategy_id=["a", "c"])),
        ("market", market_table(date=[day(1), day(1), day(2)])),
    ],
)
def test_nothing_is_written_if_a_table_is_wrong(tmp_path: Path, table: str, bad: pl.DataFrame) -> None:
    good = Dataset(yields_table(), strategies_table(), market_table(), "test")
    write_dataset(good, tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    changed = dataclasses.replace(good, **{table: bad}, name="other")
    for folder in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(TableFaultsError):
            write_dataset(changed, folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()
