"""What the service says of the version that it serves, and of the others: what it is, what it takes, on which terms.

The registry is asked where it has to be, in a thread and without patience: predictions never wait for it.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.contracts.errors import MerError
from components.registry.evidence import GATES_TAG
from components.registry.register import CARD_NAME, DATA_SECTION, SHORTENED
from components.serving.answers.schemas import (
    ClipLimits,
    EncoderView,
    ExampleClip,
    GateView,
    ServedModel,
    VersionEntry,
    Versions,
)
from components.serving.http.feature_body import MAX_BYTES
from components.tracking.client import impatience
from components.tracking.errors import NotInMlflowError
from components.tracking.versions import VersionInfo, aliases_of, download, version_info, versions_of

if TYPE_CHECKING:
    from components.serving.assignment import VersionRef
    from components.serving.service import Service

# As the reconciler writes it (`rollout/versions.py`, a layer above this one).
STATE_TAG = "rollout.state"


def model(service: Service) -> ServedModel:
    """The version in service; raises UnavailableError while there is none."""
    predictor = service.current()
    description, limits = predictor.bundle.description, service.limits
    return ServedModel(
        version=service.served_version(),
        rate_hz=predictor.bundle.spec.rate_hz,
        encoders={
            name: EncoderView(encoder=own.spec, fingerprint=own.fingerprint, width=own.width)
            for name, own in predictor.bundle.encoders.items()
        },
        limits=ClipLimits(
            max_bytes=limits.max_bytes,
            max_duration_s=limits.max_duration_s,
            max_side_px=limits.max_side_px,
            max_frame_rate_hz=limits.max_frame_rate_hz,
            max_features_bytes=MAX_BYTES,
            request_timeout_s=service.settings.wall_s,
        ),
        corpora=dict(description.corpora),
        figures=dict(description.metrics),
        gates=tuple(GateView.model_validate(gate) for gate in description.gates),
    )


def example(service: Service) -> ExampleClip | None:
    """A clip to try the version in service with: its golden one; None of versions without one. Raises UnavailableError
    while there is no version."""
    golden = service.current().bundle.golden_clip
    if golden is None:
        return None
    return ExampleClip(media=b64encode(golden.media).decode(), transcript=golden.transcript)


def card(reference: VersionRef) -> str | None:
    """The model card of a version, Markdown: its description, and where that was cut, the whole card beside its model;
    None without one. Raises UnavailableError: MLflow cannot be reached."""
    name, number, uri = reference.model_name, reference.version, reference.tracking_uri
    with impatience():
        info = version_info(name, number, tracking_uri=uri)
        text = "" if info is None else info.description
        if text.endswith(SHORTENED):
            with suppress(MerError), TemporaryDirectory() as scratch:
                text = download(name, number, CARD_NAME, into=Path(scratch), tracking_uri=uri).read_text("utf-8")
    return text or None


def terms(reference: VersionRef) -> str | None:
    """Licence and consent of the data of a version: that part of its card; None without one. Raises as `card`."""
    section = DATA_SECTION.search(card(reference) or "")
    return None if section is None else section[0].strip()


def versions(reference: VersionRef) -> Versions:
    """The registered versions of the model that a version in service is of, newest first; none where the model was
    deleted meanwhile. Raises UnavailableError: MLflow cannot be reached."""
    try:
        with impatience():
            infos = versions_of(reference.model_name, tracking_uri=reference.tracking_uri)
            aliases = aliases_of(reference.model_name, tracking_uri=reference.tracking_uri)
    except NotInMlflowError:
        return Versions(name=reference.model_name, versions=())
    entries = [_entry(info, aliases, reference) for info in sorted(infos, key=lambda info: -int(info.version))]
    return Versions(name=reference.model_name, versions=tuple(entries))


def _entry(info: VersionInfo, aliases: dict[str, str], served: VersionRef) -> VersionEntry:
    return VersionEntry(
        version=info.version,
        bundle_sha256=info.bundle_sha256,
        served=info.version == served.version,
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == info.version)),
        gates_passed={"true": True, "false": False}.get(info.tags.get(GATES_TAG, "")),
        rollout_state=info.tags.get(STATE_TAG),
        registered_at=datetime.fromtimestamp(info.created_ms / 1000, UTC).isoformat(timespec="seconds"),
    )
