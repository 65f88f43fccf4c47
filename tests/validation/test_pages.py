from __future__ import annotations

from components.validation.pages import catalog_sections, dataset_sections, suite_sections


def suites(**levels: str) -> dict[str, object]:
    failed = {name: {"level": level, "says": f"<{name}>", "observed": "1"} for name, level in levels.items()}
    return {"clips": {"rows": 3, "evaluated": 2, "failed": failed}}


def test_a_warning_is_no_failure() -> None:
    assert '<span class="holds">holds</span>' in "".join(suite_sections(suites(), {}))
    warned = "".join(suite_sections(suites(texts="warning"), {}))
    assert "1 warnings" in warned
    assert 'class="broken"' not in warned
    assert '<span class="broken">1 broken, 1 warnings</span>' in "".join(
        suite_sections(suites(texts="warning", people="critical"), {})
    )


def test_what_people_wrote_is_text_and_what_moved_is_said() -> None:
    measure = {"what": "how long clips are", "value": 0.5, "limit": 0.4, "seen": "2 s → 3 s"}
    page = "".join(
        dataset_sections(
            {
                "success": False,
                "statistics": {"accepted": 3, "subjects": 2, "set_aside": 1, "quarantined": {"word_times": 1}},
                "suites": suites(word_times="row"),
                "readmitted": [{"clip_id": "a", "code": "word_times", "seen": "1", "reason": "<b>mine</b>"}],
                "drift": {
                    "compared_with": {"clips": 9, "people": 4},
                    "measures": {"durations": {**measure, "by_chance": True, "moved": True}},
                    "notes": ["features of face: new, so not compared"],
                },
            }
        )
    )
    for said in (
        "stopped",
        "&lt;word_times&gt;",
        "&lt;b&gt;mine&lt;/b&gt;",
        "It had 9 clips of 4 people.",
        "<td>0.500</td><td>0.400 (chance)</td>",
        "2 s → 3 s",
        "features of face: new",
    ):
        assert said in page


def test_the_splits_say_which_texts_recur() -> None:
    splits = {"test": {"clips": 2, "subjects": 1}, "train": {"clips": 6, "subjects": 3}}
    described = {"splits": splits, "texts": 4, "shared_texts": {"a": {}}, "left_out": [{}], "suites": suites()}
    page = "".join(catalog_sections(described))
    assert page.index("<td>train</td>") < page.index("<td>test</td>")
    assert "1 of 4 texts are spoken in more than one split" in page
    assert "1 accepted clips are in no split" in page
    assert "4 texts, none of them" in "".join(catalog_sections({**described, "shared_texts": {}}))
    assert "No clip is scripted" in "".join(catalog_sections({**described, "texts": 0, "shared_texts": {}}))
