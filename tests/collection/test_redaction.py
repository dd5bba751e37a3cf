from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.collection.redaction import MASK, Redactor

# What keys and passwords consist of, the characters among them that a URL has to write in another way.
secrets = st.text("abcXYZ019-_.~+/=&% $!@:", min_size=8, max_size=24).filter(lambda text: text == text.strip())
texts = st.text("abcXYZ019-_.~+/=&% $!@:?#\"'{}\n*é", max_size=40)


@given(secrets, texts, texts)
def test_a_secret_is_never_left_in_a_text(secret: str, before: str, after: str) -> None:
    clean = Redactor([secret]).text(before + secret + after)
    assert secret not in clean
    assert MASK in clean


@given(secrets, st.sampled_from([quote, quote_plus, lambda text: quote(text, safe="")]))
def test_a_secret_is_known_in_the_form_that_a_url_gives_it(secret: str, in_url: object) -> None:
    written = in_url(secret)  # type: ignore[operator]
    clean = Redactor([secret]).text(f"https://node.example/v2/{written}/x?y=1")
    assert clean == f"https://node.example/v2/{MASK}/x?y=1"


@given(secrets, texts)
def test_a_longer_secret_goes_before_a_part_of_it(secret: str, text: str) -> None:
    clean = Redactor([secret[:6], secret]).text(f"#{secret}#")
    assert clean == f"#{MASK}#"


@given(st.lists(secrets, max_size=3), st.binary(max_size=60))
def test_bytes_without_a_secret_stay_exactly_as_they_are(known: list[str], body: bytes) -> None:
    if not any(secret.encode() in body for secret in known):
        assert Redactor(known).content(body) == body


@given(secrets, st.binary(max_size=30), st.binary(max_size=30))
def test_a_secret_is_never_left_in_bytes(secret: str, before: bytes, after: bytes) -> None:
    clean = Redactor([secret]).content(before + secret.encode() + after)
    assert secret.encode() not in clean
    assert clean.startswith(before)
    assert clean.endswith(after)


@given(st.lists(secrets, max_size=3), texts)
def test_redacting_twice_changes_nothing_more(known: list[str], text: str) -> None:
    redactor = Redactor(known)
    assert redactor.text(redactor.text(text)) == redactor.text(text)


def test_keys_and_values_at_any_depth_are_clean() -> None:
    value = {"a": ["x-s3cr3t!", {"s3cr3t!": ("s3cr3t!", 7, None, True)}], "n": 1.5}
    assert Redactor(["s3cr3t!"]).value(value) == {"a": [f"x-{MASK}", {MASK: [MASK, 7, None, True]}], "n": 1.5}


@pytest.mark.parametrize("name", ["api_key", "apikey", "API_KEY", "key", "token", "secret", "auth", "signature"])
def test_parameters_that_usually_are_secret_are_hidden_even_if_unknown(name: str) -> None:
    text = f"GET /x?series=DFF&{name}=a1b2&limit=5 says {name}=q7"
    assert Redactor([]).text(text) == f"GET /x?series=DFF&{name}={MASK}&limit=5 says {name}={MASK}"


@pytest.mark.parametrize("user", ["me", "me:pw", ":pw", "me:p%40w"])
def test_users_of_urls_are_hidden_however_short(user: str) -> None:
    text = f"no answer from https://{user}@node.example:8545/a@b, asked twice"
    assert Redactor([]).text(text) == f"no answer from https://{MASK}@node.example:8545/a@b, asked twice"


def test_words_that_only_resemble_are_left_alone() -> None:
    text = json.dumps({"monkey": "x=1", "tokens": "a", "key": "DFF", "mail": "a@b.c", "monkey_key": "monkey=3"})
    assert Redactor([]).text(text) == text


def test_nothing_is_hidden_where_there_is_no_secret() -> None:
    assert Redactor([]).content(b"key=1") == b"key=1"
    assert Redactor(["", "abcdef"]).text("plain") == "plain"
