"""The part of kustomize that `infra/` uses, so that manifests can be rendered and checked without its binary.

Supported: `resources` (files and folders), `components`, `namespace`, `images`, and `patches` of JSON 6902 operations
with a target's kind and name. Everything else in a kustomization is refused, so that no check here passes a file that
kustomize would read differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import ConfigError

FILE = "kustomization.yaml"
KEYS = ("apiVersion", "components", "images", "kind", "namespace", "patches", "resources")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where PyYAML was built with libyaml, ten times faster
CLUSTER_WIDE = frozenset({"Namespace", "PersistentVolume", "PriorityClass"})

Manifest = dict[str, Any]


def render(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization, in the order of its resources.

    Raises:
        ConfigError: a file or key is missing or unknown, a patch has no target or does not apply.
    """
    manifests: list[Manifest] = []
    config = _build(manifests, folder)
    for manifest in manifests:
        if "namespace" in config and manifest["kind"] not in CLUSTER_WIDE:
            manifest["metadata"]["namespace"] = config["namespace"]
        for image in config.get("images", []):
            _set_image(manifest, image)
    return manifests


def _build(manifests: list[Manifest], folder: Path) -> Mapping[str, Any]:
    """Adds the resources of a kustomization and patches what is there then; returns the kustomization. The patches of a
    component apply to the resources of who includes it, too."""
    path = folder / FILE
    config: Mapping[str, Any] = next(iter(_documents(path)), {})
    for key in config:
        if key not in KEYS:
            raise ConfigError.unknown("key", key, KEYS, where=str(path))
    for name in config.get("resources", []):
        place = (folder / name).resolve()
        manifests += render(place) if place.is_dir() else list(_documents(place))
    for name in config.get("components", []):
        _build(manifests, (folder / name).resolve())
    for patch in config.get("patches", []):
        _patch(manifests, patch, folder)
    return config


def find(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The manifest of a kind (and name). Raises ConfigError when there is none or more than one."""
    matches = [
        manifest for manifest in manifests if manifest["kind"] == kind and name in (None, manifest["metadata"]["name"])
    ]
    if len(matches) != 1:
        raise ConfigError(
            "expected exactly one manifest", where=f"infra: {kind} {name or ''}".strip(), seen=len(matches)
        )
    return matches[0]


def _documents(path: Path) -> Iterator[Manifest]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("cannot read a manifest", where=str(path), seen=str(error.strerror)) from error
    # Anchors share objects; each object gets a copy of its own, so that a patch changes one place only.
    yield from (_unshared(document) for document in yaml.load_all(text, Loader=LOADER) if document)


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _patch(manifests: list[Manifest], patch: Mapping[str, Any], folder: Path) -> None:
    target = patch["target"]
    manifest = find(manifests, target["kind"], target["name"])
    operations: Any = next(iter(_documents(folder / patch["path"])))  # a list, unlike a manifest
    for operation in operations:
        _apply(manifest, operation, where=f"{folder.name}/{patch['path']}")


def _apply(manifest: Manifest, operation: Mapping[str, Any], *, where: str) -> None:
    """One operation of RFC 6902: add, replace or remove."""
    act = OPERATIONS.get(operation["op"])
    if act is None:
        raise ConfigError("unknown operation", where=where, seen=operation["op"], allowed=", ".join(OPERATIONS))
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place: Any = manifest
    try:
        for part in parents:
            place = place[_key(place, part)]
        act(place, last, operation.get("value"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError("the patch does not apply", where=where, seen=operation["path"]) from error


def _key(place: Any, part: str) -> Any:
    return int(part) if isinstance(place, list) else part


def _add(place: Any, part: str, value: Any) -> None:
    if isinstance(place, list):
        place.insert(len(place) if part == "-" else int(part), value)
    else:
        place[part] = value


def _replace(place: Any, part: str, value: Any) -> None:
    key = _key(place, part)
    place[key]  # replacing a missing value is an error
    place[key] = value


def _remove(place: Any, part: str, value: Any) -> None:
    del place[_key(place, part)]


OPERATIONS: dict[str, Callable[[Any, str, Any], None]] = {"add": _add, "replace": _replace, "remove": _remove}


def _set_image(value: Any, image: Mapping[str, str]) -> None:
    """Sets the image of every container whose image has the kustomization's `name`, at any depth of the manifest."""
    if isinstance(value, list):
        for inner in value:
            _set_image(inner, image)
    elif isinstance(value, dict):
        for container in [*(value.get("containers") or []), *(value.get("initContainers") or [])]:
            if container["image"].partition(":")[0] == image["name"]:
                name = image.get("newName", image["name"])
                container["image"] = f"{name}@{image['digest']}" if "digest" in image else f"{name}:{image['newTag']}"
        for inner in value.values():
            _set_image(inner, image)
