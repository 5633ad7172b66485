"""``python -m usagekit.cli``."""

from usagekit.cli import main

main()
