"""An answer of a lab: the frame, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from usagekit.query import UsageQuery

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Usage:
    """An answer: the frame ``df``, the queries that it took and when the numbers were true."""

    df: pd.DataFrame
    queries: tuple[UsageQuery, ...]
    as_of: datetime
    base_url: str

    @property
    def request(self) -> str:
        """Path and parameters of the (first) request, as the API's document writes them."""
        query = self.queries[0]
        return f"{query.route.path}?{urlencode(query.to_params(), quote_via=quote, safe='/@')}"

    def curl(self) -> str:
        """The curl commands that give the same numbers; the token is left to the shell's environment."""
        from usagekit.api.client import curl

        return "\n".join(curl(query, self.base_url) for query in self.queries)

    def __repr__(self) -> str:
        return repr(self.df)

    def _repr_html_(self) -> str:
        frame: Any = self.df
        return str(frame._repr_html_())
