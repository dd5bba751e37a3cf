"""``aegis keys``: who may ask the service for what."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aegis_yield.cli.options import JsonFlag
from aegis_yield.cli.shared import out, say

if TYPE_CHECKING:
    from aegis_yield.pipelines.keys import Key

app = typer.Typer(
    help="""Make, list, rotate and revoke keys of the service; it notices while it runs (docs/security.md).

Examples:

  aegis keys create --name bot --scope read

  aegis keys list

  aegis keys rotate --name bot

  aegis keys revoke --name bot
""",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option("--name", help="Who uses the key; appears in the service's logs.")]
File = Annotated[
    Path | None, typer.Option("--file", help="Key file. Default: AEGIS_SERVICE__KEYS, else data/service/keys.json.")
]


@app.command()
def create(
    name: Name,
    scope: Annotated[
        str, typer.Option("--scope", help="read; optimize (and read); admin (everything).", show_default=True)
    ] = "read",
    expires_days: Annotated[
        float | None, typer.Option("--expires-days", help="Days until it ends. Default: it does not.")
    ] = None,
    file: File = None,
) -> None:
    """Make a key and print it, once: only a salted hash is kept.

    Examples:

      aegis keys create --name bot --scope read --expires-days 90
    """
    from aegis_yield.pipelines.keys import create_key

    path = _path(file)
    key, text = create_key(path, name, scope, expires_days)
    _hand_over(key, text, path)


@app.command("list")
def list_(file: File = None, as_json: JsonFlag = False) -> None:
    """List keys: name, scope, state, since when and until when.

    Examples:

      aegis keys list
    """
    from aegis_yield.pipelines.keys import read_keys

    path, now = _path(file), dt.datetime.now(dt.UTC)
    keys = read_keys(path).keys if path.exists() or file is not None else ()
    shown = [key.public(now) for key in keys]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    table = Table("name", "id", "scope", "state", "created", "expires")
    for row in shown:
        table.add_row(*(str(row[name] or "") for name in ("name", "id", "scope", "state", "created_at", "expires_at")))
    out.print(table)


@app.command()
def rotate(
    name: Name,
    grace_hours: Annotated[float, typer.Option("--grace-hours", help="How long the old key goes on.")] = 24.0,
    file: File = None,
) -> None:
    """Make a new key of a name and print it, once; the old one goes on for a while.

    Examples:

      aegis keys rotate --name bot --grace-hours 1
    """
    from aegis_yield.pipelines.keys import rotate_key

    path = _path(file)
    key, text = rotate_key(path, name, grace_hours)
    _hand_over(key, text, path)
    say(f"the old key goes on for {grace_hours:g} hours")


@app.command()
def revoke(name: Name, file: File = None) -> None:
    """End all keys of a name, now.

    Examples:

      aegis keys revoke --name bot
    """
    from aegis_yield.pipelines.keys import revoke_key

    ended = revoke_key(_path(file), name)
    typer.echo(f"{name}: {len(ended)} {'key' if len(ended) == 1 else 'keys'} revoked")


def _path(file: Path | None) -> Path:
    from aegis_yield.pipelines.keys import default_key_file

    return file or default_key_file()


def _hand_over(key: Key, text: str, path: Path) -> None:
    """Print the key alone, so that a script can take it, and beside it what to know."""
    typer.echo(text)
    until = f", until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
    say(f"{key.name}: scope {key.scope}{until}; it is not shown again. Kept in {path}: a salted hash.")
