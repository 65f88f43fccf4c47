"""What the service says of the version that it serves, and of the others: what it is, what it takes, on which terms.

The registry is asked where it has to be, in a thread and without patience: predictions never wait for it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.contracts.errors import MerError, UnavailableError
from components.registry.evidence import GATES_TAG
from components.registry.register import CARD_NAME, DATA_SECTION, SHORTENED
from components.serving.feature_body import MAX_BYTES
from components.serving.schemas import ClipLimits, EncoderView, GateView, ServedModel, VersionEntry, Versions
from components.tracking.client import impatience
from components.tracking.versions import VersionInfo, aliases_of, download, version_info, versions_of

if TYPE_CHECKING:
    from components.serving.service import Service, VersionRef

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


def card(service: Service) -> str:
    """The model card of the version in service, Markdown: its description, and where that was cut, the whole card
    beside its model. Raises UnavailableError: there is no version, it has no card, or MLflow cannot be reached."""
    reference = _reference(service)
    name, number, uri = reference.model_name, reference.version, reference.tracking_uri
    with impatience():
        info = version_info(name, number, tracking_uri=uri)
        text = "" if info is None else info.description
        if text.endswith(SHORTENED):
            with suppress(MerError), TemporaryDirectory() as scratch:
                text = download(name, number, CARD_NAME, into=Path(scratch), tracking_uri=uri).read_text("utf-8")
    if not text:
        raise _missing("the version has no card", reference)
    return text


def terms(service: Service) -> str:
    """Licence and consent of the data of the version in service: that part of its card. Raises as `card`."""
    section = DATA_SECTION.search(card(service))
    if section is None:
        raise _missing("the card says nothing about its data", _reference(service))
    return section[0].strip()


def versions(service: Service) -> Versions:
    """The registered versions of the model in service, newest first. Raises UnavailableError: no version is served, or
    MLflow cannot be reached."""
    reference = _reference(service)
    with impatience():
        infos = versions_of(reference.model_name, tracking_uri=reference.tracking_uri)
        aliases = aliases_of(reference.model_name, tracking_uri=reference.tracking_uri)
    entries = [_entry(info, aliases, reference) for info in sorted(infos, key=lambda info: -int(info.version))]
    return Versions(name=reference.model_name, versions=tuple(entries))


def _reference(service: Service) -> VersionRef:
    service.current()
    assert service.reference is not None
    return service.reference


def _missing(what: str, reference: VersionRef) -> UnavailableError:
    where = f"{reference.model_name} version {reference.version}"
    return UnavailableError(what, where=where, remedy="`mer run` registers versions with a card.")


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
