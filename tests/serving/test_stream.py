"""Live streams over real sockets, with a real service behind the gateway; the examples are those of docs/stream.md."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bench.service import live_streams
from components.contracts.config import Model
from components.contracts.errors import ConfigError, MediaError
from components.inference.calibration import Calibration
from components.inference.live import HELD_S, Past, StreamScorer
from components.inference.scoring import Scorer
from components.media.pieces import PICTURE, SOUND, Piece
from components.media.received import Part, recorded
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.serving.answers.schemas import Answer, Moment
from components.serving.live.protocol import Begin, binary
from components.serving.live.session import Session, StreamSettings
from components.serving.live.wire import Reply
from components.serving.predictor import Predictor
from components.serving.service import Service
from pipelines.commands.predict import command as predict
from pipelines.commands.predict import live as predict_live
from tests.serving import media
from tests.serving.bundles import SPECS
from tests.serving.conftest import LONG, SERVING, listening, tiny_service

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stream.md"
SOUND_HZ = 16_000
BEGIN = {"type": "begin", "sound": {"rate_hz": SOUND_HZ, "format": "s16le"}, "pictures": True}
Messages = list[dict[str, Any]]


def jpeg(index: int, side_px: int = 64) -> bytes:
    rng = np.random.default_rng(index // 5)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def tone(seconds: float) -> bytes:
    time_s = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    return (9000 * np.sin(2 * np.pi * 200 * time_s) * np.minimum(1, time_s)).astype("<i2").tobytes()


def pieces(seconds: float, *, start_s: float = 0.0, sound: bool = True, pictures: bool = True) -> Iterator[Piece]:
    """A tenth of a second of a tone and a picture, in turns."""
    samples = tone(seconds)
    for index in range(round(start_s * 10), round(seconds * 10)):
        block = samples[3200 * index : 3200 * (index + 1)]
        if sound:
            yield Piece(kind=SOUND, at_s=index / 10, data=block)
        if pictures:
            yield Piece(kind=PICTURE, at_s=index / 10 + 0.03, data=jpeg(index))


def opened(address: str, first: dict[str, Any] | None = None, **options: Any) -> ClientConnection:
    line = connect(address.replace("http", "ws") + "v1/stream", proxy=None, max_size=None, **options)
    if first is not None:
        line.send(json.dumps(first))
    return line


def heard(line: ClientConnection) -> Messages:
    """All further messages, until the service closes the connection."""
    messages = []
    try:
        while True:
            messages.append(json.loads(line.recv(timeout=30)))
    except ConnectionClosed:
        return messages


def numbers(messages: Messages) -> list[int]:
    """The numbers of the steps, in the order in which they came."""
    steps = [message for message in messages if message["type"] == "steps"]
    return [message["first"] + index for message in steps for index in range(len(message["moments"]))]


def test_steps_come_before_the_end_and_the_answer_is_that_of_the_same_clip(address: str, live_service: Service) -> None:
    """The whole stream is judged as the file would be that holds what was sent."""
    with opened(address, {**BEGIN, "words": True}) as line:
        begun = json.loads(line.recv())
        assert (begun["type"], begun["version"], begun["rate_hz"], begun["causal"]) == ("begun", "4", 10.0, False)
        sent = list(pieces(2.0))
        for piece in sent[:30]:
            line.send(binary(piece))
        early = json.loads(line.recv(timeout=30))
        assert (early["type"], early["first"]) == ("steps", 0)
        assert early["moments"][0]["present"] == ["face", "voice"]
        for piece in sent[30:]:
            line.send(binary(piece))
        words = [{"text": "well", "start_s": 0.2, "end_s": 0.6}, {"text": "then", "start_s": 0.7, "end_s": 1.2}]
        line.send(json.dumps({"type": "words", "words": words}))
        line.send('{"type": "end"}')
        messages = [early, *heard(line)]
        assert line.close_code == 1000
    assert numbers(messages) == list(range(20))
    moments = [Moment.model_validate(moment) for message in messages[:-1] for moment in message["moments"]]
    assert [moment.start_s for moment in moments] == pytest.approx([index / 10 for index in range(20)])
    answer = Answer.model_validate(messages[-1]["answer"])
    assert len(answer.timeline) == 20
    assert answer.presence == {"face": 1.0, "voice": pytest.approx(1.0, abs=0.11), "text": pytest.approx(1.0, abs=0.6)}
    files = recorded(sent, Part(start_s=0.0, end_s=2.0, sound_hz=SOUND_HZ))
    assert files.media is not None
    parts = {"clip": ("live.mkv", files.media), "words": (None, json.dumps(words))}
    same = Answer.model_validate_json(httpx.post(address + "v1/predict", files=parts, trust_env=False).content)
    assert same.posterior == answer.posterior
    assert same.timeline == answer.timeline


def test_a_broken_connection_loses_nothing(address: str) -> None:
    line = opened(address, BEGIN)
    begun = json.loads(line.recv())
    for piece in pieces(1.2):
        line.send(binary(piece))
    first = json.loads(line.recv(timeout=30))
    line.socket.close()
    token = {"type": "resume", "token": begun["token"], "steps": len(first["moments"])}
    with opened(address, token) as again:
        resumed = json.loads(again.recv(timeout=10))
        assert resumed["token"] == begun["token"]
        assert resumed["sound_s"] == pytest.approx(1.2)
        for piece in pieces(2.0, start_s=resumed["sound_s"]):
            again.send(binary(piece))
        again.send('{"type": "end"}')
        messages = [first, *heard(again)]
    assert numbers(messages) == list(range(20))
    assert messages[-1]["type"] == "answer"
    assert refusal(address, token)["code"] == "no-stream"  # it has ended


def refusal(address: str, *messages: dict[str, Any] | bytes | str, wait: bool = True) -> dict[str, Any]:
    """The problem that a stream of these messages ends with."""
    with opened(address) as line:
        for message in messages:
            line.send(json.dumps(message) if isinstance(message, dict) else message)
        received = heard(line)
        assert received, "closed without a word"
        assert received[-1]["type"] == "problem"
        assert line.close_code in (1008, 1013)
        return dict(received[-1]["error"])


WORDS_ONLY = {"type": "begin", "words": True, "answer": False}
REFUSED: list[tuple[str, Sequence[dict[str, Any] | bytes | str]]] = [
    ("not JSON", ["hello"]),
    ("an unknown first message", [{"type": "end"}]),
    ("sound before the first message", [b"S" + bytes(20)]),
    ("nothing announced", [{"type": "begin"}]),
    ("a misspelt key", [{**BEGIN, "picture": True}]),
    ("a rate that no microphone has", [{"type": "begin", "sound": {"rate_hz": 1}}]),
    ("what was not announced", [WORDS_ONLY, b"P" + struct.pack(">d", 0.0) + jpeg(0)]),
    ("an unknown kind", [BEGIN, b"Q" + bytes(20)]),
    ("half a sample", [BEGIN, b"S" + struct.pack(">d", 0.0) + bytes(3)]),
    ("a time that is none", [BEGIN, b"S" + struct.pack(">d", float("nan")) + bytes(4)]),
    ("a time before zero", [BEGIN, b"S" + struct.pack(">d", -1.0) + bytes(4)]),
    ("a time far ahead", [BEGIN, b"S" + struct.pack(">d", 1e12) + bytes(4)]),
    ("a word that ends before it starts", [
        WORDS_ONLY, {"type": "words", "words": [{"text": "a", "start_s": 2.0, "end_s": 1.0}]},
    ]),
    ("a channel without its values", [
        {"type": "begin", "signals": True}, {"type": "signals", "time_s": [0.0, 0.1], "channels": {"ecg": [1.0]}},
    ]),
    ("a message after the end", [WORDS_ONLY, {"type": "begin", "words": True}]),
]  # fmt: skip


@pytest.mark.parametrize("messages", [pytest.param(messages, id=name) for name, messages in REFUSED])
def test_what_is_not_of_the_protocol_is_refused(address: str, messages: Sequence[dict[str, Any] | bytes | str]) -> None:
    error = refusal(address, *messages)
    assert error["code"] == "bad-request"
    assert error["remedy"]


def test_a_picture_that_is_none_ends_the_stream_and_no_other(address: str) -> None:
    begin = {"type": "begin", "pictures": True}
    bad = [b"P" + struct.pack(">d", index / 10) + b"not a picture" for index in range(8)]
    assert refusal(address, begin, *bad, {"type": "end"})["code"] == "unsupported-media"
    assert refusal(address, BEGIN, {"type": "end"})["code"] == "no-media"
    assert httpx.get(address + "readyz", trust_env=False).status_code == 200


def test_a_stream_of_words_alone_has_no_answer_if_none_is_asked_for(address: str) -> None:
    with opened(address, WORDS_ONLY) as line:
        words = [{"text": f"word{index}", "start_s": index / 2, "end_s": index / 2 + 0.4} for index in range(4)]
        line.send(json.dumps({"type": "words", "words": words}))
        line.send('{"type": "end"}')
        messages = heard(line)
    assert messages[-1] == {"type": "ended", "steps": 19, "notes": []}
    assert numbers(messages) == list(range(19))
    assert messages[1]["moments"][0]["present"] == ["text"]


def test_words_in_a_language_that_the_encoder_does_not_know_are_said_to_be_dropped(tmp_path: Path) -> None:
    """Also in a later part whose own words do not show it."""
    service = tiny_service(tmp_path, LONG, specs={**SPECS, "text": "hashing?languages=en"})
    sentence = ["Nie", "wiem,", "co", "mam", "teraz", "zrobić.", *["ja"] * 6]
    words = [{"text": text, "start_s": at / 2, "end_s": at / 2 + 0.4} for at, text in enumerate(sentence)]
    with listening(service, SERVING) as url, opened(url, WORDS_ONLY) as line:
        line.send(json.dumps({"type": "words", "words": words}))
        line.send('{"type": "end"}')
        messages = heard(line)
    service.current().guard.close()
    service.current().encoders.close()
    note = "text: the words were in Polish; the encoder hashing knows English, so they were not used"
    steps = [message for message in messages if message["type"] == "steps"]
    assert [note for message in steps for note in message["notes"]] == [note]
    assert {tuple(moment["present"]) for message in steps for moment in message["moments"]} == {()}
    assert messages[-1] == {"type": "ended", "steps": 59, "notes": [note]}


def test_a_place_is_free_again_when_its_client_is_slow_or_gone(live_service: Service) -> None:
    """One client says what it will send and then nothing, another one is gone; a third is refused until their time is
    over."""
    serving = SERVING.model_copy(update={"max_streams": 2, "upload_grace_s": 1.0, "stream_resume_s": 1.0})
    with listening(live_service, serving) as address:
        slow, gone = opened(address, BEGIN), opened(address, BEGIN)
        for line in (slow, gone):
            assert json.loads(line.recv())["type"] == "begun"
        gone.socket.close()
        assert refusal(address, BEGIN)["code"] == "too-many"
        with slow:
            assert heard(slow)[-1]["error"]["code"] == "slow-upload"
        while (code := first_code(address)) is not None:
            assert code == "too-many"
            time.sleep(0.05)


def first_code(address: str) -> str | None:
    """The code of a refusal of `begin`; None where the stream begins."""
    with opened(address, BEGIN) as line:
        message = json.loads(line.recv())
        return None if message["type"] == "begun" else str(message["error"]["code"])


def test_other_ways_to_ask_are_refused_in_words(address: str) -> None:
    answer = httpx.post(address + "v1/stream", content=b"x", trust_env=False)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in answer.json()["error"]["what"]
    with pytest.raises(InvalidStatus) as refused:
        connect(address.replace("http", "ws") + "v1/other", proxy=None)
    assert refused.value.response.status_code == 404


def test_the_examples_of_the_page_are_the_messages(address: str) -> None:
    """Each JSON text of the page is sent in its order; the service's are of the kinds that the page shows."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    shown = [json.loads(block) for block in blocks]
    sent = [message for message in shown if message["type"] in ("begin", "words", "signals", "end")]
    received = {message["type"]: message for message in shown if message not in sent}
    with opened(address, sent[0]) as line:
        kinds = {"begun": json.loads(line.recv())}
        for piece in pieces(1.0):
            line.send(binary(piece))
        for message in sent[1:]:
            line.send(json.dumps(message))
        kinds |= {message["type"]: message for message in heard(line)}
    kinds["problem"] = json.loads(json.dumps({"type": "problem", "error": refusal(address, {"type": "begin"})}))
    for name in ("begun", "steps", "answer", "problem"):
        assert received[name].keys() <= {*kinds[name], "request_id"}, name
    assert received["steps"]["moments"][0].keys() <= kinds["steps"]["moments"][0].keys()
    assert received["problem"]["error"] == kinds["problem"]["error"]


def test_the_command_prints_steps_and_the_answer(
    address: str,
    live_service: Service,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process and by a service; both see the same file at its own pace."""
    monkeypatch.setattr(tempfile, "tempdir", str(live_service.uploads.path))  # all that this predictor's child may read
    file = media.video(tmp_path / "clip.mp4", seconds=0.6, side_px=64)
    answers = []
    for url in (None, address):
        assert predict_live.run(file, predictor=live_service.current, url=url, as_json=True) == 0
        messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert numbers(messages) == list(range(6))
        answers.append(messages[-1]["answer"])
    assert answers[0]["posterior"] == answers[1]["posterior"]
    assert predict_live.run(file, predictor=live_service.current, url=None, as_json=False) == 0
    shown = capsys.readouterr().out
    assert re.match(r" +0\.0 s  \w+ +\d+ %  face voice\n", shown)
    assert "live  0.6 s" in shown


def test_the_command_says_what_it_cannot_show(address: str, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a clip at all\n")
    with pytest.raises(MediaError, match="live source"):
        predict_live.run(tmp_path / "text.mp4", predictor=Predictor, url=address, as_json=False)
    for clips, live, url in (([tmp_path, tmp_path], True, None), ([tmp_path], False, address)):
        with pytest.raises(ConfigError, match="one file or device"):
            predict.run(clips, live=live, url=url)


def test_a_bench_times_the_steps_of_a_stream(address: str) -> None:
    begin = Begin.model_validate(BEGIN)
    streamed = asyncio.run(live_streams.one_stream(address, begin, live_streams.repeated(list(pieces(0.5)), 1.0)))
    assert len(streamed.late_s) >= 10
    assert streamed.lasted_s > 0.9
    sizes = live_streams.Sizes(streams=(1,), seconds=1.0, replicas=1)
    assert live_streams.row([streamed], sizes).what.startswith("1 live stream of 1 s")


def session(**begin: Any) -> Session:
    opening = Begin.model_validate({**BEGIN, **begin})
    return Session(begin=opening, settings=StreamSettings.of(SERVING), rate_hz=10.0)


def test_what_is_kept_of_a_long_stream_does_not_grow() -> None:
    stream = session(answer=False)
    kept = []
    for piece in pieces(40.0):
        stream.take(binary(piece))
        while (part := stream.due()) is not None:
            steps = round((part.end_s - part.new_s) * 10)
            moment = Moment(start_s=0, end_s=0, emotion=None, posterior={}, present=())
            stream.took(part, Reply(moments=(moment,) * steps, bundle_sha256=""), b"")
        kept.append(stream._kept_bytes)
    assert stream.judged_s == pytest.approx(39.5, abs=0.6)
    assert max(kept[400:]) <= 1.05 * max(kept[:400])  # but for the sizes of the pictures
    assert stream.file.tell() == 0


def test_a_stream_waits_for_what_it_announced_but_not_for_long() -> None:
    stream = session()
    for piece in pieces(0.9, pictures=False):
        stream.take(binary(piece))
    assert stream.due() is None  # there may be a picture yet
    for piece in pieces(2.0, start_s=0.9, pictures=False):
        stream.take(binary(piece))
    part = stream.due()
    assert part is not None
    assert (part.start_s, part.new_s, part.end_s) == (0.0, 0.0, 1.0)


def test_missing_sound_is_silence_and_the_picture_shown_before_stands_at_the_beginning() -> None:
    import av

    sent = [Piece(kind=SOUND, at_s=1.5, data=tone(0.5)), *(piece for piece in pieces(3.0, sound=False))]
    files = recorded(sent, Part(start_s=1.0, end_s=3.0, sound_hz=SOUND_HZ))
    assert files.media is not None
    with av.open(io.BytesIO(files.media)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None]
    assert times == pytest.approx([0.0, *(index / 10 + 0.03 for index in range(20))])
    with av.open(io.BytesIO(files.media)) as container:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    assert samples.size == 2 * SOUND_HZ
    assert not samples[: SOUND_HZ // 2].any()
    assert samples[SOUND_HZ // 2 : SOUND_HZ].tobytes() == tone(0.5)


WIDTHS = {"face": 6, "voice": 5}


def scorer(*, causal: bool) -> Scorer:
    torch.manual_seed(0)
    model = Model(width=16, heads=2, tcn_blocks=2, causal=causal)
    spec = ModelSpec(modalities=WIDTHS, classes=("neutral", "anger", "fear"), model=model)
    return Scorer(build_model(spec).eval(), Calibration(step=1.3, clip=1.0, unimodal=dict.fromkeys(WIDTHS, 1.0)))


def clip_features(steps: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    masks = {name: rng.random(steps) > 0.2 for name in WIDTHS}
    rows = {name: rng.standard_normal((steps, width)).astype(np.float32) for name, width in WIDTHS.items()}
    return {name: value * masks[name][:, None] for name, value in rows.items()}, masks


def streamed(scoring: Scorer, features: Any, masks: Any, sizes: Sequence[int]) -> np.ndarray:
    stream, past, start, posteriors = StreamScorer(scoring), Past(), 0, []
    for size in sizes:
        part = slice(start, start + size)
        scored, past = stream.advance(
            {name: rows[part] for name, rows in features.items()},
            {name: mask[part] for name, mask in masks.items()},
            past,
        )
        past = Past.unpack(past.pack())  # as between a proxy and its replicas
        posteriors.append(scored.step_posterior)
        start += size
    return np.concatenate(posteriors)


def test_a_causal_model_gives_a_stream_the_numbers_of_the_whole_clip() -> None:
    scoring = scorer(causal=True)
    features, masks = clip_features(40)
    assert StreamScorer(scoring).causal
    whole = scoring.score(features, masks).step_posterior
    assert streamed(scoring, features, masks, [1, 10, 9, 20]) == pytest.approx(whole, abs=1e-5)


def test_any_other_model_gives_the_numbers_of_a_clip_that_ends_there() -> None:
    scoring = scorer(causal=False)
    features, masks = clip_features(round(HELD_S * 10) + 40)
    parts = [100] * 3 + [40]
    posterior, end = streamed(scoring, features, masks, parts), 0
    for size in parts:
        end += size
        first = max(0, end - size - round(HELD_S * 10))
        clip = [{name: rows[first:end] for name, rows in kind.items()} for kind in (features, masks)]
        assert posterior[end - size : end] == pytest.approx(scoring.score(*clip).step_posterior[-size:], abs=1e-6)
