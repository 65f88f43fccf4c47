"""`mer gates`: a version against the champion on the same held-out people; a version that passes challenges it.

`mer run` compares the version that it has registered in the same way, without moving an alias.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.errors import BundleError
from components.contracts.layout import Layout
from components.tracking.client import Client, impatient, without_progress_bars
from components.tracking.versions import (
    VersionInfo,
    aliases_of,
    describe,
    registered_version,
    remove_alias,
    resolve,
    set_alias,
    set_tags,
)
from pipelines.commands.service.woken import nudge
from pipelines.commands.table import table
from pipelines.commands.versions.promote import promote
from pipelines.commands.versions.verified import find_version, load_verified
from pipelines.project import find_root, load

if TYPE_CHECKING:
    from components.catalog.cases import Case
    from components.catalog.examples import Example
    from components.evaluation.gates import Gate
    from components.evaluation.versions.against import Contender
    from components.registry.bundle import Bundle

PREFIX = "champion."
NOT_PASSED = 5
TIMED_CLIPS = 16
LEARNED = frozenset({"train", "calibration"})
BY_ITSELF = "promotion.auto_promote"


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A version with its verified bundle."""

    info: VersionInfo
    bundle: Bundle


def run(version: str | None = None) -> int:
    """Compares a version with the champion, writes the result to the version in MLflow, and moves `challenger`.

    Args:
        version: a number or an alias; by default that of the last `mer run`.

    Returns:
        0 when every gate passed, otherwise 5.

    Raises:
        BundleError: there is no such version, or one of the two is not authentic or damaged.
        DataError: there is no catalog.
        UnavailableError: MLflow cannot be reached.
    """
    from components.tracking.address import tracking_uri

    without_progress_bars()
    impatient()
    root = find_root()
    params = load(root)
    return run_gates(version, params, Layout(root), tracking_uri(params.tracking, root))


def run_gates(version: str | None, params: Params, layout: Layout, uri: str) -> int:
    """As `run`, in a project and a store that are known."""
    info = find_version(params, version or _last(params, layout, uri), uri)
    own = Entrant(info=info, bundle=load_verified(params, layout, info, uri))
    rows = [(str(gate["name"]), _verdict(gate), str(gate["words"])) for gate in own.bundle.description.gates]
    champion = resolve(params.served_model, params.rollout.alias, tracking_uri=uri)
    if champion is not None and champion.bundle_sha256 != info.bundle_sha256:
        gates = _against(own, champion, params, layout, uri)
        rows += [(f"{PREFIX}{gate.name}", gate.verdict.value, gate.words) for gate in gates]
    passed = bool(rows) and all(verdict == "passed" for _, verdict, _ in rows)
    print(f"{info.name} version {info.version} against {f'version {champion.version}' if champion else 'no champion'}")
    print(table(("gate", "verdict", "evidence"), rows))
    leads = champion is not None and champion.bundle_sha256 == info.bundle_sha256
    _move_aliases(info, params, uri, passed=passed, leads=leads)
    nudge(params, layout)
    return 0 if passed else NOT_PASSED


def compare_last(params: Params, layout: Layout) -> None:
    """Compares the version of the last `mer run` with the champion, if that is a different one, and writes the result
    to the version's tags and page. Takes seconds; moves no alias.

    Raises:
        BundleError, DataError, UnavailableError: as `run`.
    """
    from components.tracking.address import tracking_uri

    uri = tracking_uri(params.tracking, layout.root)
    champion = resolve(params.served_model, params.rollout.alias, tracking_uri=uri)
    info = find_version(params, _last(params, layout, uri), uri)
    if champion is not None and champion.bundle_sha256 != info.bundle_sha256:
        without_progress_bars()
        impatient()
        _against(Entrant(info=info, bundle=load_verified(params, layout, info, uri)), champion, params, layout, uri)


def comparison_line(info: VersionInfo) -> str | None:
    """What a version's tags say of its comparison with the champion; None where it was not compared."""
    if f"{PREFIX}passed" not in info.tags:
        return None
    own = {name.removeprefix(PREFIX): text for name, text in info.tags.items() if name.startswith(PREFIX)}
    champion, passed = own.pop("version"), own.pop("passed") == "true"
    verdicts = {name: text.partition(":")[0] for name, text in sorted(own.items())}
    open_gates = ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items() if verdict != "passed")
    outcome = "every gate passed" if passed else f"not every gate passed: {open_gates.replace('_', ' ')}"
    return f"the champion, version {champion}: {outcome}"


def _against(own: Entrant, champion: VersionInfo, params: Params, layout: Layout, uri: str) -> list[Gate]:
    """The gates against the champion, which are recorded."""
    against = Entrant(info=champion, bundle=load_verified(params, layout, champion, uri))
    gates = compare(own, against, params, layout, uri)
    _record(own.info, champion, gates, uri)
    return gates


def compare(own: Entrant, champion: Entrant, params: Params, layout: Layout, uri: str) -> list[Gate]:
    """The gates of a version against the champion, on the test people of the catalog whom neither learned from."""
    from components.catalog.packed import read_examples
    from components.evaluation.intervals import Bootstrap
    from components.evaluation.versions.against import Duel, judge, undecided

    catalog = read_json(layout.catalog / "catalog.json")
    for entrant in (own, champion):
        if why := _incomparable(entrant, catalog):
            return undecided(params.promotion, f"version {entrant.info.version} {why}")
    runtime = params.runtime
    examples = read_examples(layout, "test", memory_mb=runtime.clips_mb, address=runtime.features)
    for entrant in (own, champion):
        unseen = _unseen(entrant, examples, uri)
        if unseen is None:
            return undecided(
                params.promotion, f"version {entrant.info.version} has no list of the people that it was trained on"
            )
        examples = unseen
    contenders = _contenders(own.bundle, champion.bundle, examples)
    labelled = any(case.clip_label >= 0 for case in contenders[0].cases)
    duel = Duel(
        challenger=contenders[0],
        champion=contenders[1],
        level="clip" if labelled else "step",
        bootstrap=Bootstrap(draws=params.evaluate.bootstrap, confidence=params.evaluate.confidence, seed=params.seed),
        bins=params.evaluate.calibration_bins,
    )
    return judge(params.promotion, duel)


def _incomparable(entrant: Entrant, catalog: Mapping[str, Any]) -> str | None:
    """Why the stored features and labels of the catalog are not those of a version, or None."""
    from components.alignment.fingerprint import served_fingerprints as served_alignments

    bundle = entrant.bundle
    if list(bundle.classes) != list(catalog["classes"]):
        return f"has different classes ({', '.join(bundle.classes)})"
    if catalog["alignment_fingerprint"] not in served_alignments(bundle.alignment):
        return "was made with a different alignment"
    for name in bundle.transform.modalities:
        stored = catalog["encoders"].get(name)
        if stored is not None and stored["fingerprint"] != bundle.encoders[name].fingerprint:
            return f"has a different encoder of {name} ({bundle.encoders[name].spec})"
    return None


def _unseen(entrant: Entrant, examples: Sequence[Example], uri: str) -> Sequence[Example] | None:
    """The clips of people whom the version did not learn from; None where that is not known."""
    from components.registry.subjects import SUBJECTS, splits_by_person
    from components.runtime.on_demand import some_of
    from components.tracking.runs import Run

    run_id = entrant.info.run_id
    listed = Run(Client(uri), run_id).read_json(SUBJECTS) if run_id else None
    if listed is None:
        corpora = set(entrant.bundle.description.corpora)
        return examples if corpora and corpora.isdisjoint({clip.dataset for clip in examples}) else None
    seen = set()
    for person in {clip.subject_id for clip in examples}:
        splits = {split for entry in splits_by_person(listed, [person]).values() for split in entry}
        if splits & LEARNED:
            seen.add(person)
    return some_of(examples, lambda clip: clip.subject_id not in seen)


def _contenders(own: Bundle, champion: Bundle, examples: Sequence[Example]) -> tuple[Contender, Contender]:
    """Both versions on the clips of which each has a modality."""
    from components.catalog.cases import prepare
    from components.evaluation.versions.against import contender
    from components.model.files import WEIGHTS
    from components.runtime.on_demand import some_of

    prepared = [prepare(examples, bundle.transform) for bundle in (own, champion)]
    shared = {case.clip_id for case in prepared[0]} & {case.clip_id for case in prepared[1]}
    first, second = (
        contender(
            bundle.scorer(),
            chosen := some_of(cases, lambda case: case.clip_id in shared),
            latency_s=_latency_s(bundle, chosen),
            weights_bytes=(bundle.folder / WEIGHTS).stat().st_size,
        )
        for bundle, cases in zip((own, champion), prepared, strict=True)
    )
    return first, second


def _latency_s(bundle: Bundle, cases: Sequence[Case]) -> float:
    """Median processor time of the model for a clip, in seconds; the first pass warms up and is not counted."""
    import numpy as np

    scorer, taken = bundle.scorer(), []
    for case in [*cases[:TIMED_CLIPS], *cases[:TIMED_CLIPS]]:
        start = time.process_time()
        scorer.score(case.features, case.masks)
        taken.append(time.process_time() - start)
    return float(np.median(taken[len(taken) // 2 :])) if taken else float("nan")


def _record(info: VersionInfo, champion: VersionInfo, gates: Sequence[Gate], uri: str) -> None:
    """As tags for filters, and as a table on top of the version's page."""
    from components.registry.evidence import MAX_TAG
    from components.registry.model_card import with_comparison

    tags = {f"{PREFIX}{gate.name}": f"{gate.verdict.value}: {gate.words}"[:MAX_TAG] for gate in gates}
    passed = "true" if all(gate.passed for gate in gates) else "false"
    set_tags(
        info.name,
        info.version,
        {**tags, f"{PREFIX}version": champion.version, f"{PREFIX}passed": passed},
        tracking_uri=uri,
    )
    text = with_comparison(info.description, [gate.to_json() for gate in gates], champion.version)
    describe(info.name, info.version, text, tracking_uri=uri)


def _move_aliases(info: VersionInfo, params: Params, uri: str, *, passed: bool, leads: bool) -> None:
    from components.registry.register import CHALLENGER

    aliases = aliases_of(info.name, tracking_uri=uri)
    if passed and not leads:
        set_alias(info.name, CHALLENGER, info.version, tracking_uri=uri)
        print(f"It passed: the alias {CHALLENGER} is on it.")
        if params.promotion.auto_promote:
            promote(info, params, by=BY_ITSELF, uri=uri)
        else:
            print(f"A person promotes it: `mer promote {info.version}`, or the alias {params.rollout.alias} in MLflow.")
    elif not passed:
        if aliases.get(CHALLENGER) == info.version:
            remove_alias(info.name, CHALLENGER, tracking_uri=uri)
        print(f"It did not pass: it is not the {CHALLENGER}.")


def _last(params: Params, layout: Layout, uri: str) -> str:
    """The version of the last `mer run`."""
    record = Path(layout.registered / "registered.json")
    sha256 = read_json(record)["bundle_sha256"] if record.is_file() else ""
    number = registered_version(params.registry.model_name, sha256, tracking_uri=uri) if sha256 else None
    if number is None:
        raise BundleError(
            "no version was registered here yet", where=str(record), remedy="`mer run`, or name a version."
        )
    return number


def _verdict(gate: Mapping[str, Any]) -> str:
    return str(gate.get("verdict") or ("passed" if gate["passed"] else "failed"))
