"""docs/security.md promises 15 things, and says which tests hold each."""

from __future__ import annotations

from tests.faults.catalogue import marked_tests
from tests.faults.promises import END, PAGE, PROMISES, START, page


def test_page_is_what_the_markers_say() -> None:
    """The table is up to date: after a change of markers run ``python -m tests.faults.promises``."""
    text = PAGE.read_text("utf-8")
    assert text.count(START) == text.count(END) == 1
    assert text == page()


def test_every_promise_is_held_by_a_test() -> None:
    """The promises are 1 to 15, each has at least two tests, and no marker has another number."""
    marked = marked_tests("promise")
    assert list(PROMISES) == list(range(1, 16))
    assert set(marked) == set(PROMISES)
    assert {number for number, tests in marked.items() if len(tests) < 2} == set()


def test_every_promise_is_explained() -> None:
    """The page has a part on how each promise is kept."""
    text = PAGE.read_text("utf-8")
    assert [number for number in PROMISES if f"\n**{number}.** " not in text] == []
