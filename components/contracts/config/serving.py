"""The sections `serving` and `rollout`: the service, and what keeps it at the promoted version."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section
from components.contracts.config.media import MediaLimits


class Serving(Section):
    """The Ray Serve application and, for `mer serve`, the MLflow server beside it."""

    host: str = "127.0.0.1"
    """Address that the service listens on; 0.0.0.0 is every address of the machine."""

    port: int = Field(8000, ge=0, lt=65536)
    """Port of the service; 0 is any free one. A port that is taken is an error."""

    mlflow_port: int = Field(5000, ge=0, lt=65536)
    """Port of the MLflow server; 0 is any free one, and so it is when the port is taken."""

    replicas: int = Field(2, ge=1)
    """Processes that answer requests."""

    replica_cpus: float = Field(0.5, gt=0)
    """Processors that Ray reserves for each replica."""

    max_ongoing_requests: int = Field(2, ge=1)
    """Predictions that one replica makes at a time."""

    max_queued_requests: int = Field(32, ge=1)
    """Predictions that may wait, over all replicas; more are refused with HTTP status 503."""

    request_timeout_s: float = Field(60.0, gt=0)
    """The longest that a request may take once it has arrived, in seconds by the clock; its work is ended then too."""

    max_uploads: int = Field(64, ge=1)
    """Requests that may arrive at a time at one proxy; for one more the slowest is refused with HTTP status 429."""

    upload_timeout_s: float = Field(120.0, gt=0)
    """The longest that a request may take to arrive, in seconds by the clock; then it is refused with status 408."""

    upload_rate_bytes_per_s: int = Field(16_384, gt=0)
    """The rate at which a request must arrive after `upload_grace_s`, in bytes per second; status 408 below it."""

    upload_grace_s: float = Field(10.0, gt=0)
    """Seconds in which a request may arrive at any rate."""

    max_streams: int = Field(32, ge=1)
    """Live streams at a time at one proxy; one more is refused."""

    stream_every_s: float = Field(1.0, gt=0)
    """How much of a live stream is judged at a time, in seconds, unless the machine is too slow for it. Less gives
    steps sooner and costs more."""

    stream_context_s: float = Field(2.0, ge=0)
    """How much of a live stream before new steps is aligned and encoded again with them, in seconds."""

    stream_resume_s: float = Field(30.0, ge=0)
    """How long a live stream whose connection broke waits for its client, in seconds."""

    stream_max_s: float = Field(3600.0, gt=0)
    """The longest live stream without an answer of the whole, in seconds; one with it may be as long as a clip."""

    max_batch_clips: int = Field(1000, ge=1)
    """Clips of one job of `POST /v1/predict:batch`."""

    max_batch_bytes: int = Field(500_000_000, gt=0)
    """Bytes of a request for such a job, its files together; with files of the service there is no such bound."""

    max_batches: int = Field(4, ge=1)
    """Unfinished jobs of one API key; one more is refused with HTTP status 429."""

    batch_keep_s: float = Field(86_400.0, gt=0)
    """How long the results of a job are kept, in seconds; then all of it is deleted."""

    batch_sources: tuple[str, ...] = ()
    """Folders whose files a job may name instead of sending them, such as `/data/films`. Whoever may predict may then
    have any file in them judged. Empty: none."""

    require_key: bool = False
    """Whether requests from this machine need an API key too, as behind a reverse proxy, by which all seem to come from
    here. Requests from other machines always need one."""

    allowed_hosts: tuple[str, ...] = ()
    """Host names of the service besides `localhost` and its addresses, such as `mer.example.org` or `*.example.org`;
    requests by a different one are refused. Empty: any name where a key is needed, none where it is not."""

    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may ask the service besides its own, such as `https://www.example.org`."""

    adaptation: str | None = None
    """The file of `mer adapt`, relative to the project, of recordings like those that will be sent; null: uploads are
    standardised by the training data. A version that it does not fit is not served."""

    upload_limits: MediaLimits = MediaLimits(
        max_bytes=100_000_000, max_duration_s=300.0, max_decoded_frames=36_000, max_work_s=300.0
    )
    """What an uploaded file may cost."""


class Rollout(Section):
    """The reconciler, which makes the served version follow an alias in the registry."""

    alias: str = "champion"
    """The alias in the MLflow registry whose version is served, and used by `mer predict`."""

    model_name: str = ""
    """The registered model whose alias is followed, if it is not the one that versions are registered under: for
    versions that were copied to it with *Promote model* in the MLflow UI. Empty: `registry.model_name`."""

    poll_s: float = Field(3.0, gt=0)
    """Seconds between two looks at the registry while nothing changes."""

    webhook_port: int | None = Field(None, ge=0, lt=65536)
    """Port at which the reconciler listens for MLflow's webhook, which makes it look at the registry as soon as an
    alias moves; 0 is any free one. null: it does not listen, and looks every `poll_s` alone. `mer serve` tells the
    MLflow that it starts; a server elsewhere needs `webhook_url`."""

    webhook_host: str = "127.0.0.1"
    """Address that the webhook's receiver listens on."""

    webhook_url: str = ""
    """Address by which an MLflow server elsewhere reaches the receiver, such as `https://mer.example.org/webhook`; the
    reconciler registers it there. Empty: nothing is registered but at the MLflow that `mer serve` starts."""

    challenger: str = "challenger"
    """The alias whose version is on trial beside the champion where `shadow` or `canary_share` is set."""

    shadow: bool = False
    """Whether the challenger judges clips after the champion has answered them, while nothing else is to be done. Its
    answers reach nobody; how far the two agree is in its tags and in the metrics. A replica then holds both
    versions."""

    canary_share: float = Field(0.0, ge=0, le=1)
    """The share of clips that the challenger answers itself, chosen by a hash of the request's id; the champion judges
    them afterwards. The share returns to 0 by itself beyond the bounds below."""

    canary_max_errors: float = Field(0.02, ge=0, le=1)
    """The share of clips that the challenger may fail to judge although the champion does."""

    canary_max_disagreement: float = Field(0.3, ge=0, le=1)
    """The share of clips for which the two may give a different emotion."""

    canary_max_latency_ratio: float = Field(1.5, gt=0)
    """The time that the challenger may take for the same clips, as a multiple of the champion's."""

    canary_min_compared: int = Field(30, ge=1)
    """Clips that both must have judged before disagreement and time count."""

    trusted_keys: tuple[str, ...] = ()
    """Public keys, `ed25519:…` as `mer sign --public-key` prints them: versions signed with one of them are served.
    Empty: the key that this project signs with. The environment's MER_TRUSTED_KEYS goes before it."""

    golden_tolerance: float = Field(1e-4, gt=0)
    """The largest absolute deviation, in probability, of a bundle's golden examples when they are scored again. A
    version beyond it is not registered and not served."""
