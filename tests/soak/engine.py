"""Soak: the engine against the oracle, over many more labs and questions than a test run has time for.

``python -m tests.soak.engine [--questions 10000] [--seed N] [--write]``; ``--write`` adds the line to
docs/soak-engine.jsonl.
"""

from __future__ import annotations

import argparse

from tests import conftest  # noqa: F401 - its Hypothesis profile
from tests.engine.oracle_cases import QUESTIONS, ROUND, ask_labs
from tests.soak.lines import report


def ask(questions: int, number: int) -> dict[str, object]:
    """Ask at least ``questions`` random questions; the first wrong answer is shrunk and raised."""
    done, zones = ask_labs(-(-questions // (ROUND * QUESTIONS)), number * 1_000_000)
    assert done >= questions
    return {"questions": done, "labs": done // QUESTIONS, "zones": len(zones), "seed": number}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    report(
        "engine = oracle",
        lambda: ask(options.questions, options.seed),
        "soak-engine.jsonl" if options.write else None,
    )


if __name__ == "__main__":
    main()
