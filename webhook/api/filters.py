"""Query models that select rows by age, number and page. Shared by parked objects and quarantined texts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webhook.ledger.cursor import PATTERN, Cursor, parse

_DECADE_SECONDS = 10 * 365 * 86_400

Text = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")]
"""PostgreSQL's text holds no NUL."""
Seconds = Annotated[float, Field(ge=0, le=_DECADE_SECONDS, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
After = Annotated[str, Field(pattern=PATTERN)]
"""``next`` of the previous page."""


class Filter(BaseModel):
    """Selects the rows to list. A missing field matches all; an unknown field is refused, for it may be a typo."""

    model_config = ConfigDict(extra="forbid")

    older_seconds: Seconds | None = None
    newer_seconds: Seconds | None = None
    after: After | None = None

    @property
    def cursor(self) -> Cursor | None:
        """The last row of the previous page; None for the first page."""
        return None if self.after is None else parse(self.after)

    def filters(self) -> dict[str, Any]:
        """The fields that select rows: neither the page nor the action."""
        return self.model_dump(exclude={"after", "limit", "all", "dry_run"}, exclude_none=True)


class Choice(Filter):
    """Selects the rows to change: all of them only with ``all``."""

    ids: Annotated[list[Number], Field(min_length=1, max_length=1_000)] | None = None
    all: bool = False
    dry_run: bool = False

    @model_validator(mode="after")
    def _chosen(self) -> Choice:
        if self.all and self.filters():
            raise ValueError("all does not go with ids or a filter")
        if not self.all and not self.filters():
            raise ValueError("name ids or a filter, or say all")
        return self
