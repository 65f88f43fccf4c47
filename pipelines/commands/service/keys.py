"""`mer keys`: who may use a service that other machines can reach.

Each command imports its dependencies when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from components.serving.http.api_keys import KeyFile

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="API keys: who may use a service that other machines can reach.\n\n\b\n"
    "Examples:\n  mer keys create app      create a key and print it once\n"
    "  mer keys list            list the valid keys\n"
    "  mer keys revoke app      revoke a key",
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="predict (default), admin; may be repeated.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N/UNIT", help="The highest rate of requests, such as 60/minute.")
    ] = None,
    at_once: Annotated[
        int | None, typer.Option("--at-once", metavar="N", min=1, help="The most concurrent requests.")
    ] = None,
) -> None:
    """Create a key and print it once.

    \b
    It is valid from the next request on; the service need not be restarted. Only
    its hash is stored. predict is for POST /v1/predict, admin for GET /metrics.

    \b
    Examples:
      mer keys create app
      mer keys create app --rate 60/minute --at-once 4
      mer keys create prometheus --scope admin
    """
    from components.contracts.errors import ConfigError
    from components.serving.http.api_keys import Scope

    names = scope or [Scope.PREDICT]
    for given in names:
        if given not in list(Scope):
            raise ConfigError.unknown("scope", given, list(Scope), where="--scope")
    key, secret = _file().create(name, scopes=[Scope(given) for given in names], rate=rate, at_once=at_once)
    typer.echo(f"Key {key.id} for {key.name}. It is shown this once; send it as `Authorization: Bearer KEY`:", err=True)
    typer.echo(secret)


@app.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the valid keys.

    \b
    Examples:
      mer keys list
      mer keys list --json | jq .name
    """
    from pipelines.commands.table import table

    keys = _file().listed()
    if as_json:
        for key in keys:
            typer.echo(key.model_dump_json(exclude={"sha256"}))
        return
    if not keys:
        typer.echo("There are no keys: `mer keys create NAME` makes one.")
        return
    rows = [
        (key.id, key.name, "+".join(key.scopes), key.rate or "any", key.at_once or "any", key.created_at)
        for key in keys
    ]
    typer.echo(table(("id", "name", "scopes", "rate", "at once", "made"), rows))


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name or the id of a key, as printed by `list`.")],
) -> None:
    """Revoke a key from the next request on.

    \b
    Examples:
      mer keys revoke app
    """
    key = _file().revoke(name)
    typer.echo(f"Key {key.id} of {key.name} is revoked.")


def _file() -> KeyFile:
    from components.contracts.layout import Layout
    from components.serving.http.api_keys import KeyFile
    from pipelines.project import find_root

    return KeyFile.of(Layout(find_root()).api_keys)
