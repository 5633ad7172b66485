"""The 15 security promises, and which tests hold us to them: ``python -m tests.faults.promises`` writes their table.

The table of docs/security.md is made from the ``promise`` markers of the tests, read from their source.
"""

from __future__ import annotations

from tests.faults.catalogue import TESTS, marked_tests, told

PAGE = TESTS.parent / "docs" / "security.md"
START, END = "<!-- made by python -m tests.faults.promises -->", "<!-- end of what is made -->"

PROMISES = {
    1: "the token and the passwords of the mail server stand in nothing that is made, written, logged or shown",
    2: "the token goes to the configured origin alone, encrypted, and never by way of somebody else",
    3: "no name, note or number runs as a script, on a page or in a mail",
    4: "a report opens without a network and calls nobody",
    5: "making a PDF reads no file and asks no network",
    6: "what is written stays in its own folder, whatever teams are called and whoever planted a link",
    7: "no cell of a CSV file becomes a formula",
    8: "no name adds a header or a recipient to a mail: recipients come from the settings",
    9: "no name becomes SQL",
    10: "nothing that is read is run, but templates that somebody has checked",
    11: "no input takes work without bounds",
    12: "the server is closed: loopback, a token, one Host, no pages of others, no tracebacks",
    13: "what holds addresses is for its owner alone, whatever the umask",
    14: "a report that was changed is found out, and so is what it was made from",
    15: "nothing is downloaded at run time, and every dependency is pinned",
}


def table() -> str:
    """The table as the markers say it must be."""
    marked = marked_tests("promise")
    rows = [f"| {number} | {name} | {told(marked.get(number, []))} |" for number, name in PROMISES.items()]
    return "\n".join(["| # | promise | held by |", "|---|---|---|", *rows])


def page() -> str:
    """The page with the table in its place."""
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE.name}: {len(marked_tests('promise'))} of {len(PROMISES)} promises")
