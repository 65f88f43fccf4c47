"""`mer rayjob`: a KubeRay RayJob for the whole pipeline or one stage, from an overlay of `infra/`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from components.contracts.errors import ConfigError
from pipelines import dag
from pipelines.kubeflow import kustomize
from pipelines.kubeflow.generate import task_name
from pipelines.project import find_root

END = "'"  # of the shell command that is the entrypoint
LONGEST_NAME = 47  # of a RayJob: KubeRay makes names of pods and services from it


def manifest(*, stage: str | None = None, overlay: str = "dev", root: Path | None = None) -> str:
    """The RayJob as YAML.

    Args:
        stage: an address of `dvc.yaml`; the job then runs only that stage, and is named after it.
        overlay: a folder of `infra/overlays`.
        root: the project.

    Raises:
        ConfigError: the stage or overlay does not exist; the name of a `foreach` stage lacks the dataset.
    """
    root = root or find_root()
    job = kustomize.find(kustomize.render(_overlay(root, overlay)), "RayJob")
    del job["spec"]["suspend"]
    if stage is not None:
        nodes = dag.read(root)
        addresses = dag.resolve(nodes, stage)
        if len(addresses) != 1:
            raise ConfigError(
                "several stages have this name", where="--stage", seen=stage, allowed=", ".join(addresses)
            )
        job["metadata"]["name"] = _short(f"{job['metadata']['name']}-{task_name(addresses[0])}")
        job["spec"]["entrypoint"] = f"{job['spec']['entrypoint'].removesuffix(END)} --only {addresses[0]}{END}"
    return yaml.safe_dump(job, sort_keys=False)


def _short(name: str) -> str:
    """A name that KubeRay accepts; what is cut off a longer one is in the hash at its end."""
    if len(name) <= LONGEST_NAME:
        return name
    ending = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(ending) - 1].rstrip('-')}-{ending}"


def _overlay(root: Path, name: str) -> Path:
    folder = root / "infra" / "overlays" / name
    if not folder.is_dir():
        overlays = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
        raise ConfigError.unknown("overlay", name, overlays, where="infra/overlays")
    return folder
