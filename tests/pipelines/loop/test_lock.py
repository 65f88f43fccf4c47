from __future__ import annotations

import yaml

from pipelines.loop.lock import merged, part_of, stages_of

BASE = yaml.safe_dump({"schema": "2.0", "stages": {"b": {"cmd": "old"}, "a": {"cmd": "a"}}}, sort_keys=False)


def part(**stages: str) -> str:
    return yaml.safe_dump({"schema": "2.0", "stages": {name: {"cmd": command} for name, command in stages.items()}})


def test_entries_keep_their_places_and_new_ones_follow_in_running_order() -> None:
    text = merged(BASE, [part(d="d"), part(c="c"), part(b="new")], ["a", "b", "c", "d"])
    assert list(stages_of(text).items()) == [
        ("b", {"cmd": "new"}),
        ("a", {"cmd": "a"}),
        ("c", {"cmd": "c"}),
        ("d", {"cmd": "d"}),
    ]


def test_the_first_lock_is_made_of_parts_alone() -> None:
    assert list(stages_of(merged("", [part(a="a")], ["a"]))) == ["a"]


def test_a_part_is_one_stage_and_parts_are_the_whole() -> None:
    parts = [part_of(BASE, name) for name in ("a", "b")]
    assert stages_of(parts[0]) == {"a": {"cmd": "a"}}
    assert stages_of(merged("", parts, ["b", "a"])) == stages_of(BASE)
