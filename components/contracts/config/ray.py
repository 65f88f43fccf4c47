"""The section `ray`."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class RayResources(Section):
    """The one Ray of a run, when no cluster's address is given."""

    num_cpus: int = Field(2, gt=0)
    """Processors that Ray may hand out."""

    object_store_mb: int = Field(512, ge=80)
    """Size of Ray's shared memory for objects, in MiB."""
