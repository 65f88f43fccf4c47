"""The state of one replica: the version that it serves, and the change to a different one without downtime.

No Ray and no web framework here. The predictor of a new version is completed (bundle fetched, hash and golden examples
checked, encoders loaded, the child that opens media ready) before one assignment replaces the old one; a request keeps
the predictor it started with.
"""

from __future__ import annotations

import logging
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.codes import Code
from components.contracts.config import MediaLimits, Serving
from components.contracts.errors import BundleError, UnavailableError
from components.contracts.records import Clip
from components.features.adaptation import Adaptation
from components.registry.bundle import Bundle, load_bundle
from components.registry.fetch import fetch_bundle
from components.registry.keys import TrustedKeys
from components.registry.proof import Keyring
from components.registry.trust import Trust, check_authentic
from components.runtime.memory import GrownMemory
from components.runtime.own_folder import OwnFolder
from components.runtime.patience import Patience
from components.serving.answers.schemas import Answer, ClipPicture, ClipPictures, ModelIdentity, ServedVersion
from components.serving.assignment import Assignment, VersionRef
from components.serving.clips import check_media, clip_of_file
from components.serving.compatible import check_adaptation, read_alike
from components.serving.http.feature_guard import FeatureGuard
from components.serving.http.uploads import Upload
from components.serving.live.judge import judged
from components.serving.metrics import OPEN, metrics
from components.serving.pool import ChildPool
from components.serving.predictor import Predictor
from components.serving.trial import Contest, Ledger, Mirrored, TrialCounts

UPLOADS = "mer-uploads-"
FEATURES_NAME = "features"
log = logging.getLogger(__name__)


def trust_in(version: VersionRef, cache: Path, keyring: Keyring) -> Trust:
    """Why a version is authentic; raises BundleError as `check_authentic`."""
    return check_authentic(
        version.proof,
        bundle_sha256=version.bundle_sha256,
        keyring=keyring,
        cache=cache,
        where=f"{version.model_name} version {version.version}",
    )


def load_version(version: VersionRef, cache: Path, keyring: Keyring) -> Bundle:
    """The verified bundle of a version: from the cache if it is there (so that a replica can restart while MLflow is
    away), otherwise from MLflow. A version that is not authentic is not fetched.

    Raises:
        BundleError: as `check_authentic`, `fetch_bundle` and `load_bundle`; or the registry now has a different bundle
            for the version.
        UnavailableError: it is not in the cache and MLflow cannot be reached.
    """
    return trust_in(version, cache, keyring).applied_to(_load(version, cache))


def _load(version: VersionRef, cache: Path) -> Bundle:
    cached = cache / version.bundle_sha256
    if cached.is_dir():
        try:
            bundle = load_bundle(cached)
        except BundleError:
            pass  # a damaged copy; fetching replaces it, or reports what is wrong with the original
        else:
            if bundle.sha256 == version.bundle_sha256:
                return bundle
    folder = fetch_bundle(version.model_name, version.version, tracking_uri=version.tracking_uri, cache_dir=cache)
    bundle = load_bundle(folder)
    if bundle.sha256 != version.bundle_sha256:
        raise BundleError(
            "the registry has a different bundle for this version than was requested",
            where=f"{version.model_name} version {version.version}",
            seen=bundle.sha256,
            allowed=version.bundle_sha256,
        )
    return bundle


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What a replica takes as jobs; see the section `serving`.

    Attributes:
        folder: of the jobs, which all replicas share; None: it takes none.
        clips: the most of a job.
        max_bytes: of a request for one.
        jobs: unfinished ones of a key.
        keep_s: how long results are kept, seconds.
        sources: folders whose files a job may name.
    """

    folder: Path | None = None
    clips: int = 1000
    max_bytes: int = 500_000_000
    jobs: int = 4
    keep_s: float = 86_400.0
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, serving: Serving, folder: Path | None) -> BatchSettings:
        """Those of a configuration."""
        return cls(
            folder=folder,
            clips=serving.max_batch_clips,
            max_bytes=serving.max_batch_bytes,
            jobs=serving.max_batches,
            keep_s=serving.batch_keep_s,
            sources=serving.batch_sources,
        )


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of a replica, fixed at its start.

    Attributes:
        cache: folder that holds downloaded bundles, by hash.
        limits: what an upload may cost.
        golden_tolerance: how far golden outputs may be off.
        alias: the alias whose version is served, for the hint while there is none.
        keys: those whose signatures count.
        wall_s: the most seconds by the clock that judging an upload may take. None: no limit.
        at_once: predictions at a time.
        waiting: requests that may wait for their turn.
        device: where checkpoint encoders run.
        adaptation: the file of `mer adapt`, or None. A version that it does not fit is refused.
        batches: what it takes as jobs.
    """

    cache: Path
    limits: MediaLimits
    golden_tolerance: float
    alias: str
    keys: TrustedKeys = field(default_factory=TrustedKeys)
    wall_s: float | None = None
    at_once: int = 2
    waiting: int = 32
    device: str = "cpu"
    adaptation: Path | None = None
    batches: BatchSettings = field(default_factory=BatchSettings)


class Service:
    """Answers with the current version.

    Args:
        settings: of the replica.
        replica: the name of this replica.
    """

    def __init__(self, settings: ServiceSettings, *, replica: str = "local") -> None:
        self.settings = settings
        self.replica = replica
        self.uploads = OwnFolder(UPLOADS)
        self._pool = ChildPool(settings.device)
        self._features = FeatureGuard(settings.limits, self.uploads.path)
        self._memory = GrownMemory()
        self._predictor: Predictor | None = None
        self._reference: VersionRef | None = None
        self._contest: Contest | None = None
        self._ledger: Ledger | None = None
        self._held: dict[VersionRef, Predictor] = {}
        self._loading = threading.Lock()

    @property
    def limits(self) -> MediaLimits:
        """What an upload may cost."""
        return self.settings.limits

    def current(self) -> Predictor:
        """The present predictor. Raises UnavailableError (`no-version`) while there is none."""
        predictor = self._predictor
        if predictor is None:
            raise UnavailableError(
                "no version is being served yet",
                where="service",
                remedy=(
                    f"Give a version the alias `{self.settings.alias}` in the MLflow UI; "
                    "it is served as soon as its checks pass."
                ),
                code=Code.NO_VERSION,
            )
        return predictor

    def load(self, user_config: Mapping[str, Any] | None) -> None:
        """Changes to the version in `user_config`; with an empty one the service has no version.

        Raises:
            ConfigError, UnavailableError, BundleError: it cannot be served; the old version remains in service.
        """
        with self._loading:
            before = self._predictor
            assignment = Assignment.of(user_config) if user_config else None
            reference = None if assignment is None else assignment.version_alone
            champion = None if reference is None else self._held.get(reference) or self._prepared(reference)
            contest = None if assignment is None or champion is None else self._contested(assignment, champion)
            self._contest, self._predictor, self._reference = contest, champion, reference
            self._held = {} if reference is None or champion is None else {reference: champion}
            if contest is not None and assignment is not None and assignment.trial is not None:
                self._held[assignment.trial.challenger] = contest.challenger
            if champion is not before:
                metrics().served(_identity(champion), before=_identity(before))

    def _contested(self, assignment: Assignment, champion: Predictor) -> Contest | None:
        """The trial of an assignment; None without one, and where the challenger cannot be loaded, which is counted and
        keeps nobody from being served."""
        trial, trial_id = assignment.trial, assignment.trial_id
        metrics().trial_share.set(0 if trial is None else trial.share)
        if trial is None or trial_id is None:
            self._ledger = None
            return None
        try:
            challenger = self._held.get(trial.challenger) or self._prepared(trial.challenger, beside=champion)
        except Exception as error:
            log.warning("the challenger cannot be loaded", exc_info=True)
            self._ledger = Ledger(trial_id, problem=str(error) or type(error).__name__)
            return None
        if self._ledger is None or self._ledger.trial != trial_id:
            self._ledger = Ledger(trial_id)
        return Contest(champion=champion, challenger=challenger, share=trial.share, ledger=self._ledger)

    def _prepared(self, version: VersionRef, *, beside: Predictor | None = None) -> Predictor:
        bundle = load_version(version, self.settings.cache, self.settings.keys.keyring())
        bundle.check_goldens(self.settings.golden_tolerance)
        own = None if self.settings.adaptation is None else Adaptation.load(self.settings.adaptation)
        if own is not None:
            check_adaptation(bundle, own)  # before encoders are loaded
        pool = self._pool
        if beside is not None:  # it must never hold what the other one waits for
            alike = read_alike(bundle, beside.bundle)
            pool = beside.pool.beside() if alike else ChildPool(self.settings.device)
        predictor = Predictor(
            bundle,
            name=version.model_name,
            version=version.version,
            pool=pool,
            limits=self.limits,
            only=self.uploads.path,
            device=self.settings.device,
        )
        predictor.check_golden_clip(self.uploads.path)
        return predictor if own is None else predictor.adapted(own)

    def patience(self) -> Patience:
        """The patience of a request that begins now."""
        return Patience(self.settings.wall_s)

    def predict(self, upload: Upload, predictor: Predictor, patience: Patience, *, why: bool = False) -> Answer:
        """Judges an upload; `why` and errors as `Predictor.predict`. Blocks, so call it in a thread."""
        answer = predictor.predict(_clip(upload, predictor, patience), patience=patience, why=why)
        metrics().answered(answer)
        self._memory.look()
        return answer

    def contest(self) -> Contest | None:
        """The trial that runs now, if one does."""
        return self._contest

    def trial_counts(self) -> TrialCounts | None:
        """What this replica has counted of its trial."""
        ledger = self._ledger
        return None if ledger is None else ledger.counts()

    def judge(
        self, upload: Upload, contest: Contest, request_id: str, patience: Patience, *, why: bool = False
    ) -> tuple[Answer, Mirrored | None]:
        """As `predict`, by one side of a trial; further what the other side still has to judge."""
        clip = _clip(upload, contest.champion, patience)
        answer, mirrored = contest.judge(clip, request_id, patience, why=why)
        metrics().answered(answer)
        return answer, mirrored

    def predict_features(
        self, body: Path, content_type: str, predictor: Predictor, patience: Patience, *, why: bool = False
    ) -> Answer:
        """Judges the features in the file of a body; errors as `FeatureGuard.read`. Blocks, so call it in a thread."""
        features = self._features.read(
            body,
            content_type,
            widths=predictor.bundle.transform.widths,
            rate_hz=predictor.bundle.spec.rate_hz,
            max_duration_s=self.limits.max_duration_s,
            patience=patience,
        )
        answer = predictor.predict_features(features, name=FEATURES_NAME, why=why)
        metrics().answered(answer)
        del features
        self._memory.look()
        return answer

    def pictures(self, upload: Upload, predictor: Predictor, patience: Patience) -> ClipPictures:
        """A few pictures of an upload; errors as `Guard.film`, and MediaError where a file is plainly not a clip
        (`clips.check_media`). Blocks, so call it in a thread."""
        check_media(upload.clip, self.limits)
        made = predictor.guard.film(upload.clip, patience=patience)
        shown = (
            ClipPicture(at_s=at_s, jpeg=b64encode(jpeg).decode())
            for at_s, jpeg in zip(made.times_s, made.jpegs, strict=True)
        )
        return ClipPictures(pictures=tuple(shown))

    def reference(self) -> VersionRef:
        """Where the version in service is from. Raises UnavailableError while there is none."""
        self.current()
        assert self._reference is not None
        return self._reference

    def live(self, file: Path, predictor: Predictor, patience: Patience) -> bytes:
        """The reply to a proxy's request about a live stream (`live.wire`); errors as `live.judge.judged`. Blocks."""
        result = judged(file, predictor, patience)
        if isinstance(result, bytes):
            return result
        metrics().answered(result)
        return result.to_json().encode()

    def served_version(self) -> ServedVersion:
        """The version in service. Raises UnavailableError while there is none."""
        predictor = self.current()
        return ServedVersion(
            name=predictor.model.name,
            version=predictor.model.version,
            bundle_sha256=predictor.model.bundle_sha256,
            git_commit=predictor.model.git_commit,
            classes=predictor.bundle.spec.classes,
            modalities=predictor.modalities,
            replica=self.replica,
            rate_hz=predictor.bundle.alignment.rate_hz,
            causal=predictor.live.causal,
            trained_on=predictor.model.trained_on,
        )


def _clip(upload: Upload, predictor: Predictor, patience: Patience) -> Clip:
    with metrics().stage(OPEN):
        return clip_of_file(
            upload.clip,
            predictor.guard,
            transcript=upload.path("transcript"),
            words=upload.path("words") or (),
            physio=upload.path("physio"),
            video_track=upload.track("video_track"),
            audio_track=upload.track("audio_track"),
            patience=patience,
        )


def _identity(predictor: Predictor | None) -> ModelIdentity | None:
    return None if predictor is None else predictor.model
