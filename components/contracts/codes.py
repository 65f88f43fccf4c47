"""The codes of all errors: one word for the reason, in quarantine tables, HTTP answers and JSON.

`docs/codes.md` explains each code and what to do; a test keeps the two in step. Tables and JSON store the plain text.
Rows of the stage `validation` have the name of the broken expectation in place of a code.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why something cannot be used. Lower case, words joined by dashes."""

    # The codes of the error classes, for errors without a narrower one (`contracts.errors`).
    ERROR = "error"
    CONFIG = "config"
    DATA = "data"
    MEDIA = "media"
    CONTRACT = "contract"
    MODEL = "model"
    BUNDLE = "bundle"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"

    # A file, before any of it is decoded.
    MISSING_FILE = "missing-file"
    NOT_A_FILE = "not-a-file"
    UNREADABLE = "unreadable"
    EMPTY_FILE = "empty-file"
    LFS_POINTER = "lfs-pointer"
    NOT_MEDIA = "not-media"
    NOT_PARQUET = "not-parquet"
    TRUNCATED = "truncated"
    TOO_LARGE = "too-large"
    NO_PICTURES = "no-pictures"
    DUPLICATE_PICTURE = "duplicate-picture"

    # Streams: their headers and their decoded content.
    NO_MEDIA = "no-media"
    NO_STREAMS = "no-streams"
    NO_AUDIO = "no-audio"
    NO_TRACK = "no-track"
    TOO_LONG = "too-long"
    TOO_MANY_FRAMES = "too-many-frames"
    PICTURE_SIZE = "picture-size"
    FRAME_RATE = "frame-rate"
    SAMPLE_RATE = "sample-rate"
    TIMESTAMPS = "timestamps"
    PHYSIO_FORMAT = "physio-format"
    BAD_SPAN = "bad-span"

    # The process that decodes.
    TOO_SLOW = "too-slow"
    MEMORY = "memory"
    CRASHED = "crashed"

    # The quality gate of alignment.
    OFFSET = "offset"
    DRIFT = "drift"
    COVERAGE = "coverage"

    # A corpus: names, tables and labels.
    NO_SUCH_FOLDER = "no-such-folder"
    EMPTY_CORPUS = "empty-corpus"
    BAD_NAME = "bad-name"
    BAD_TEXT = "bad-text"
    DUPLICATE_ID = "duplicate-id"
    NO_LABELS = "no-labels"
    BAD_LABELS = "bad-labels"
    BAD_LABEL = "bad-label"
    DUPLICATE_LABEL = "duplicate-label"
    LABEL_WITHOUT_CLIP = "label-without-clip"
    CLIP_WITHOUT_LABEL = "clip-without-label"
    UNKNOWN_EMOTION = "unknown-emotion"
    FRAME_COUNT = "frame-count"
    KNOWN_BROKEN = "known-broken"
    UNSAFE_PICKLE = "unsafe-pickle"
    BAD_PICKLE = "bad-pickle"
    BAD_RECORDING = "bad-recording"

    # Ready-made features of a corpus.
    NO_FEATURES = "no-features"
    NO_TERMS = "no-terms"
    DUPLICATE_MODALITY = "duplicate-modality"
    BAD_SEQUENCE = "bad-sequence"
    FEATURES_FORMAT = "features-format"
    NO_SUCH_KEY = "no-such-key"
    OBJECT_ARRAY = "object-array"
    NOT_NUMBERS = "not-numbers"
    BAD_SHAPE = "bad-shape"
    EMPTY_ARRAY = "empty-array"
    NOT_FINITE = "not-finite"
    WIDTH = "width"
    NO_RATE = "no-rate"
    BAD_TIMES = "bad-times"

    # Object storage and downloads.
    OBJECT_STORE = "object-store"
    NO_ROOM = "no-room"
    ON_APPLICATION = "on-application"
    NOTHING_TO_DOWNLOAD = "nothing-to-download"
    LICENCE = "licence"
    LISTING = "listing"
    DOWNLOAD = "download"
    CHECKSUM = "checksum"
    ARCHIVE = "archive"

    # Stages and commands.
    NO_CLIP_TABLE = "no-clip-table"
    BAD_CROP = "bad-crop"
    ENCODER = "encoder"
    UNKNOWN_SUBJECT = "unknown-subject"
    JOINT_SUBJECT = "joint-subject"
    BAD_LIST = "bad-list"
    NOTHING_TO_JUDGE = "nothing-to-judge"
    NO_CLIPS = "no-clips"
    PORT_BUSY = "port-busy"

    # Versions: who vouches for them, and why one is not served.
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad-signature"
    UNTRUSTED_KEY = "untrusted-key"
    GATES = "gates"
    WITHDRAWN = "withdrawn"
    REPLICAS = "replicas"

    # The service.
    NO_VERSION = "no-version"
    NO_STREAM = "no-stream"
    NO_BATCH = "no-batch"
    UNFINISHED = "unfinished"
    KEY_REUSED = "key-reused"
    ALIGNMENT_MISMATCH = "alignment-mismatch"
    ENCODER_MISMATCH = "encoder-mismatch"
    BAD_REQUEST = "bad-request"
    BAD_WORDS = "bad-words"
    BUSY = "busy"
    SLOW_UPLOAD = "slow-upload"
    TOO_MANY = "too-many"
    NO_KEY = "no-key"
    NOT_ALLOWED = "not-allowed"
    RATE_LIMIT = "rate-limit"
    OLD_MESSAGE = "old-message"
    WRONG_HOST = "wrong-host"
    WRONG_ORIGIN = "wrong-origin"
    UNSUPPORTED_MEDIA = "unsupported-media"
    HTTP = "http"


# Former spellings, which stored tables and `readmitted.csv` may still contain.
FORMER = {"non_finite": Code.NOT_FINITE}


def current(stored: str) -> str:
    """A code in its present spelling; the name of an expectation unchanged."""
    return FORMER.get(stored, stored)
