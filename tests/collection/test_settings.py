from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.collection.settings import (
    ClientSettings,
    CollectionSettings,
    HostSettings,
    is_loopback,
    load_settings,
)
from aegis_yield.domain.errors import CollectionError, OfflineError, RequestError

KEY = "Zk3yZk3yZk3yZk3y"
NODE = "https://eth.example/v3/0123456789abcdef0123"


def loaded(**environment: str) -> CollectionSettings:
    return load_settings(environment={f"AEGIS_SRC__{name}": value for name, value in environment.items()})


@pytest.fixture
def write(tmp_path: Path) -> object:
    def write(content: str) -> Path:
        path = tmp_path / "sources.toml"
        path.write_text(content)
        return path

    return write


def test_the_file_that_ships_can_be_read_and_has_no_key() -> None:
    settings = load_settings(environment={})
    assert len(settings.hosts) == 13
    assert all(
        host.api_key == "" and host.base_urls and host.requests_per_second > 0 for host in settings.hosts.values()
    )
    assert len(settings.host("ethereum").base_urls) > 1  # another node takes over
    assert not any(url.endswith("/") for host in settings.hosts.values() for url in host.base_urls)
    assert settings.secrets == ()
    assert not settings.offline
    assert settings.client == ClientSettings()  # what the code falls back to is what the file says


def test_every_setting_of_a_host_can_be_set_from_outside() -> None:
    host = loaded(
        BINANCE__BASE_URL="http://127.0.0.1:9/", BINANCE__API_KEY="abcdef", BINANCE__REQUESTS_PER_SECOND="0",
        BINANCE__CONCURRENCY="7", BINANCE__TIMEOUT_S="0.25",
    ).host("binance")  # fmt: skip
    assert (host.base_urls, host.api_key) == (("http://127.0.0.1:9",), "abcdef")
    assert (host.requests_per_second, host.concurrency, host.timeout_s) == (0.0, 7, 0.25)


def test_every_setting_of_the_client_can_be_set_from_outside() -> None:
    client = loaded(
        CLIENT__ATTEMPTS="2", CLIENT__PATIENCE_S="3", CLIENT__BACKOFF_BASE_S="0.5", CLIENT__BACKOFF_CAP_S="4",
        CLIENT__BAN_S="5", CLIENT__TRANSFER_S="6", CLIENT__MAX_BODY_MB="0.1",
    ).client  # fmt: skip
    assert client == ClientSettings(2, 3.0, 0.5, 4.0, 5.0, 6.0, 0.1)


def test_what_is_not_set_from_outside_stays_as_the_file_has_it() -> None:
    plain, changed = load_settings(environment={}), loaded(BINANCE__CONCURRENCY="7")
    others = set(plain.hosts) - {"binance"}
    assert all(plain.hosts[name] == changed.hosts[name] for name in others)
    assert changed.host("binance").base_urls == plain.host("binance").base_urls


def test_other_variables_are_nobodys_business() -> None:
    assert load_settings(environment={"HOME": "/", "AEGIS_OTHER": "x", "XAEGIS_SRC__A__B": "1"}).hosts


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("BINANCE__BASE_URI", "base_url, api_key, requests_per_second, concurrency, timeout_s"),
        ("BINANCE__API_KEY_HEADER", "base_url, api_key"),
        ("BINANCE", "base_url"),
        ("CLIENT__PATIENCE", "attempts, patience_s, backoff_base_s, backoff_cap_s, ban_s, transfer_s, max_body_mb"),
        ("CLIENT__BASE_URL", "attempts"),
        ("BINANCES__BASE_URL", "binance, bybit, coingecko"),
        ("", "binance, bybit, coingecko"),
    ],
)
def test_unknown_names_are_refused_and_the_known_ones_listed(name: str, allowed: str) -> None:
    with pytest.raises(RequestError) as caught:
        loaded(**{name: KEY})
    assert f"received 'AEGIS_SRC__{name}'" in str(caught.value)
    assert allowed in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["BINANCE__TIMEOUT_S", "BINANCE__CONCURRENCY", "CLIENT__ATTEMPTS", "CLIENT__BAN_S"])
@pytest.mark.parametrize("value", ["", "fast", "-1", "nan", "inf", "1,5", "0x10"])
def test_bad_numbers_are_refused(name: str, value: str) -> None:
    host, _, setting = name.lower().partition("__")
    with pytest.raises(RequestError) as caught:
        loaded(**{name: value})
    assert str(caught.value) == f"{host}.{setting}: received {value!r}, allowed is a number, at least 0"


@pytest.mark.parametrize("name", ["BINANCE__TIMEOUT_S", "CLIENT__TRANSFER_S"])
def test_a_timeout_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match=r"\.(timeout|transfer)_s: received '0', allowed is a number above 0"):
        loaded(**{name: "0"})


def test_there_is_always_one_try_and_one_place() -> None:
    settings = loaded(CLIENT__ATTEMPTS="0", BINANCE__CONCURRENCY="0.5")
    assert (settings.client.attempts, settings.host("binance").concurrency) == (1, 1)


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n", " ,  "])
def test_several_addresses_are_kept_in_their_order(between: str) -> None:
    host = loaded(ETHEREUM__BASE_URL=between.join(["https://a.example/", "http://b.example:8545", NODE])).host(
        "ethereum"
    )
    assert host.base_urls == ("https://a.example", "http://b.example:8545", NODE)


@pytest.mark.parametrize(
    "url",
    ["", " , ", "a.example", "ftp://a.example", "https://", "https:///x", "https://a:port", "http://[::1", "http://a:0",
     "https://a.example b.example"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(CollectionError, match=r"hosts\.ethereum: base_url must be one or more http"):
        loaded(ETHEREUM__BASE_URL=url)


def test_braces_in_an_address_are_left_as_they_are() -> None:
    host = loaded(ETHEREUM__BASE_URL="https://a.example/{x}/{}", ETHEREUM__API_KEY="k").host("ethereum")
    assert host.base_urls == ("https://a.example/{x}/{}",)


def test_a_key_moves_a_host_to_its_paid_address() -> None:
    assert loaded(DEFILLAMA_API__API_KEY=KEY).host("defillama_api").base_urls == (
        f"https://pro-api.llama.fi/{KEY}/api",
    )
    assert loaded(DEFILLAMA_API__API_KEY="  ").host("defillama_api").base_urls == ("https://api.llama.fi",)


def test_an_address_from_outside_wins_over_the_paid_one() -> None:
    host = loaded(DEFILLAMA_API__API_KEY=KEY, DEFILLAMA_API__BASE_URL="http://127.0.0.1:8/{api_key}").host(
        "defillama_api"
    )
    assert host.base_urls == (f"http://127.0.0.1:8/{KEY}",)


def test_a_key_cannot_change_the_address_that_it_stands_in() -> None:
    host = loaded(DEFILLAMA_API__API_KEY="a/b, c?d#e").host("defillama_api")
    assert host.base_urls == ("https://pro-api.llama.fi/a%2Fb%2C%20c%3Fd%23e/api",)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "bell\x07"])
def test_a_key_that_no_header_can_carry_is_refused_but_not_shown(key: str) -> None:
    with pytest.raises(RequestError, match=r"fred\.api_key: .* allowed is printable ASCII characters") as caught:
        loaded(FRED__API_KEY=key)
    assert key not in str(caught.value)


def test_keys_passwords_and_long_parts_of_node_addresses_are_secret() -> None:
    nodes = f"{NODE} https://rpc.example/ogrpc?network=ethereum&dkey=FEDCBA9876543210 https://me:passw0rd@n.example"
    secrets = loaded(ETHEREUM__BASE_URL=nodes, FRED__API_KEY=KEY).secrets
    basic = base64.b64encode(b"me:passw0rd").decode()
    assert set(secrets) == {KEY, "0123456789abcdef0123", "FEDCBA9876543210", "passw0rd", basic}
    assert list(secrets) == sorted(secrets, key=len, reverse=True)


def test_words_are_not_secret() -> None:
    nodes = "https://ethereum@ethereum.example/ethereum/mainnet/v3?chain=ethereum"
    assert loaded(ETHEREUM__BASE_URL=nodes, FRED__API_KEY="abc").secrets == ()


def test_settings_can_be_shown_without_their_secrets() -> None:
    settings = loaded(
        ETHEREUM__BASE_URL=f"{NODE} https://me:pw@n.example", DEFILLAMA_API__API_KEY=KEY, FRED__API_KEY=KEY[::-1]
    )
    for shown in (repr(settings), str(settings.host("ethereum")), f"{settings.hosts}"):
        for secret in (*settings.secrets, "me:pw"):
            assert secret not in shown
    assert len(settings.secrets) == 4


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80", "https://localhost/x", "http://[::1]:8545", "http://127.9.8.7", "http://LocalHost:1"]
)
def test_offline_mode_accepts_this_machine(url: str) -> None:
    settings = load_settings(environment={"AEGIS_SRC__BINANCE__BASE_URL": url, "AEGIS_OFFLINE": "1"})
    assert is_loopback(url)
    assert settings.host("binance").base_urls == (url,)


@pytest.mark.parametrize(
    "url",
    ["https://fapi.binance.com", "http://10.0.0.1", "http://0.0.0.0", "http://localhost.evil.example", "http://[::2]",
     "http://127.0.0.1@evil.example", "http://evil.example/127.0.0.1", "http://1270.0.0.1"],
)  # fmt: skip
def test_offline_mode_refuses_other_machines(url: str) -> None:
    assert not is_loopback(url)
    settings = load_settings(environment={"AEGIS_SRC__BINANCE__BASE_URL": url, "AEGIS_OFFLINE": "1"})
    with pytest.raises(OfflineError, match=r"^offline mode \(AEGIS_OFFLINE\) allows this machine only, binance is at "):
        settings.host("binance")


def test_offline_mode_refuses_a_host_if_any_of_its_addresses_is_elsewhere() -> None:
    environment = {"AEGIS_SRC__BINANCE__BASE_URL": "http://127.0.0.1:1 https://me:pw@b.example/k", "AEGIS_OFFLINE": "1"}
    with pytest.raises(OfflineError, match=r"binance is at b\.example$"):
        load_settings(environment=environment).host("binance")


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_offline_mode_can_be_switched_on(value: str) -> None:
    assert load_settings(environment={"AEGIS_OFFLINE": value}).offline


@pytest.mark.parametrize("value", ["", "0", "False", "no", "off"])
def test_offline_mode_can_be_switched_off(value: str) -> None:
    assert not load_settings(environment={"AEGIS_OFFLINE": value}).offline


def test_a_switch_that_is_neither_on_nor_off_is_refused() -> None:
    with pytest.raises(RequestError, match="AEGIS_OFFLINE: received 'ja', allowed is 1 or 0"):
        load_settings(environment={"AEGIS_OFFLINE": "ja"})


def test_an_unknown_host_says_where_to_add_it() -> None:
    with pytest.raises(CollectionError, match=r"'kraken'; add \[hosts\.kraken\] to configs/sources\.toml"):
        load_settings(environment={}).host("kraken")


def test_another_file_can_be_named(write: object) -> None:
    path = write('[client]\nattempts = 3\n[hosts.a]\nbase_url = "http://a.example"\n')  # type: ignore[operator]
    for settings in (load_settings(path, {}), load_settings(environment={"AEGIS_SOURCES": str(path)})):
        assert settings.hosts == {"a": HostSettings("a", ("http://a.example",))}
        assert settings.client == ClientSettings(attempts=3)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("[hosts.a", CollectionError, "cannot be read as a TOML file of sources"),
        ("[hosts.a]\n", CollectionError, "hosts.a: base_url must be one or more http"),
        ("hosts = 3\n", CollectionError, "expected tables"),
        ("[hosts]\na = 1\n", CollectionError, "expected tables"),
        ("client = []\n", CollectionError, "expected tables"),
        ("[client]\npatience = 3\n", RequestError, "attempts, patience_s"),
        ('[hosts.a]\nbase_url = "http://a.b"\nrequest_per_second = 1\n', RequestError, "requests_per_second"),
        ('[hosts.a]\nbase_url = "http://a.b"\ntimeout_s = "long"\n', RequestError, "a.timeout_s: received 'long'"),
    ],
)
def test_a_wrong_file_is_refused(write: object, content: str, error: type[Exception], words: str) -> None:
    path = write(content)  # type: ignore[operator]
    with pytest.raises(error) as caught:
        load_settings(path, {})
    assert words in str(caught.value)
    if error is CollectionError:
        assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"nowhere\.toml: cannot be read"):
        load_settings(tmp_path / "nowhere.toml", {})


@given(st.text("abcdef0123456789-", min_size=6, max_size=40).filter(lambda text: text.strip("-") == text))
def test_no_key_of_any_length_is_shown(key: str) -> None:
    settings = loaded(DEFILLAMA_YIELDS__API_KEY=key, FRED__API_KEY=key)
    assert settings.secrets == (key,)
    assert key not in repr(settings)
    assert key in settings.host("defillama_yields").base_urls[0]
