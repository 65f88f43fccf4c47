from __future__ import annotations

from components.validation.docs import make_local

PAGE = """<html><head>
<link rel="stylesheet" href="https://cdn.example/a.css"><link rel="icon" href="static/favicon.ico"/>
<style>.logo{background: url('https://assets.example/logo.png') 0 0 no-repeat;}</style>
<script src="https://cdn.example/a.js" integrity="x"></script></head>
<body><img
  src="https://assets.example/logo.png?d=20260101&dataContextId=abc" alt="logo">
<script>
$("table").on("click")
</script>
<p>kept</p><a href="https://example.org">a link for a person</a>
<footer><p>Subscribe</p></footer></body></html>"""


def test_nothing_is_fetched_and_nothing_runs() -> None:
    page = make_local(PAGE)
    assert "cdn.example" not in page
    assert "assets.example" not in page
    assert "<script" not in page
    assert "Subscribe" not in page


def test_what_a_person_reads_stays() -> None:
    page = make_local(PAGE)
    assert "<p>kept</p>" in page
    assert "https://example.org" in page
    assert "static/favicon.ico" in page
    assert "<style>" in page
