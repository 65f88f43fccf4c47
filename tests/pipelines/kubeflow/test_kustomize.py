from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines.kubeflow.kustomize import find, render

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a"},
    "spec": {"containers": [{"name": "c", "image": "mer"}, {"name": "d", "image": "other:1"}]},
}


def write(folder: Path, kustomization: dict[str, Any], patch: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pod.yaml").write_text(yaml.safe_dump(POD))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    if patch is not None:
        (folder / "patch.yaml").write_text(yaml.safe_dump(patch))
    return folder


def patched(tmp_path: Path, patch: list[dict[str, Any]]) -> dict[str, Any]:
    target = {"target": {"kind": "Pod", "name": "a"}, "path": "patch.yaml"}
    return find(render(write(tmp_path, {"resources": ["pod.yaml"], "patches": [target]}, patch)), "Pod")


def test_namespace_and_images_apply_to_folders_of_resources(tmp_path: Path) -> None:
    write(tmp_path / "base", {"resources": ["pod.yaml"], "namespace": "here"})
    top = write(
        tmp_path / "top", {"resources": ["../base"], "images": [{"name": "mer", "newName": "r/m", "newTag": "2"}]}
    )
    pod = find(render(top), "Pod")
    assert pod["metadata"]["namespace"] == "here"
    assert [container["image"] for container in pod["spec"]["containers"]] == ["r/m:2", "other:1"]


def test_a_digest_wins(tmp_path: Path) -> None:
    top = write(tmp_path, {"resources": ["pod.yaml"], "images": [{"name": "mer", "digest": "sha256:ab"}]})
    assert find(render(top), "Pod")["spec"]["containers"][0]["image"] == "mer@sha256:ab"


def test_patches(tmp_path: Path) -> None:
    pod = patched(
        tmp_path,
        [
            {"op": "replace", "path": "/spec/containers/0/name", "value": "x"},
            {"op": "remove", "path": "/spec/containers/1"},
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "y", "image": "z"}},
            {"op": "add", "path": "/metadata/labels", "value": {"a/b": "1"}},
            {"op": "replace", "path": "/metadata/labels/a~1b", "value": "2"},
        ],
    )
    assert [container["name"] for container in pod["spec"]["containers"]] == ["x", "y"]
    assert pod["metadata"]["labels"] == {"a/b": "2"}


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "replace", "path": "/spec/nothing", "value": 1}, "does not apply"),
        ({"op": "remove", "path": "/spec/containers/9"}, "does not apply"),
        ({"op": "move", "path": "/spec"}, "unknown operation"),
    ],
)
def test_a_patch_that_does_not_fit_is_an_error(tmp_path: Path, operation: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        patched(tmp_path, [operation])


def test_unsupported_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'patches'"):
        render(write(tmp_path, {"resources": ["pod.yaml"], "patchez": []}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        render(write(tmp_path, {"resources": ["gone.yaml"]}))


def test_anchors_are_not_shared(tmp_path: Path) -> None:
    target = {"target": {"kind": "Pod", "name": "a"}, "path": "patch.yaml"}
    folder = write(
        tmp_path, {"resources": ["two.yaml"], "patches": [target]}, [{"op": "replace", "path": "/spec/x/v", "value": 2}]
    )
    (folder / "two.yaml").write_text("kind: Pod\nmetadata: {name: a}\nspec: {x: &s {v: 1}, y: *s}\n")
    assert find(render(folder), "Pod")["spec"] == {"x": {"v": 2}, "y": {"v": 1}}
