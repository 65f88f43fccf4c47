"""`mer drift`: whether what the service is asked and answers has moved, and a record of it that retraining reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json, write_json
from components.contracts.config import Params
from components.contracts.errors import ConfigError, DataError, UnavailableError
from components.contracts.layout import Layout
from components.inference.profile import PROFILE, Profile
from components.monitoring.drift import LEAST_ANSWERS, Drift, compare
from components.monitoring.exposition import read_exposition
from components.monitoring.labels import read_labels
from components.serving.answers.schemas import KEY_VARIABLE, authorization
from components.tracking.address import exists, tracking_uri
from components.tracking.client import Client, impatient
from components.tracking.runs import Run, new_run
from components.tracking.versions import VersionInfo, resolve
from pipelines.project import find_root, load
from pipelines.retraining.record import report_drift

REPORT = "drift.json"
TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is kept between two looks at a version: all that was counted at the last one, and the answers that a person
    accepted as usual; None where nobody did."""

    version: str
    counted: Profile
    accepted: Profile | None = None

    @classmethod
    def read(cls, path: Path) -> Watched | None:
        """What `write` wrote; None where nothing is kept."""
        if not path.is_file():
            return None
        value = read_json(path)
        accepted = value["accepted"]
        return cls(
            version=value["version"],
            counted=Profile.from_json(value["counted"], where=str(path)),
            accepted=None if accepted is None else Profile.from_json(accepted, where=str(path)),
        )

    def write(self, path: Path) -> None:
        """Keeps it."""
        accepted = None if self.accepted is None else self.accepted.to_json()
        write_json(path, {"version": self.version, "counted": self.counted.to_json(), "accepted": accepted})


def run(*, metrics: str | None, labels: Path | None, accept: bool, dry_run: bool, as_json: bool) -> int:
    """`look` at the project around the current folder; returns 0."""
    impatient()  # a person waits
    layout = Layout(find_root())
    params = load(layout.root)
    look(layout, params, metrics=metrics, labels=labels, accept=accept, dry_run=dry_run, as_json=as_json)
    return 0


def look(
    layout: Layout,
    params: Params,
    *,
    metrics: str | None = None,
    labels: Path | None = None,
    accept: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Looks at the answers since the last look, prints what has moved, and records it.

    Args:
        metrics: the address of the service's metrics, or a file of them; by default that of the configured service.
        labels: labels that came late (`monitoring.labels`).
        accept: these answers are as they should be: later ones are compared with them.
        dry_run: print, and record nothing.
        as_json: print the outcome as one line of JSON.

    Raises:
        ConfigError: there is nothing to compare with.
        DataError: what is given are not the metrics of a service, or not labels.
        UnavailableError: the service or MLflow cannot be reached.
    """
    address = metrics or f"http://{params.serving.host}:{params.serving.port}/metrics"
    exposed = read_exposition(_text(address), where=address)
    version, counted = exposed.version, exposed.profile
    before = Watched.read(layout.watched)
    if exposed.mixed if before is None else before.version != version:
        # What another version answered says nothing of this one.
        if not dry_run:
            Watched(version=version, counted=counted).write(layout.watched)
        print(f"Answers of version {version} count from now on; look again later")
        return
    answers = counted if before is None else counted.since(before.counted)
    now = answers if labels is None else Profile(tables={**answers.tables, **read_labels(labels).tables})
    if accept:
        if not dry_run:
            Watched(version=version, counted=counted, accepted=now).write(layout.watched)
        print(f"Accepted as usual: {now.answers} answers of version {version}")
        return
    if now.answers < LEAST_ANSWERS and labels is None:
        print(f"{now.answers} answers since the last look; {LEAST_ANSWERS} are needed")
        return
    reference = _reference(layout, params, before)
    settings = params.retrain
    drift = compare(now, reference, false_alarms=settings.drift_false_alarms, least=settings.drift_least)
    _show(drift, version, now, as_json=as_json)
    if not dry_run:
        _record(layout, params, drift, version, now)
        if now.answers < LEAST_ANSWERS:  # too few to have been compared: a later look counts them
            return
        accepted = None if before is None else before.accepted
        Watched(version=version, counted=counted, accepted=accepted).write(layout.watched)


def _text(address: str) -> str:
    """The metrics at an address or in a file."""
    import httpx

    if not address.startswith(("http://", "https://")):
        try:
            return Path(address).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError("cannot read the metrics", where=address, seen=str(error)) from error
    try:
        response = httpx.get(address, headers=authorization(), timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        raise UnavailableError(
            "cannot read the service's metrics",
            where=address,
            seen=str(error),
            remedy=f"`mer serve` runs the service; {KEY_VARIABLE} holds an admin key where it asks for one.",
        ) from error
    return response.text


def _reference(layout: Layout, params: Params, before: Watched | None) -> Profile:
    """What a person accepted; before that, the answers about held-out people when the version was registered."""
    if before is not None and before.accepted is not None:
        return before.accepted
    served = _served(layout, params)
    if served is not None and served.run_id is not None:
        value = Run(Client(tracking_uri(params.tracking, layout.root)), served.run_id).read_json(PROFILE)
        if value is not None:
            return Profile.from_json(value, where=f"{PROFILE} of version {served.version}")
    raise ConfigError(
        "there is nothing to compare with",
        where="mer drift",
        seen="a version that was registered without a profile of its answers",
        remedy="`mer drift --accept` takes the present answers as usual",
    )


def _served(layout: Layout, params: Params) -> VersionInfo | None:
    uri = tracking_uri(params.tracking, layout.root)
    return resolve(params.served_model, params.rollout.alias, tracking_uri=uri) if exists(uri) else None


def _show(drift: Drift, version: str, now: Profile, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"version": version, "answers": now.answers, **drift.to_json()}, ensure_ascii=False))
        return
    print(f"Version {version}, {now.answers} answers since the last look: {len(drift.moved)} measures moved")
    for own in sorted(drift.measures, key=lambda own: (not own.moved, own.p)):
        figures = f"p {own.p:.2g}, distance {own.distance:.2f}"
        print(f"  {'moved' if own.moved else '     '}  {own.what}: {own.seen}; {figures}")
    for note in drift.notes:
        print(f"  not compared: {note}")


def _record(layout: Layout, params: Params, drift: Drift, version: str, now: Profile) -> None:
    """A run with the figures, and where something moved, the note on the version that `mer retrain` reads."""
    values: dict[str, float] = {"answers": float(now.answers), "moved": float(len(drift.moved))}
    for own in drift.measures:
        values |= {f"p.{own.measure}": own.p, f"distance.{own.measure}": own.distance}
    tags = {"mer.drift": version, "drift.reason": drift.reason}
    with new_run(params.tracking, layout.root, name=f"drift of version {version}", tags=tags) as report:
        report.metrics(values)
        report.json(_report(drift, version, now), REPORT)
    if drift.moved:
        number = report_drift(layout, params, drift.reason)
        print(f"Noted on version {number}; the next `mer retrain --if-needed` takes it into account.")


def _report(drift: Drift, version: str, now: Profile) -> dict[str, Any]:
    return {"version": version, "now": now.to_json(), **drift.to_json()}
