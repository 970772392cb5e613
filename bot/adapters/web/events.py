"""What a browser may tell Gradio: which event, for which page, with which values. Nothing else goes on.

Gradio believes a good deal of what it is sent. A value that looks like a file names a path of this server or an address
on the internet, which it then reads or fetches; a page's key (`session_hash`) is whoever's the sender says. So an
event is read here and written anew: values are texts, numbers and truth values, a file is the name under which it was
taken in before (`uploads`), and a page belongs to the person who used its key first.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bot.adapters.web.uploads import NAME
from bot.errors import BadInputError

MAX_VALUES = 64
"""Fields of the page whose values an event may bring."""
PAGES = 10_000
"""Pages whose owner is remembered."""
PAGE = r"^[0-9A-Za-z]{4,40}$"

Scalar = bool | int | float | Annotated[str, Field(max_length=512 * 1024)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Chosen(_Strict):
    """The value of a file field: a name of ours."""

    path: Annotated[str, Field(pattern=f"^{NAME}$")]


class Happening(_Strict):
    """An event of the page."""

    fn_index: Annotated[int, Field(ge=0, lt=10_000)]
    session_hash: Annotated[str, Field(pattern=PAGE)]
    trigger_id: int | None = None
    data: Annotated[list[Scalar | Chosen], Field(max_length=MAX_VALUES)]
    event_data: dict[str, Scalar] | None = None

    @field_validator("event_data", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:  # noqa: ANN401  (whatever a browser sends)
        """Of what Gradio's own components say beside a value, only what is plain."""
        if not isinstance(value, dict):
            return None
        return {name: part for name, part in value.items() if isinstance(part, str | int | float | bool | None)}


def happening(body: bytes) -> Happening:
    """Read an event.

    Raises:
        BadInputError: it isn't one that the page sends.
    """
    try:
        return Happening.model_validate_json(body)
    except ValidationError as error:
        raise BadInputError("no event of this page") from error


def written(event: Happening) -> bytes:
    """The same event for Gradio."""
    data = [
        {"path": value.path, "meta": {"_type": "gradio.FileData"}} if isinstance(value, Chosen) else value
        for value in event.data
    ]
    return json.dumps(event.model_dump() | {"data": data}).encode()


class Pages:
    """Whose page a key is; those that weren't used for longest are forgotten."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()

    def take(self, page: str, person: str) -> bool:
        """Whether a person may use this key: nobody else did."""
        owner = self._owners.setdefault(page, person)
        self._owners.move_to_end(page)
        while len(self._owners) > PAGES:
            self._owners.popitem(last=False)
        return owner == person

    def holds(self, page: str, person: str) -> bool:
        """Whether it is this person's."""
        return self._owners.get(page) == person
