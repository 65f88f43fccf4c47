"""How the tasks of the Kubeflow pipeline run on a cluster: `infra/kubeflow.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.contracts.errors import ConfigError

SETTINGS = Path("infra") / "kubeflow.yaml"


@dataclass(frozen=True, kw_only=True)
class GitSettings:
    """Where tasks get the project, and put what they made of it, if they share no workspace.

    Attributes:
        repository: its address, `https://` or `ssh://`.
        branch: whose newest commit a run works on.
        secret: a secret with what Git and DVC need, by the names of environment variables in `keys`.
        keys: keys of the secret, each the name of the variable too; `MER_GIT_TOKEN` is a password for `https://`.
        push_options: for the server at the last push; GitLab opens a merge request for `merge_request.create`.
    """

    repository: str
    branch: str = "main"
    secret: str = ""
    keys: Sequence[str] = ()
    push_options: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """How the tasks run on a cluster; `infra/kubeflow.yaml`.

    Attributes:
        image: the image with the environment and the code; KFP's local runner warns unless its name contains "python".
        workspace_claim, workspace: the volume claim with the project, and its mount path. With `git` the claim is DVC's
            cache for all tasks; empty: each task has a folder of its own there.
        ray_jobs_address: of the RayCluster's job server, for the stages that need Ray.
        token_secret, token_key: the secret with Ray's authentication token.
        retries: attempts after the first; stages are idempotent.
        timeout_s: stage → seconds before its pod is ended; `default` for the rest.
        resources: stage → {cpu, memory}; `default` for the rest.
        environment: variables for every task.
        login_secret: a secret with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; empty: MLflow has no login.
        report_secret: a secret whose key `url` is the address that hears how a run ended; empty: nobody does.
        git: None: tasks share the workspace.
    """

    image: str
    workspace_claim: str
    workspace: str
    ray_jobs_address: str
    token_secret: str
    token_key: str
    retries: int
    timeout_s: Mapping[str, int]
    resources: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str]
    login_secret: str = ""
    report_secret: str = ""
    git: GitSettings | None = None


def load_settings(root: Path) -> PipelineSettings:
    """Reads `infra/kubeflow.yaml`. Raises ConfigError: it is missing, or a key is unknown or missing."""
    path = root / SETTINGS
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        git = raw.pop("git", None)
        return PipelineSettings(**raw, git=None if git is None else GitSettings(**git))
    except (OSError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError("not the settings of the Kubeflow pipeline", where=str(path), seen=str(error)) from error
