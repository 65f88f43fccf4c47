"""`mer promote`: moves the rollout's alias, and records who did."""

from __future__ import annotations

from components.contracts.config import Params
from components.contracts.layout import Layout
from components.tracking.versions import PROMOTED_BY, VersionInfo, copy_version, set_alias, set_tags
from pipelines.commands.service.woken import nudge
from pipelines.commands.versions.verified import find_version, user
from pipelines.project import find_root, load


def run(version: str) -> None:
    """Moves the rollout's alias to a version, as the MLflow UI does.

    Args:
        version: its number, or an alias such as `challenger`.

    Raises:
        BundleError: there is no such version.
        UnavailableError: MLflow cannot be reached.
    """
    from components.tracking.address import tracking_uri

    root = find_root()
    params = load(root)
    uri = tracking_uri(params.tracking, root)
    promote(find_version(params, version, uri), params, by=user(), uri=uri)
    nudge(params, Layout(root))


def promote(info: VersionInfo, params: Params, *, by: str, uri: str) -> None:
    """Moves the alias; the name is there before the reconciler can see the change. Where a different model is served
    than versions are registered under, the version is copied to it first."""
    alias = params.rollout.alias
    if info.name != params.served_model:
        info = copy_version(info, params.served_model, tracking_uri=uri)
    set_tags(info.name, info.version, {PROMOTED_BY: by}, tracking_uri=uri)
    set_alias(info.name, alias, info.version, tracking_uri=uri)
    print(f"The alias {alias} is on {info.name} version {info.version}; its tag rollout.state shows what happens.")
