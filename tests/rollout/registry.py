"""A real MLflow registry on sqlite for rollout tests, with versions as `register` lays them out."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.registry.keys import TrustedKeys
from components.registry.proof import PROOF_TAG, Keyring, SigningKey, Statement
from components.tracking.packaging import BUNDLE_PATH
from components.tracking.versions import BUNDLE_TAG

KEY = SigningKey.generate()
KEYRING = Keyring(trusted=(KEY.public,))
KEYS = TrustedKeys(listed=KEYRING.trusted)


def signed(sha256: str, key: SigningKey = KEY) -> str:
    """The proof of a bundle."""
    statement = Statement(
        bundle_sha256=sha256,
        gates={"ece": "passed"},
        git_commit="5" * 40,
        data_sha256="3" * 64,
        signed_by="register",
    )
    return key.sign(statement)


class TinyRegistry:
    """One registered model in a store."""

    def __init__(self, uri: str, name: str, folder: Path) -> None:
        self.uri, self.name, self.folder = uri, name, folder
        self.client = MlflowClient(uri)

    def add(
        self, bundle: Path, sha256: str, *, gates: str | None = "true", proof: str | None = None, **tags: str
    ) -> str:
        """Registers a copy of a bundle; `gates` None leaves the tag out, and so does an empty `proof`; by default the
        version is signed with `KEY`."""
        with contextlib.suppress(MlflowException):  # it exists already
            self.client.create_registered_model(self.name)
        source = self.folder / f"artifacts-{len(list(self.folder.iterdir()))}"
        shutil.copytree(bundle, source / BUNDLE_PATH)
        version = self.client.create_model_version(self.name, source.as_uri()).version
        all_tags = {BUNDLE_TAG: sha256, **tags}
        if proof := signed(sha256) if proof is None else proof:
            all_tags[PROOF_TAG] = proof
        if gates is not None:
            all_tags["gates.passed"] = gates
        for key, value in all_tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)
        return str(version)

    def promote(self, version: str) -> None:
        """Moves the alias."""
        self.client.set_registered_model_alias(self.name, "champion", version)

    def tags(self, version: str) -> dict[str, Any]:
        """The version's present tags."""
        return dict(self.client.get_model_version(self.name, version).tags)
