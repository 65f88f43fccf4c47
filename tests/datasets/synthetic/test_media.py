from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from components.datasets.synthetic.media import CLOCK_HZ, MediaNames, frame_times, render
from components.datasets.synthetic.plan import ClipPlan
from tests.trees import tree_sha256

Rendered = Callable[[ClipPlan], Path]


def first_with(plans: list[ClipPlan], *, flaw: str | None = None, kind: str | None = None) -> ClipPlan:
    if flaw is not None:
        return next(plan for plan in plans if plan.flaw == flaw)
    return next(plan for plan in plans if any(planted.kind == kind for planted in plan.planted))


def frames_of(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and grey pictures of the frames that decode."""
    times, pictures = [], []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            try:
                for frame in packet.decode():
                    times.append(float(frame.pts * frame.time_base))
                    pictures.append(frame.to_ndarray(format="gray"))
            except av.error.InvalidDataError:
                continue
    return times, pictures


def sound_of(path: Path) -> tuple[float, np.ndarray]:
    """Start time and samples of the sound stream."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
        start_s = float(frames[0].pts * frames[0].time_base)
        return start_s, np.concatenate([frame.to_ndarray().ravel() for frame in frames])


def test_a_clip_is_h264_and_aac_with_the_planned_times(plans: list[ClipPlan], rendered: Rendered) -> None:
    plan = next(plan for plan in plans if not plan.planted)
    path = rendered(plan)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, audio.rate) == (128, 128, 16000)
        assert container.metadata.get("creation_time") is None
    times, _ = frames_of(path)
    np.testing.assert_allclose(times, frame_times(plan) / CLOCK_HZ, atol=1e-6)
    start_s, samples = sound_of(path)
    assert start_s == pytest.approx(0.0, abs=0.07)
    assert samples.size / 16000 == pytest.approx(plan.duration_s, abs=0.15)


def test_rendering_twice_gives_the_same_bytes(plans: list[ClipPlan], tmp_path: Path) -> None:
    for plan in (plans[0], first_with(plans, flaw="broken_packets"), first_with(plans, kind="late_audio")):
        for place in ("one", "two"):
            (tmp_path / place).mkdir(exist_ok=True)
            render(plan, tmp_path / place)
    assert tree_sha256(tmp_path / "one") == tree_sha256(tmp_path / "two")


def test_missing_streams_are_missing(plans: list[ClipPlan], rendered: Rendered) -> None:
    no_picture = first_with(plans, flaw="no_picture")
    assert MediaNames.of(no_picture).video is None
    with av.open(str(rendered(no_picture))) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
    with av.open(str(rendered(first_with(plans, flaw="no_sound")))) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert MediaNames.of(first_with(plans, flaw="no_physio")).physio is None
    _, silence = sound_of(rendered(first_with(plans, flaw="silent_sound")))
    assert np.abs(silence).max() < 1e-3


def test_late_sound_has_a_late_timestamp(plans: list[ClipPlan], rendered: Rendered) -> None:
    plan = first_with(plans, kind="late_audio")
    start_s, samples = sound_of(rendered(plan))
    # The encoder's 64 ms of priming come first.
    assert start_s == pytest.approx(plan.audio_start_s, abs=0.07)
    assert start_s + samples.size / 16000 == pytest.approx(plan.duration_s, abs=0.15)


def test_a_variable_rate_varies_and_keeps_its_timestamps(plans: list[ClipPlan], rendered: Rendered) -> None:
    plan = first_with(plans, kind="variable_frame_rate")
    wanted = frame_times(plan)
    assert (np.diff(wanted) > 0).all()
    assert np.diff(wanted).std() / np.diff(wanted).mean() > 0.2
    times, _ = frames_of(rendered(plan))
    np.testing.assert_allclose(times, wanted / CLOCK_HZ, atol=1e-6)


def test_broken_packets_cost_pictures_only_until_the_next_keyframe(plans: list[ClipPlan], rendered: Rendered) -> None:
    plan = first_with(plans, flaw="broken_packets")
    broken = dict(zip(*frames_of(rendered(plan)), strict=True))
    clean = dict(zip(*frames_of(rendered(replace(plan, flaw=None))), strict=True))
    hurt = {time_s for time_s, picture in clean.items() if not np.array_equal(picture, broken.get(time_s))}
    assert len(hurt) > 3
    assert min(hurt) >= plan.flaw_start_s - 0.05
    assert max(hurt) < plan.flaw_end_s + 1.1
    assert len(clean) - len(hurt) > 0.3 * len(clean)


def test_a_covered_camera_is_dark_while_covered(plans: list[ClipPlan], rendered: Rendered) -> None:
    plan = first_with(plans, flaw="covered_camera")
    times, pictures = frames_of(rendered(plan))
    for time_s, picture in zip(times, pictures, strict=True):
        covered = plan.flaw_start_s <= time_s < plan.flaw_end_s
        assert (picture.mean() < 25) == covered
