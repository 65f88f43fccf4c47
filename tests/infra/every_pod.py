"""Every pod of `infra/` and of a Kubeflow run as manifests, for checkov: `make checkov`. With `--typo` one of them has
a field that must be noticed.

A module of its own and not a test, because checkov brings a hundred packages that nothing else needs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipelines import dag
from pipelines.kubeflow import generate, kustomize
from pipelines.kubeflow.settings import load_settings
from pipelines.stages import STAGES
from tests.infra import kfp_pods
from tests.infra.kuberay import ray_pods
from tests.infra.pods import Pod, workload_pods
from tests.pipelines.kfp_stack import only_the_caller
from tests.pipelines.projects import ROOT

NAMESPACE = "mer"
INFRA = ROOT / "infra"
# `prod-oidc` has what the other overlays have; what else may be added to one, and a pod by itself.
FOLDERS = ("overlays/prod-oidc", "backup", "backup-postgres", "backup-bucket")
SINGLE = INFRA / "ci" / "workspace-pod.yaml"


def compiled() -> tuple[dict[str, Any], dict[str, Any]]:
    """The compiled pipeline of all stages, made without DVC: which tasks follow which is not looked at here."""
    from kfp import compiler

    nodes = [
        dag.Node(address=name, command="", description="", deps=(), outs=(), params={}, upstream=()) for name in STAGES
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mer.yaml"
        with only_the_caller():
            compiler.Compiler().compile(generate.build(nodes, load_settings(ROOT)), package_path=str(path))
        pipeline, platform = yaml.safe_load_all(path.read_text())
    return pipeline, platform


def pods() -> list[Pod]:
    """Of every kind one."""
    manifests = [manifest for name in FOLDERS for manifest in kustomize.render(INFRA / name)]
    alone = yaml.safe_load(SINGLE.read_text())
    return [
        *workload_pods(manifests),
        *ray_pods(manifests),
        *kfp_pods.pipeline_pods(*compiled(), NAMESPACE),
        Pod(name=alone["metadata"]["name"], namespace=NAMESPACE, labels={}, spec=alone["spec"]),
    ]


def manifest(pod: Pod) -> dict[str, Any]:
    """The pod as the API server has it."""
    metadata = {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(pod.spec)}


def with_typo(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first one as a pod that sees the host's processes."""
    manifests[0]["spec"]["hostPID"] = True
    return manifests


if __name__ == "__main__":
    every = [manifest(pod) for pod in pods()]
    yaml.safe_dump_all(with_typo(every) if "--typo" in sys.argv else every, sys.stdout, sort_keys=False)
