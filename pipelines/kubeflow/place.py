"""The calls to a Kubeflow Pipelines server that recurring runs need: its experiments, pipelines, versions and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PAGE = 100
PIPELINE = "mer-retrain"


class Client(Protocol):
    """The methods of `kfp.Client` that are used, with its own names and arguments."""

    def list_experiments(self, page_token: str, page_size: int, namespace: str | None) -> Any:
        """A page: `experiments` (or None) and `next_page_token`."""

    def create_experiment(self, name: str, namespace: str | None) -> Any:
        """Returns the experiment, created if it does not exist; it has an `experiment_id`."""

    def list_pipelines(self, page_token: str, page_size: int, namespace: str | None) -> Any:
        """A page: `pipelines` (or None) and `next_page_token`."""

    def list_pipeline_versions(self, pipeline_id: str, page_token: str, page_size: int) -> Any:
        """A page: `pipeline_versions` (or None) and `next_page_token`."""

    def upload_pipeline(self, pipeline_package_path: str, pipeline_name: str, namespace: str | None) -> Any:
        """Creates a pipeline; it has a `pipeline_id`."""

    def upload_pipeline_version(self, pipeline_package_path: str, pipeline_version_name: str, pipeline_id: str) -> Any:
        """Creates a version; it has a `pipeline_version_id`."""

    def list_recurring_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        """A page: `recurring_runs` (or None) and `next_page_token`."""

    def create_recurring_run(self, experiment_id: str, job_name: str, **arguments: Any) -> Any:
        """Creates a recurring run; it has a `recurring_run_id`."""

    def disable_recurring_run(self, recurring_run_id: str) -> Any:
        """Pauses a recurring run."""

    def enable_recurring_run(self, recurring_run_id: str) -> Any:
        """Resumes a recurring run."""

    def delete_recurring_run(self, recurring_run_id: str) -> Any:
        """Deletes a recurring run, and the runs of it that are under way."""

    def list_runs(self, page_token: str, page_size: int, experiment_id: str) -> Any:
        """A page: `runs` (or None), each with `recurring_run_id` and `state`, and `next_page_token`."""

    def run_pipeline(self, experiment_id: str, job_name: str, **arguments: Any) -> Any:
        """Starts a run; it has a `run_id`."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where on a server: a client, the namespace (None: a server for one user), the tasks' service account."""

    client: Client
    namespace: str | None = None
    service_account: str | None = None

    def experiment_id(self, name: str) -> str | None:
        """The id of an experiment; unlike KFP's `create_experiment` it makes none."""
        experiments = _pages(self.client.list_experiments, "experiments", namespace=self.namespace)
        return next((item.experiment_id for item in experiments if item.display_name == name), None)

    def made_experiment_id(self, name: str) -> str:
        """The id of an experiment, made if the server has none of that name."""
        return str(self.client.create_experiment(name, namespace=self.namespace).experiment_id)

    def recurring_runs(self, experiment_id: str) -> list[Any]:
        """The recurring runs of an experiment."""
        return _pages(self.client.list_recurring_runs, "recurring_runs", experiment_id=experiment_id)

    def runs(self, experiment_id: str) -> list[Any]:
        """The runs of an experiment."""
        return _pages(self.client.list_runs, "runs", experiment_id=experiment_id)

    def versions(self) -> dict[str, str]:
        """The versions of the pipeline: id → name. Empty where it was never uploaded."""
        pipeline_id = self._pipeline_id()
        return {} if pipeline_id is None else self._versions(pipeline_id)

    def uploaded(self, package: Path, version: str) -> tuple[str, str]:
        """The ids of the pipeline and of its version of that name, uploaded unless the server has them."""
        path = str(package)
        pipeline_id = self._pipeline_id()
        if pipeline_id is None:
            pipeline = self.client.upload_pipeline(path, PIPELINE, namespace=self.namespace)
            pipeline_id = str(pipeline.pipeline_id)
        ids = {name: version_id for version_id, name in self._versions(pipeline_id).items()}
        if version not in ids:
            ids[version] = self.client.upload_pipeline_version(path, version, pipeline_id).pipeline_version_id
        return pipeline_id, ids[version]

    def _pipeline_id(self) -> str | None:
        pipelines = _pages(self.client.list_pipelines, "pipelines", namespace=self.namespace)
        return next((item.pipeline_id for item in pipelines if item.display_name == PIPELINE), None)

    def _versions(self, pipeline_id: str) -> dict[str, str]:
        items = _pages(self.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id)
        return {item.pipeline_version_id: item.display_name for item in items}


def _pages(call: Callable[..., Any], name: str, **arguments: Any) -> list[Any]:
    items: list[Any] = []
    token = ""
    while True:
        page = call(page_token=token, page_size=PAGE, **arguments)
        items += getattr(page, name) or []
        token = page.next_page_token or ""
        if not token:
            return items
