"""The `register` stage: `data/trained` and `data/evaluated` → a bundle below `.mer/bundles`, a registered version."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.alignment.fingerprint import alignment_fingerprint
from components.catalog.cases import Case, prepare, shown_clips
from components.catalog.packed import read_examples
from components.contracts.atomic import read_json, write_json
from components.contracts.columns import ROWS_AT_ONCE
from components.contracts.config import Alignment, Registry, Runtime, Tracking
from components.contracts.errors import ModelError
from components.contracts.fingerprint import file_sha256
from components.contracts.labels import Taxonomy
from components.contracts.layout import Layout
from components.contracts.lineage import Lineage, collect
from components.features.base import pretrained_of
from components.features.registry import create
from components.features.transform import Transform
from components.inference.calibration import Calibration
from components.inference.outliers import Reference
from components.inference.profile import PROFILE, Outcome, Profile
from components.inference.scoring import Scorer, keep
from components.inference.semi_markov import Smoother
from components.model.base import EmotionModel, count_parameters
from components.model.build import used_modalities
from components.model.files import WEIGHTS, load_model
from components.model.spec import ModelSpec
from components.registry import golden_clip
from components.registry.bundle import Description, EncoderSpec, Expert, load_bundle, write_bundle
from components.registry.evidence import Recorded, all_passed, contract_tags, gate_tags
from components.registry.goldens import Golden
from components.registry.keys import signing_key
from components.registry.model_card import Cost, model_card
from components.registry.proof import STAGE, statement_of
from components.registry.register import register
from components.registry.starter import register_first
from components.registry.subjects import SUBJECTS, list_subjects
from components.registry.terms import Corpus, read_corpora
from components.tracking.address import tracking_uri
from components.tracking.runs import run_of
from components.training.earlier import Taken

GOLDENS = 4
TIMED_CLIPS = 16
# Of `predictions.parquet`.
PROFILED = ("clip_id", "present", "label", "answer", "confidence", "contradiction")
# The description carries the headline figures; the whole tree is in `data/evaluated/metrics.json` and in the run.
HEADLINES = ("level", "objective", "clip", "step", "counts")


def run(
    layout: Layout,
    *,
    alias: str,
    alignment: Alignment,
    golden_tolerance: float,
    registry: Registry,
    seed: int,
    runtime: Runtime,
    tracking: Tracking,
) -> dict[str, Any]:
    """Builds the bundle, checks it as a replica would, registers and signs it, and writes
    `data/registered/registered.json`.

    `seed` is recorded in the version's lineage, which `bundle_sha256` does not cover. `alias` is the
    rollout's. The first version of a model is the starter (`registry.starter`), and it gets the alias; without it, the
    first version that passes its gates and was trained on recordings of people (`registry.min_recorded_people`). A test
    split whose features take more than `runtime.clips_mb` is read from disk, clip by clip.

    Raises:
        ModelError: the configured alignment is not the one that the features were made with.
        DataError: a clip table is not the one that the catalog was made from.
        BundleError: the new bundle does not load or does not reproduce its goldens.
        ConfigError: the key that the environment names cannot be used.
        UnavailableError: MLflow cannot be reached.
    """
    catalog = read_json(layout.catalog / "catalog.json")
    metrics = read_json(layout.evaluated / "metrics.json")
    gates = read_json(layout.evaluated / "gates.json")
    model = load_model(layout.trained, classes=tuple(catalog["classes"]))
    lineage = collect(layout.root, data_sha256=catalog["sha256"], datasets=dict(catalog["datasets"]), seed=seed)
    encoders = {name: catalog["encoders"][name] for name in model.spec.names}
    transform = Transform.load(layout.trained)
    test = prepare(read_examples(layout, "test", memory_mb=runtime.clips_mb, address=runtime.features), transform)
    experts = experts_of(catalog["encoders"], model.spec, catalog["taxonomy"])
    corpora = read_corpora(layout, catalog["datasets"])
    started = Taken.read(layout.started)
    folder, sha256 = _build(
        layout,
        catalog,
        model,
        transform,
        test,
        alignment=alignment,
        golden_tolerance=golden_tolerance,
        encoders=encoders,
        experts=experts,
        corpora=corpora,
        started=started,
        lineage=lineage,
        metrics=metrics,
        gates=gates,
    )
    passed = all_passed(gates)
    uri = tracking_uri(tracking, layout.root)
    card = model_card(
        name=registry.model_name,
        corpora=corpora,
        started=started,
        taxonomy=catalog["taxonomy"] if isinstance(catalog["taxonomy"], str) else catalog["taxonomy"]["name"],
        catalog=catalog,
        metrics=metrics,
        gates=gates,
        encoders=encoders,
        experts=experts,
        cost=measured_cost(layout, model, test),
        preset=model.spec.model.preset,
        upper=model.spec.upper,
        lineage=lineage.tags(),
    )
    run = run_of(tracking, layout.root, file_sha256(layout.trained / WEIGHTS))
    columns = ["dataset", "subject_id", "split"]
    people = (
        pq.read_table(layout.catalog / "catalog.parquet", columns=columns).group_by(columns).aggregate([]).to_pylist()
    )
    rendered = {corpus.name: corpus.rendered for corpus in corpora}
    recorded = Recorded.of(people, rendered, wanted=registry.min_recorded_people)
    run.json(list_subjects(people, salt=catalog["sha256"]), SUBJECTS)
    run.json(answers_about_held_out(layout, model.spec.names, test).to_json(), PROFILE)
    starter = None
    if registry.starter:
        starter = register_first(name=registry.model_name, alias=alias, tracking=tracking, root=layout.root)
    done = register(
        folder,
        name=registry.model_name,
        bundle_sha256=sha256,
        tags={
            **lineage.tags(),
            **gate_tags(gates),
            **recorded.tags(),
            **contract_tags(layout, catalog["datasets"]),
            **({} if started is None else started.tags()),
        },
        leads=passed and recorded.enough,
        challenges=passed,
        card=card,
        run_id=run.run_id,
        alias=alias,
        tracking_uri=uri,
        proof=signing_key(layout.signing).sign(statement_of(sha256, gates, lineage, signed_by=STAGE)),
    )
    outcome = {"bundle_sha256": sha256, "model_name": registry.model_name, "gates_passed": passed}
    write_json(layout.registered / "registered.json", outcome)
    return {
        **outcome,
        "version": done.version,
        "aliases": list(done.aliases),
        "reused": done.reused,
        **({} if starter is None else {"starter": starter.version}),
        "run_id": run.run_id,
        "bundle": folder.relative_to(layout.root).as_posix(),
    }


def _build(
    layout: Layout,
    catalog: Mapping[str, Any],
    model: EmotionModel,
    transform: Transform,
    test: Sequence[Case],
    *,
    alignment: Alignment,
    golden_tolerance: float,
    encoders: Mapping[str, Mapping[str, Any]],
    experts: Mapping[str, Expert],
    corpora: Sequence[Corpus],
    started: Taken | None,
    lineage: Lineage,
    metrics: Mapping[str, Any],
    gates: Sequence[Mapping[str, Any]],
) -> tuple[Path, str]:
    """Writes the bundle, loads it again, checks its goldens, and stores it under its hash."""
    fingerprint = alignment_fingerprint(alignment)
    if fingerprint != catalog["alignment_fingerprint"]:
        raise ModelError(
            "the features were made with alignment settings that differ from the configured ones",
            where="register",
            seen=catalog["alignment_fingerprint"][:12],
            allowed=fingerprint[:12],
            remedy="Run the whole pipeline again: `mer run`.",
        )
    calibration = Calibration.from_json(read_json(layout.evaluated / "calibration.json"))
    scorer = Scorer(model, calibration)
    description = Description(
        taxonomy=catalog["taxonomy"],
        spec=model.spec,
        alignment=alignment,
        alignment_fingerprint=fingerprint,
        encoders={
            name: EncoderSpec(spec=entry["spec"], fingerprint=entry["fingerprint"], width=int(entry["width"]))
            for name, entry in encoders.items()
        },
        calibration=calibration,
        smoother=Smoother.from_json(read_json(layout.evaluated / "smoothing.json")),
        metrics={name: metrics[name] for name in HEADLINES if name in metrics},
        gates=gates,
        experts=experts,
        corpora={corpus.name: corpus.kind for corpus in corpora},
        started_from={} if started is None else started.to_json(),
    )
    fresh = layout.state / "bundles" / "new"
    sha256 = write_bundle(
        fresh,
        description=description,
        model=model,
        transform=transform,
        reference=Reference.load(layout.evaluated),
        goldens=choose_goldens(test, scorer),
        lineage=lineage,
        golden_clip=golden_clip.record(
            {name: encoders[name]["spec"] for name in transform.modalities}, transform, scorer, alignment
        ),
    )
    load_bundle(fresh).check_goldens(golden_tolerance)
    folder = fresh.with_name(sha256)
    if folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    return folder, sha256


def experts_of(
    encoders: Mapping[str, Mapping[str, Any]], spec: ModelSpec, classes: str | Mapping[str, Any]
) -> dict[str, Expert]:
    """The classifiers of the configured encoders of the modalities that no training clip had.

    Args:
        encoders: modality → spec, fingerprint and width, of the catalog.
        spec: of the model.
        classes: the version's taxonomy as JSON; a classifier that tells no two of its classes apart is left out.
    """
    experts = {}
    for modality, entry in encoders.items():
        if modality in spec.names or modality not in used_modalities(spec.model, {*spec.names, modality}):
            continue
        classifier = pretrained_of(create(entry["spec"], modality))
        if classifier is not None and classifier.is_useful(Taxonomy.from_json(classes)):
            encoder = EncoderSpec(spec=entry["spec"], fingerprint=entry["fingerprint"], width=int(entry["width"]))
            experts[modality] = Expert(encoder=encoder, classifier=classifier)
    return experts


def answers_about_held_out(layout: Layout, modalities: Sequence[str], test: Sequence[Case]) -> Profile:
    """The profile of the answers about the test split, which those of the service are compared with later."""
    path = layout.evaluated / "predictions.parquet"
    people = pc.count_distinct(pq.read_table(path, columns=["subject_id"])["subject_id"]).as_py()
    reference = Reference.load(layout.evaluated)
    distances = {
        case.clip_id: {
            name: check.distance / check.threshold
            for name, check in reference.judge(case.features, case.masks).items()
            if check.threshold > 0
        }
        for case in test
    }
    outcomes = (
        Outcome(
            emotion=row["answer"],
            confidence=row["confidence"],
            presence={name: name in row["present"] for name in modalities},
            distances=distances.get(row["clip_id"], {}),
            contradiction=row["contradiction"],
            label=row["label"],
        )
        for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=list(PROFILED))
        for row in batch.to_pylist()
    )
    return Profile.of(outcomes, people=people)


def choose_goldens(cases: Sequence[Case], scorer: Scorer) -> list[Golden]:
    """A few test clips, one of each informative kind, and the first again with one modality only: a missing modality
    takes a different path through the model."""
    chosen = [cases[index] for index in shown_clips(cases, GOLDENS)]
    goldens = [Golden.record(case.clip_id, case.features, case.masks, scorer) for case in chosen]
    if chosen and len(chosen[0].present) > 1:
        only = chosen[0].present[0]
        goldens.append(
            Golden.record(
                f"{chosen[0].clip_id} ({only} only)", *keep(chosen[0].features, chosen[0].masks, [only]), scorer
            )
        )
    return goldens


def measured_cost(layout: Layout, model: EmotionModel, test: Sequence[Case]) -> Cost:
    """Size and computing time of the model on this machine: for the model card only, since no output may depend on the
    machine."""
    cases = list(test[:TIMED_CLIPS])
    scorer = Scorer(model, Calibration())
    taken = []
    # The first pass over the clips warms up and is not counted.
    for case in [*cases, *cases]:
        start = time.process_time()
        scorer.score(case.features, case.masks)
        taken.append(time.process_time() - start)
    return Cost(
        parameters=count_parameters(model),
        weights_bytes=(layout.trained / WEIGHTS).stat().st_size,
        seconds=float(np.median(taken[len(cases) :])),
        clip_s=float(np.median([case.steps / case.rate_hz for case in cases])),
    )
