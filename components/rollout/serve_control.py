"""The only module that configures Ray Serve; a new version is a changed configuration, a `reconfigure` in place.

`serve.run` would restart every replica. The call below is the one that Serve's own REST endpoint makes; calling the
controller directly needs no dashboard process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.config import Serving
from components.contracts.errors import UnavailableError
from components.registry.keys import TrustedKeys
from components.rollout.actual import ServedApplication, actual_of
from components.rollout.parts import parts_of
from components.serving.assignment import Assignment
from components.serving.published import counted
from components.serving.replica import BACKSTOP_S, DEPLOYMENT, IMPORT_PATH, ReplicaArgs
from components.serving.trial import TrialCounts

APPLICATION = "mer"


class ServeControl:
    """One Serve application on the Ray that this process is connected to.

    Args:
        serving: host, port and size of the service.
        cache: folder for downloaded bundles, the same for all replicas of a machine.
        golden_tolerance: for the replicas' self-test.
        alias: of the served version, for the replicas' hint while there is none.
        keys: those whose signatures count.
        route_prefix: the path of the application below the HTTP root.
        attach: the application is declared elsewhere (a RayService) and only its version is set here: Serve is never
            started, and sizes and arguments stay as declared.
        batches: folder for jobs of many clips, the same for all replicas; None: the service takes none.
    """

    def __init__(
        self,
        serving: Serving,
        *,
        cache: Path,
        golden_tolerance: float,
        alias: str,
        keys: TrustedKeys,
        application: str = APPLICATION,
        route_prefix: str = "/",
        attach: bool = False,
        batches: Path | None = None,
    ) -> None:
        self.serving = serving
        self.application = application
        self.route_prefix = route_prefix
        self.attach = attach
        # A replica may stand in a different folder.
        named: dict[str, Any] = {
            "batch_sources": tuple(str(Path(source).resolve()) for source in serving.batch_sources)
        }
        if serving.adaptation is not None:
            named["adaptation"] = str(Path(serving.adaptation).resolve())
        serving = serving.model_copy(update=named)
        self._args = ReplicaArgs(
            serving=serving,
            cache=str(cache.resolve()),
            golden_tolerance=golden_tolerance,
            alias=alias,
            trusted_keys=keys.listed,
            signing=str(keys.folder.resolve()) if keys.folder else None,
            batches=None if batches is None else str(batches.resolve()),
        )

    @property
    def url(self) -> str:
        """The address of the application on this machine."""
        host = "127.0.0.1" if self.serving.host in ("0.0.0.0", "::") else self.serving.host
        return f"http://{host}:{self.serving.port}{self.route_prefix.rstrip('/')}"

    def actual(self) -> ServedApplication:
        """The present state of Serve. Raises UnavailableError when Ray or Serve cannot be reached."""
        return actual_of(self._details(), self.application, DEPLOYMENT)

    def parts(self) -> dict[str, str]:
        """Process → name of what Serve runs; empty while it cannot be reached."""
        try:
            return parts_of(self._details(), self.application)
        except UnavailableError:
            return {}

    def trial_counts(self, trial: str) -> TrialCounts | None:
        """What the replicas, also those of before, counted of a trial; those of other trials are forgotten.

        Raises:
            UnavailableError: Ray cannot be reached.
        """
        try:
            return counted(self.application, trial)
        except Exception as error:
            raise _unavailable(error) from error

    def deploy(self, version: Assignment | None) -> None:
        """Deploys a version to the replicas and returns at once; starts Serve if it does not run and not `attach`.

        Raises:
            UnavailableError: Ray or Serve cannot be reached; with `attach`, the application is not declared yet.
        """
        from ray import serve
        from ray.serve.config import HTTPOptions
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        desired = self._desired(version)
        try:
            if _get_global_client(raise_if_no_controller_running=False) is None:
                serve.start(
                    proxy_location="HeadOnly",
                    http_options=HTTPOptions(
                        host=self.serving.host,
                        port=self.serving.port,
                        request_timeout_s=self.serving.request_timeout_s + BACKSTOP_S,
                    ),
                    logging_config={"log_level": "WARNING", "enable_access_log": False},
                )
            # A configuration lists all applications; the others stay as they are.
            others = [
                details["deployed_app_config"]
                for name, details in self._details().get("applications", {}).items()
                if name != self.application and details.get("deployed_app_config")
            ]
            config = ServeDeploySchema.model_validate({"applications": [*others, desired]})
            _get_global_client().deploy_apps(config)
        except Exception as error:
            raise _unavailable(error) from error

    def _desired(self, version: Assignment | None) -> dict[str, Any]:
        if not self.attach:
            return {
                "name": self.application,
                "import_path": IMPORT_PATH,
                "route_prefix": self.route_prefix,
                "args": self._args.model_dump(mode="json"),
                "deployments": [{"name": DEPLOYMENT, "user_config": version.to_config() if version else {}}],
            }
        details = self._details().get("applications", {}).get(self.application) or {}
        declared = details.get("deployed_app_config")
        if not declared:
            raise UnavailableError(
                "the application is not declared yet",
                where=f"Ray Serve: {self.application}",
                remedy="The next step looks for it again; KubeRay declares it when the head is ready.",
            )
        return with_version(declared, DEPLOYMENT, version)

    def _details(self) -> Mapping[str, Any]:
        from ray.serve.context import _get_global_client

        try:
            client = _get_global_client(raise_if_no_controller_running=False)
            return {} if client is None else client.get_serve_details()
        except Exception as error:
            raise _unavailable(error) from error


def with_version(declared: Mapping[str, Any], deployment: str, version: Assignment | None) -> dict[str, Any]:
    """A declared application with only its version replaced: otherwise Serve would restart the replicas."""
    user_config = version.to_config() if version else {}
    entries = [dict(entry) for entry in declared.get("deployments", ())]
    if all(entry.get("name") != deployment for entry in entries):
        entries.append({"name": deployment})
    for entry in entries:
        if entry.get("name") == deployment:
            entry["user_config"] = user_config
    return {**declared, "deployments": entries}


def _unavailable(error: Exception) -> UnavailableError:
    text = [line for line in str(error).splitlines() if line.strip()]
    return UnavailableError(
        "Ray Serve cannot be reached", where="rollout", seen=text[-1].strip() if text else type(error).__name__
    )
