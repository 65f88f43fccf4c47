from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Model, Params, Promotion
from components.contracts.errors import DataError, ModelError
from components.contracts.labels import taxonomy
from components.contracts.layout import Layout
from components.contracts.records import clip_table
from components.features.registry import create
from components.inference.calibration import Calibration
from components.inference.profile import PROFILE, Profile
from components.model.files import WEIGHTS
from components.model.spec import ModelSpec
from components.registry.bundle import load_bundle
from components.registry.evidence import contract_tags, gate_tags
from components.registry.fetch import fetch_bundle
from components.registry.keys import TrustedKeys
from components.registry.marking import search
from components.registry.proof import PROOF_TAG
from components.registry.stage import experts_of
from components.runtime.transformer_layer import TransformerLayer
from components.serving.answers.schemas import Answer
from components.serving.assignment import VersionRef
from components.serving.http import about
from components.serving.metrics import ServiceMetrics
from components.tracking.client import Client
from components.tracking.runs import Run
from components.tracking.versions import PROMOTED_BY, resolve, version_info
from components.training.adapted import ADAPTABLE, Adaptable
from pipelines.commands import drift
from pipelines.commands.versions.gates import BY_ITSELF, compare_last, comparison_line, run_gates
from pipelines.retraining.gather import trained_version
from pipelines.run import compare_with_champion
from pipelines.stages import call_stage
from tests.registry.projects import EvaluatedProject, make_params, make_project, toy_clips
from tests.serving.answers.test_schemas import answer_fields

pytestmark = pytest.mark.integration


@pytest.fixture
def project(evaluated_project: EvaluatedProject) -> tuple[Params, Layout]:
    """Registering changes nothing that another test reads, so the project is no copy."""
    return evaluated_project.params, evaluated_project.layout


def test_the_stage_registers_what_was_evaluated(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path
) -> None:
    params, layout = project
    summary = call_stage("register", params, layout)
    written = read_json(layout.registered / "registered.json")
    assert written == {
        "bundle_sha256": summary["bundle_sha256"],
        "model_name": "stage-toy",
        "gates_passed": summary["gates_passed"],
    }
    champion = resolve("stage-toy", "champion", tracking_uri=mlflow_uri)
    challenger = resolve("stage-toy", "challenger", tracking_uri=mlflow_uri)
    assert champion == challenger
    assert champion is not None
    assert champion.tags["gates.passed"] == "true"
    assert champion.tags["gates.ece"].startswith("passed: clip confidence is off by")
    assert champion.tags["gx.success"] == champion.tags["gx.toy"] == "true"
    assert champion.tags["lineage.data_sha256"] == read_json(layout.catalog / "catalog.json")["sha256"]
    folder = fetch_bundle("stage-toy", champion.version, tracking_uri=mlflow_uri, cache_dir=tmp_path)
    bundle = load_bundle(folder)
    assert bundle.sha256 == summary["bundle_sha256"]
    assert bundle.check_goldens(1e-6) <= 1e-6
    assert bundle.goldens[-1].name.endswith("only)")
    own_key = TrustedKeys.of((), layout.signing).keyring()
    statement = own_key.verify(champion.tags[PROOF_TAG], bundle_sha256=bundle.sha256, where="here")
    assert (statement.signed_by, statement.data_sha256) == ("register", champion.tags["lineage.data_sha256"])
    assert statement.gates == dict.fromkeys(("gain_over_majority", "ece", "missing_modality_drop"), "passed")
    assert bundle.spec.absent == ("never",)
    people = {row["subject_id"]: row["split"] for row in pq.read_table(layout.catalog / "catalog.parquet").to_pylist()}
    for subject_id, split in people.items():
        affected = search({subject_id}, tracking_uri=mlflow_uri).affected
        own = [entry for entry in affected if entry.name == "stage-toy"]
        assert [(entry.version, *entry.people.values()) for entry in own] == [(champion.version, (split,))]
    version = MlflowClient(mlflow_uri).get_model_version("stage-toy", champion.version)
    assert version.description.startswith("# stage-toy: emotion over time from face, voice and text")
    assert version.run_id == summary["run_id"]
    for line in (
        "* **toy**: 96 clips of 12 people; source: unknown; hash `",
        "  * licence: CC0\n    consent: in writing\n    clips: ",
        "  * licence: CC0\n    consent: in writing, and to publication\n    clips: test 32 clips of 4 people",
    ):
        assert line in version.description


def test_the_service_shows_the_card_its_terms_and_the_versions(project: tuple[Params, Layout], mlflow_uri: str) -> None:
    summary = call_stage("register", *project)
    reference = VersionRef(
        model_name="stage-toy",
        version=summary["version"],
        bundle_sha256=summary["bundle_sha256"],
        tracking_uri=mlflow_uri,
    )
    card = about.card(reference)
    assert card is not None
    assert card.startswith("# stage-toy: emotion over time")
    assert "## Uses that are forbidden" in card
    terms = about.terms(reference)
    assert terms is not None
    assert terms.startswith("## Data and consent")
    assert "licence: CC0" in terms
    (entry,) = [entry for entry in about.versions(reference).versions if entry.served]
    assert entry.version == summary["version"]
    assert entry.bundle_sha256 == summary["bundle_sha256"]
    assert (set(entry.aliases), entry.gates_passed) == ({"champion", "challenger"}, True)
    other = reference.model_copy(update={"version": "999"})
    assert (about.card(other), about.terms(other)) == (None, None)


def test_what_the_service_counts_is_compared_and_what_moved_is_noted_for_retraining(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = project
    summary = call_stage("register", params, layout)
    stored = Run(Client(mlflow_uri), summary["run_id"]).read_json(PROFILE)
    held_out = Profile.from_json(stored, where="here")
    predictions = pq.read_table(layout.evaluated / "predictions.parquet")
    assert (held_out.answers, held_out.people) == (
        predictions.num_rows,
        len(set(predictions["subject_id"].to_pylist())),
    )
    assert {"correct", "label", "presence.face", "distance.voice", "confidence"} <= set(held_out.tables)

    metrics = ServiceMetrics()
    answer = Answer.model_validate(answer_fields())
    answer = answer.model_copy(update={"model": answer.model.model_copy(update={"version": summary["version"]})})
    metrics.served(answer.model, before=None)
    watched = Layout(tmp_path)

    def looked(*, face: float, accept: bool = False) -> str:
        for _ in range(60):
            metrics.answered(answer.model_copy(update={"presence": {"face": face, "voice": 1.0}}))
        file = tmp_path / "metrics.txt"
        file.write_bytes(metrics.exposition())
        drift.look(watched, params, metrics=str(file), accept=accept)
        return capsys.readouterr().out

    def noted() -> str | None:
        version = version_info("stage-toy", summary["version"], tracking_uri=mlflow_uri)
        assert version is not None
        return trained_version(version).drift

    assert "4 before; 30 of each are needed" in looked(face=1.0)  # the test split has four people
    assert "Accepted as usual: 60 answers" in looked(face=1.0, accept=True)
    assert "0 measures moved" in looked(face=1.0)
    assert noted() is None
    assert "1 measures moved" in looked(face=0.0)
    reason = noted()
    assert reason is not None
    assert reason.startswith("how often clips have face: missing 0% → 100% (p ")
    experiment = MlflowClient(mlflow_uri).get_run(summary["run_id"]).info.experiment_id
    reports = MlflowClient(mlflow_uri).search_runs([experiment], f"tags.`mer.drift` = '{summary['version']}'")
    assert [run.data.metrics["moved"] for run in reports] == [1.0, 0.0, 0.0]


def test_a_corrected_consent_reaches_the_card_of_the_registered_version(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path
) -> None:
    params, layout = project
    first = call_stage("register", params, layout)
    corrected = Layout(tmp_path / "copy")
    shutil.copytree(layout.root / "data", corrected.root / "data")
    clips = [replace(clip, consent="") for clip in toy_clips(layout)]
    write_table(corrected.dataset("toy") / "clips.parquet", clip_table(clips))
    again = call_stage("register", params, corrected)
    assert (again["version"], again["bundle_sha256"]) == (first["version"], first["bundle_sha256"])
    description = MlflowClient(mlflow_uri).get_model_version("stage-toy", again["version"]).description
    assert "consent: **unknown**: ask its authors what the people in it agreed to" in description
    assert "in writing" not in description


def test_a_clip_table_of_other_clips_is_refused(project: tuple[Params, Layout], tmp_path: Path) -> None:
    params, layout = project
    changed = Layout(tmp_path / "copy")
    shutil.copytree(layout.root / "data", changed.root / "data")
    clips = [replace(clip, content_sha256="f" * 64) for clip in toy_clips(layout)]
    write_table(changed.dataset("toy") / "clips.parquet", clip_table(clips))
    with pytest.raises(DataError, match=r"not the one that the catalog was made from; seen 'different content'"):
        call_stage("register", params, changed)


def test_registering_again_reuses_the_version_and_the_hash_is_of_the_content(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path
) -> None:
    params, layout = project
    first = call_stage("register", params, layout)
    elsewhere = Layout(tmp_path / "copy")
    shutil.copytree(layout.root / "data", elsewhere.root / "data")
    # Whether memory holds the test clips changes nothing.
    on_disk = params.model_copy(update={"runtime": params.runtime.model_copy(update={"clips_mb": 0})})
    again = call_stage("register", on_disk, elsewhere)
    assert again["bundle_sha256"] == first["bundle_sha256"]
    assert again["version"] == first["version"]
    assert again["reused"]
    assert len(MlflowClient(mlflow_uri).search_model_versions("name = 'stage-toy'")) == 1


def test_a_version_that_fails_its_gates_is_registered_without_an_alias(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path
) -> None:
    params, layout = project
    params = params.model_copy(update={"registry": params.registry.model_copy(update={"model_name": "stage-weak"})})
    failed = Layout(tmp_path / "copy")
    shutil.copytree(layout.root / "data", failed.root / "data")
    gates = read_json(failed.evaluated / "gates.json")
    gates[0].update(passed=False, verdict="failed", words="too weak")
    write_json(failed.evaluated / "gates.json", gates)
    summary = call_stage("register", params, failed)
    assert summary["aliases"] == []
    assert not summary["gates_passed"]
    assert resolve("stage-weak", "champion", tracking_uri=mlflow_uri) is None
    assert resolve("stage-weak", "challenger", tracking_uri=mlflow_uri) is None
    weak = version_info("stage-weak", summary["version"], tracking_uri=mlflow_uri)
    assert weak is not None
    assert weak.tags["gates.passed"] == "false"
    assert weak.tags["gates.gain_over_majority"] == "failed: too weak"


def test_a_version_is_compared_with_the_champion_on_the_same_people(
    project: tuple[Params, Layout], mlflow_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = project
    registry = params.registry.model_copy(update={"model_name": "stage-duel"})
    params = params.model_copy(update={"registry": registry})
    first = call_stage("register", params, layout)
    assert run_gates(None, params, layout, mlflow_uri) == 0
    assert "against version 1" in capsys.readouterr().out  # it leads already: its own gates are all there is
    second = Layout(tmp_path / "copy")
    shutil.copytree(layout.root / "data", second.root / "data")
    shutil.copytree(layout.signing, second.signing)
    calibration = read_json(second.evaluated / "calibration.json")
    write_json(second.evaluated / "calibration.json", {**calibration, "clip": 2 * calibration["clip"]})
    challenger = call_stage("register", params, second)["version"]
    assert challenger != first["version"]
    before = MlflowClient(mlflow_uri).get_registered_model("stage-duel").aliases
    compare_last(params, second)  # as `mer run` does at its end
    assert MlflowClient(mlflow_uri).get_registered_model("stage-duel").aliases == before
    tags = MlflowClient(mlflow_uri).get_model_version("stage-duel", challenger).tags
    assert tags["champion.version"] == first["version"]
    on_disk = params.model_copy(update={"runtime": params.runtime.model_copy(update={"clips_mb": 0})})
    compare_last(on_disk, second)  # whether memory holds the clips changes nothing
    again = MlflowClient(mlflow_uri).get_model_version("stage-duel", challenger).tags
    assert list(second.packed.iterdir())
    timed = {"champion.latency_ratio": "", "champion.passed": ""}
    assert {**again, **timed} == {**tags, **timed}
    # The same answers with a different confidence.
    assert tags["champion.loss"].startswith("passed: clip macro-F1 is 0.000 [0.000, 0.000] below the champion's on 4")
    assert tags["champion.size_ratio"].startswith("passed: its weights are ")
    description = MlflowClient(mlflow_uri).get_model_version("stage-duel", challenger).description
    assert "## Against the champion, version 1\n| gate | verdict | evidence |" in description
    # Bounds that nothing keeps, and then such that everything does.
    outcomes, lines = {}, {}
    for bound in (0.01, 1.0):
        bounds = {name: bound for name in Promotion.model_fields if name != "auto_promote"}
        bounded = {"max_latency_ratio": 50 * bound, "max_size_ratio": 2 * bound}
        promotion = Promotion(**{**bounds, **bounded}, auto_promote=bound == 1.0)
        code = run_gates(challenger, params.model_copy(update={"promotion": promotion}), second, mlflow_uri)
        aliases = MlflowClient(mlflow_uri).get_registered_model("stage-duel").aliases
        outcomes[bound] = (code, {alias: str(number) for alias, number in aliases.items()})
        compared = version_info("stage-duel", challenger, tracking_uri=mlflow_uri)
        assert compared is not None
        lines[bound] = comparison_line(compared)
    assert outcomes[0.01] == (5, {"champion": first["version"]})
    assert outcomes[1.0] == (0, {"challenger": challenger, "champion": challenger})
    champion = f"the champion, version {first['version']}"
    assert re.fullmatch(f"{champion}: not every gate passed: .*latency ratio failed.*", str(lines[0.01]))
    assert lines[1.0] == f"{champion}: every gate passed"
    assert MlflowClient(mlflow_uri).get_model_version("stage-duel", challenger).tags[PROMOTED_BY] == BY_ITSELF


def test_a_comparison_that_cannot_be_made_is_told_and_no_more(
    mlflow_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_with_champion(Layout(tmp_path), make_params(mlflow_uri, "stage-nothing"))
    assert "the version was not compared with the champion: " in capsys.readouterr().err


def test_a_bundle_holds_the_weights_of_the_second_training_and_the_calibration_of_the_first(
    project: tuple[Params, Layout], tmp_path: Path, mlflow_uri: str
) -> None:
    _, plain = project
    params = make_params(mlflow_uri, "stage-refit")
    params = params.model_copy(update={"train": params.train.model_copy(update={"refit": True})})
    layout = make_project(tmp_path, params)
    summary = call_stage("register", params, layout)
    bundle = load_bundle(layout.root / summary["bundle"])
    final, first = (load_file(folder / WEIGHTS) for folder in (layout.trained, layout.trained_first))
    weights = bundle.model.state_dict()
    assert weights.keys() == final.keys()
    assert all(torch.equal(weights[name], final[name]) for name in final)
    assert any(not torch.equal(weights[name], first[name]) for name in final)
    # What was fitted is to the byte what a run without the second training fits.
    for name in ("calibration.json", "smoothing.json", "reference.json", "reference.safetensors"):
        assert (layout.evaluated / name).read_bytes() == (plain.evaluated / name).read_bytes()
    assert bundle.calibration == Calibration.from_json(read_json(plain.evaluated / "calibration.json"))
    # The figures are of what is in the bundle.
    assert bundle.check_goldens(1e-6) <= 1e-6
    answered = {row["clip_id"]: row for row in pq.read_table(layout.evaluated / "predictions.parquet").to_pylist()}
    golden = bundle.goldens[0]
    np.testing.assert_allclose(golden.expected["clip"], answered[golden.name]["posterior"], atol=1e-6)
    version = MlflowClient(mlflow_uri).get_model_version("stage-refit", summary["version"])
    assert "trained again, from the start, on both splits" in version.description
    assert "then trained again on both" in (layout.evaluated / "report.html").read_text()


def test_different_alignment_settings_are_refused(project: tuple[Params, Layout]) -> None:
    params, layout = project
    other = params.model_copy(update={"alignment": params.alignment.model_copy(update={"rate_hz": 12.5})})
    with pytest.raises(ModelError, match="alignment settings that differ from the configured ones"):
        call_stage("register", other, layout)


def test_without_any_gate_the_tag_is_false() -> None:
    assert gate_tags([]) == {"gates.passed": "false"}


def test_one_failed_contract_fails_all(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_json(layout.validated("a") / "result.json", {"success": True})
    write_json(layout.validated("b") / "result.json", {"success": False})
    assert contract_tags(layout, {"a": "", "b": "", "c": ""}) == {
        "gx.a": "true",
        "gx.b": "false",
        "gx.success": "false",
    }


def encoders(**specs: str) -> dict[str, dict[str, Any]]:
    """As a catalog lists them."""
    created = {name: create(spec, name) for name, spec in specs.items()}
    return {
        name: {"spec": specs[name], "fingerprint": encoder.fingerprint, "width": encoder.width}
        for name, encoder in created.items()
    }


def test_classifiers_judge_what_was_not_trained_and_nothing_else() -> None:
    listed = encoders(face="fer", voice="signal", text="hashing")
    voice = ModelSpec(modalities={"voice": listed["voice"]["width"]}, classes=taxonomy("abaw8").classes, model=Model())
    experts = experts_of(listed, voice, "abaw8")
    assert list(experts) == ["face"]
    assert experts["face"].encoder.fingerprint == listed["face"]["fingerprint"]
    assert "FER2013" in experts["face"].classifier.trained_on
    both = replace(voice, modalities={"face": 128, "voice": listed["voice"]["width"]})
    assert experts_of(listed, both, "abaw8") == {}
    assert experts_of(encoders(face="hog", voice="signal"), voice, "abaw8") == {}


def test_layers_of_an_encoder_that_learned_are_in_the_bundle(
    mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, evaluation and registration with a tiny encoder: two frames of five numbers in a step."""
    torch.manual_seed(1)
    base = torch.nn.ModuleList(TransformerLayer(5, 1) for _ in range(2))
    tiny = Adaptable(base_sha256="1" * 64, width=5, heads=1, layers=2, load=lambda: base)
    monkeypatch.setitem(ADAPTABLE, ("voice", "toy"), tiny)  # type: ignore[arg-type]
    params = make_params(mlflow_uri, "stage-upper")
    train = params.train.model_dump() | {"adapt": {"voice": {"layers": 1, "rank": 2}}}
    layout = make_project(tmp_path / "project", Params.model_validate({**params.model_dump(), "train": train}))
    call_stage("register", Params.model_validate({**params.model_dump(), "train": train}), layout)

    challenger = resolve("stage-upper", "challenger", tracking_uri=mlflow_uri)
    assert challenger is not None
    folder = fetch_bundle("stage-upper", challenger.version, tracking_uri=mlflow_uri, cache_dir=tmp_path / "cache")
    bundle = load_bundle(folder)
    assert bundle.check_goldens(1e-6) <= 1e-6
    assert bundle.transform.raw == {"voice"}
    assert read_json(folder / "bundle.json")["model"]["upper"]["voice"] == {
        "encoder": "toy",
        "base_sha256": "1" * 64,
        "width": 5,
        "heads": 1,
        "layers": 2,
        "learned": 1,
        "method": "lora",
        "rank": 2,
    }
    weights = load_file(folder / WEIGHTS)
    assert torch.equal(weights["upper.voice.layers.0.qkv.weight"], base[0].qkv.weight)
    assert torch.equal(weights["upper.voice.layers.1.qkv.base_layer.weight"], base[1].qkv.weight)
    assert weights["upper.voice.layers.1.qkv.lora_B.default.weight"].any()
    card = version_info("stage-upper", challenger.version, tracking_uri=mlflow_uri)
    assert "the last 1 learned with the model (LoRA of rank 2)" in str(card)
