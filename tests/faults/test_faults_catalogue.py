"""docs/faults.md says what the markers of the tests say."""

from __future__ import annotations

from tests.faults.catalogue import FAULTS, PAGE, marked_tests, page


def test_page_is_what_the_markers_say() -> None:
    """The page is up to date: after a change of markers run ``python -m tests.faults.catalogue``."""
    assert PAGE.read_text("utf-8") == page()


def test_all_faults_are_listed() -> None:
    """The catalogue names the faults 1 to 68 once each, and no marker has another number."""
    assert list(FAULTS) == list(range(1, 69))
    assert len(set(FAULTS.values())) == 68
    assert set(marked_tests()) <= set(FAULTS)


def test_faults_of_retrieval_are_injected() -> None:
    """Each fault of retrieval, 1 to 34, is injected by a test."""
    assert set(range(1, 35)) <= set(marked_tests())
