"""The engine against its rivals: ``make bench``; docs/performance.md has the results."""
