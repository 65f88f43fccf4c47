"""A challenger beside the version in service: which requests it answers, and how the two compare. No Ray, no web.

Both judge the same clip, one of them for the client, the other one afterwards, when nobody waits. Where both read clips
alike (same alignment, same encoders) the second judges the features of the first; otherwise it reads the clip again in
children of its own.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.contracts.records import Clip
from components.runtime.patience import GivenUpError, Patience
from components.serving.answers.schemas import Answer
from components.serving.metrics import AGREED, CHALLENGER, CHAMPION, DIFFERED, DROPPED, ERROR, metrics
from components.serving.predictor import Predictor, Reading

# Comparisons of one replica that count; earlier ones are forgotten.
WINDOW = 300
COLUMNS = {AGREED: "agreed", DIFFERED: "differed", ERROR: "errors", DROPPED: "dropped"}


class TrialCounts(BaseModel):
    """What replicas counted lately, of one trial.

    Attributes:
        trial: `Assignment.trial_id`.
        answered: requests that the challenger answered.
        agreed, differed: clips that both judged, with the same emotion of the whole clip and with a different one.
        errors: clips that the challenger could not judge and the champion could.
        dropped: clips that the challenger did not judge, since there was no time.
        timed: comparisons that were timed.
        challenger_s, champion_s: what those took, seconds.
        problem: why a replica cannot load the challenger.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial: str
    answered: int = 0
    agreed: int = 0
    differed: int = 0
    errors: int = 0
    dropped: int = 0
    timed: int = 0
    challenger_s: float = 0.0
    champion_s: float = 0.0
    problem: str = ""

    def __add__(self, other: TrialCounts) -> TrialCounts:
        """Those of two replicas."""
        both = {
            name: getattr(self, name) + getattr(other, name)
            for name in type(self).model_fields
            if name not in ("trial", "problem")
        }
        return TrialCounts(trial=self.trial, problem=self.problem or other.problem, **both)

    @property
    def compared(self) -> int:
        """Clips that both judged."""
        return self.agreed + self.differed

    @property
    def agreement(self) -> float | None:
        """Share of the compared clips with the same emotion."""
        return self.agreed / self.compared if self.compared else None

    @property
    def latency_ratio(self) -> float | None:
        """The time that the challenger takes, as a multiple of the champion's."""
        return self.challenger_s / self.champion_s if self.champion_s else None


def takes(request_id: str, share: float, salt: str) -> bool:
    """Whether a request belongs to a share of all requests: by a hash, so that one sent again gets the same, and a
    larger share has those of a smaller one."""
    digest = hashlib.sha256(f"{salt} {request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


class Ledger:
    """What one replica counts of a trial; threads may write at a time."""

    def __init__(self, trial: str, problem: str = "") -> None:
        self._lock = threading.Lock()
        self.trial, self._problem = trial, problem
        self._recent: deque[dict[str, float]] = deque(maxlen=WINDOW)

    def add(self, outcome: str, **amounts: float) -> None:
        """One clip: its outcome, and fields of `TrialCounts`."""
        metrics().trials.labels(outcome).inc()
        with self._lock:
            self._recent.append({COLUMNS[outcome]: 1, **amounts})

    def answered(self) -> None:
        """One request that the challenger answered."""
        metrics().trial_answers.inc()
        with self._lock:
            self._recent.append({"answered": 1})

    def counts(self) -> TrialCounts:
        """The sums."""
        with self._lock:
            recent = list(self._recent)
        sums: dict[str, Any] = {}
        for entry in recent:
            for name, amount in entry.items():
                sums[name] = sums.get(name, 0) + amount
        return TrialCounts(trial=self.trial, problem=self._problem, **sums)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A trial in one replica: its two sides, ready to judge."""

    champion: Predictor
    challenger: Predictor
    share: float
    ledger: Ledger

    @property
    def alike(self) -> bool:
        """Whether both read clips alike."""
        return self.champion.guard is self.challenger.guard and self.champion.encoders is self.challenger.encoders

    def judge(self, clip: Clip, request_id: str, patience: Patience, *, why: bool) -> tuple[Answer, Mirrored | None]:
        """The answer of the side whose turn the request is, and what the other side still has to judge.

        A clip that the challenger cannot judge is the champion's. Raises as `Predictor.predict`.
        """
        if not takes(request_id, self.share, self.challenger.model.bundle_sha256):
            return self._judged(self.champion, self.challenger, clip, patience, why=why)
        try:
            judged = self._judged(self.challenger, self.champion, clip, patience, why=why)
        except GivenUpError:
            raise
        except Exception:  # whatever it is, the champion is asked
            answer = self.champion.predict(clip, patience=patience, why=why)
            self.ledger.add(ERROR)
            return answer, None
        self.ledger.answered()
        return judged

    def _judged(
        self, first: Predictor, second: Predictor, clip: Clip, patience: Patience, *, why: bool
    ) -> tuple[Answer, Mirrored]:
        begun = time.monotonic()
        reading = first.read(clip, patience=patience)
        began_model = time.thread_time()
        answer = first.judge(clip, reading, why=why)
        took_s = time.thread_time() - began_model if self.alike else time.monotonic() - begun
        if why:
            took_s = 0.0  # which is not what the other side does
        return answer, Mirrored(
            contest=self,
            second=second,
            clip=clip,
            answer=answer,
            took_s=took_s,
            reading=reading if self.alike else None,
        )


@dataclass(kw_only=True, eq=False)
class Mirrored:
    """A clip that one side has judged and the other has not.

    Attributes:
        second: the side that has not.
        took_s: what the first side took, seconds: of the model's processor where both read alike, else by the clock;
            0: not to be compared.
        reading: what the first side read; None: the second must read the clip itself.
        alone: whether nothing else ran beside the first side, so that seconds by the clock mean something.
    """

    contest: Contest
    second: Predictor
    clip: Clip
    answer: Answer
    took_s: float
    reading: Reading | None
    alone: bool = True
    over: Callable[[], None] = field(default=lambda: None)

    def run(self, patience: Patience) -> None:
        """Judges it, and notes how the two compare. Never raises."""
        ledger = self.contest.ledger
        try:
            answer, took_s = self._judged(patience)
        except GivenUpError:
            ledger.add(DROPPED)
        except Exception:  # of the challenger it counts; the champion was only to be compared with
            ledger.add(ERROR if self.second is self.contest.challenger else DROPPED)
        else:
            amounts = self._seconds(took_s) if self.took_s and (self.alone or self.reading is not None) else {}
            ledger.add(AGREED if answer.emotion == self.answer.emotion else DIFFERED, **amounts)

    def drop(self) -> None:
        """Notes that there is no time for it."""
        self.contest.ledger.add(DROPPED)

    def _judged(self, patience: Patience) -> tuple[Answer, float]:
        if self.reading is not None:
            begun = time.thread_time()
            return self.second.judge(self.clip, self.reading), time.thread_time() - begun
        begun = time.monotonic()
        return self.second.predict(self.clip, patience=patience), time.monotonic() - begun

    def _seconds(self, second_s: float) -> dict[str, float]:
        mine, other = CHALLENGER, CHAMPION
        if self.second is self.contest.champion:
            mine, other = other, mine
        for role, took_s in ((mine, second_s), (other, self.took_s)):
            metrics().trial_seconds.labels(role).observe(took_s)
        return {"timed": 1, f"{mine}_s": second_s, f"{other}_s": self.took_s}
