"""What the service says of versions, with a real MLflow store."""

from __future__ import annotations

import pytest

from components.serving.answers.schemas import Versions
from components.serving.assignment import VersionRef
from components.serving.http import about


@pytest.mark.integration
def test_of_a_model_that_was_deleted_there_are_no_versions(mlflow_uri: str) -> None:
    reference = VersionRef(model_name="deleted", version="4", bundle_sha256="0" * 64, tracking_uri=mlflow_uri)
    assert about.versions(reference) == Versions(name="deleted", versions=())
    assert about.card(reference) is None
    assert about.terms(reference) is None
