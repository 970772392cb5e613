"""Between rows of the database and values."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, TypeVar

from pydantic import TypeAdapter

from bot.chat import Place, Requester, Role
from bot.store.database import Transaction
from bot.store.rows import DeliveryRow, JobRow, JobState, PictureRow, PictureState
from engine.types import Cached, ImageRequest, Layer, ResolvedRequest, SourceImage

Request = TypeVar("Request", bound=ImageRequest)

_ASKED = TypeAdapter(tuple[ImageRequest, ...])
_RESOLVED = TypeAdapter(tuple[ResolvedRequest, ...])
_IMAGES: Any = {"__all__": {"image"}}
"""Kept in a table of their own."""


def job_columns(job: JobRow) -> dict[str, Any]:
    """A job as the columns of its table."""
    return {
        "id": job.id,
        "platform": job.place.platform,
        "event": job.event,
        "workspace": job.place.workspace,
        "channel": job.place.channel,
        "thread": job.place.thread,
        "person": job.requester.key,
        "name": job.requester.name,
        "role": job.requester.role,
        "locale": job.requester.locale,
        "reply_to": job.reply_to,
        "command": job.command,
        "asked": _ASKED.dump_json(job.asked, exclude=_IMAGES).decode(),
        "requests": _RESOLVED.dump_json(job.requests, exclude=_IMAGES).decode(),
        "seeds_free": job.seeds_free,
        "charged": job.charged,
        "runner": job.runner,
        "created": job.created,
        "updated": job.updated,
    }


def picture_columns(picture: PictureRow) -> dict[str, Any]:
    """A picture as the columns of its table, without its index."""
    return {
        "state": picture.state,
        "key": picture.key,
        "generation_key": picture.generation_key,
        "seed": None if picture.seed is None else str(picture.seed),
        "cached": picture.cached,
        "seconds": json.dumps(picture.seconds),
        "layer": picture.layer,
        "categories": json.dumps(picture.categories),
        "error": picture.error,
    }


async def load(transaction: Transaction, job: str) -> JobRow | None:
    """A job with its pictures and messages."""
    row = await transaction.one("SELECT * FROM jobs WHERE id = ?", job)
    if row is None:
        return None
    pictures = await transaction.run("SELECT * FROM pictures WHERE job = ? ORDER BY idx", job)
    images = await _images(transaction, pictures)
    deliveries = await transaction.run("SELECT * FROM deliveries WHERE job = ? ORDER BY part", job)
    platform, _, person = row["person"].partition(":")
    return JobRow(
        id=row["id"],
        event=row["event"],
        place=Place(platform=row["platform"], workspace=row["workspace"], channel=row["channel"], thread=row["thread"]),
        requester=Requester(
            platform=platform, id=person, name=row["name"], role=Role(row["role"]), locale=row["locale"]
        ),
        reply_to=row["reply_to"],
        command=row["command"],
        asked=tuple(map(_with_image, _ASKED.validate_json(row["asked"]), images)),
        requests=tuple(map(_with_image, _RESOLVED.validate_json(row["requests"]), images)),
        seeds_free=bool(row["seeds_free"]),
        charged=bool(row["charged"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        runner=row["runner"],
        error=row["error"],
        created=row["created"],
        updated=row["updated"],
        pictures=tuple(map(_picture, pictures)),
        deliveries=tuple(map(_delivery, deliveries)),
    )


async def load_all(transaction: Transaction, jobs: list[sqlite3.Row]) -> tuple[JobRow, ...]:
    """Jobs of which only the ids have been read, in that order."""
    loaded = [await load(transaction, row["id"]) for row in jobs]
    return tuple(job for job in loaded if job is not None)


async def _images(transaction: Transaction, pictures: list[sqlite3.Row]) -> list[SourceImage | None]:
    """The image that each picture starts from; pictures of one job share it."""
    known: dict[str, SourceImage] = {}
    for sha256 in {row["source"] for row in pictures} - {None}:
        found = await transaction.one("SELECT data FROM sources WHERE sha256 = ?", sha256)
        if found is not None:
            known[sha256] = SourceImage(data=found["data"])
    return [known.get(row["source"]) for row in pictures]


def _with_image(request: Request, image: SourceImage | None) -> Request:
    return request if image is None else request.model_copy(update={"image": image})


def _picture(row: sqlite3.Row) -> PictureRow:
    return PictureRow(
        index=row["idx"],
        state=PictureState(row["state"]),
        key=row["key"],
        generation_key=row["generation_key"],
        seed=None if row["seed"] is None else int(row["seed"]),
        cached=None if row["cached"] is None else Cached(row["cached"]),
        seconds=json.loads(row["seconds"] or "{}"),
        layer=None if row["layer"] is None else Layer(row["layer"]),
        categories=tuple(json.loads(row["categories"] or "[]")),
        error=row["error"],
        deleted=row["deleted"],
    )


def _delivery(row: sqlite3.Row) -> DeliveryRow:
    return DeliveryRow(
        job=row["job"],
        part=row["part"],
        nonce=row["nonce"],
        delivered=row["state"] == "delivered",
        message_id=row["message_id"],
        attempts=row["attempts"],
    )
