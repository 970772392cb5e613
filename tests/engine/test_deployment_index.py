"""The cache's index on its way from one container to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.deployment.index import IndexCopy
from engine.types import Cached
from tests.engine.deployed import Disk, deployed
from tests.engine.ordering import order, request
from tests.engine.scripted_pipeline import ScriptedPipeline


class Shared(Disk):
    """A volume on which something happens elsewhere that a reload shows."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def reload(self) -> None:
        super().reload()
        self._happens()


def copies(folder: Path) -> list[Path]:
    """Of the index, for the next container."""
    return list(folder.glob("index.sqlite3*.copy"))


async def test_an_index_that_went_with_its_container_is_made_anew(tmp_path: Path, pipeline: ScriptedPipeline) -> None:
    async with deployed(tmp_path, pipeline) as there:
        await there.picture(order(request()))
        assert there.volume.commits > 0
        there.engine, first = there.another(tmp_path / "elsewhere"), there.engine
        await there.engine.open()
        assert (await there.ask("cache_stats", scope=None)).entries == 2
        assert (await there.picture(order(request()))).cached is Cached.FINISHED
        fresh = await there.picture(order(request(seed=8), free=True))
        assert fresh.cached is Cached.NONE, "whoever was given the first picture gets another"
        await first.close()


async def test_an_index_is_handed_to_the_next_container_and_made_anew_if_that_failed(
    tmp_path: Path, pipeline: ScriptedPipeline
) -> None:
    async with deployed(tmp_path, pipeline) as there:
        await there.picture(order(request()))
        await there.ask("cache_stats", scope=None)
        await there.engine.close()
        assert len(copies(tmp_path / "cache")) == 1
        side_car = next((tmp_path / "cache").glob("*/*/*.json"))
        side_car.rename(side_car.with_suffix(".hidden"))  # so that it shows where the index comes from

        there.engine = there.another(tmp_path / "second")
        await there.engine.open()
        assert (await there.ask("cache_stats", scope=None)).entries == 2, "as it was left"
        assert copies(tmp_path / "cache") == [], "so that nobody begins with it once more if this container is lost"

        lost, there.engine = there.engine, there.another(tmp_path / "third")
        await there.engine.open()
        assert (await there.ask("cache_stats", scope=None)).entries == 1, "from the files"
        await there.engine.close()
        (copy,) = copies(tmp_path / "cache")
        copy.write_bytes(b"torn")
        there.engine = there.another(tmp_path / "fourth")
        await there.engine.open()
        assert (await there.ask("cache_stats", scope=None)).entries == 1, "from the files"
        await lost.close()


async def test_an_index_that_lacks_what_another_container_stored_is_not_handed_on(
    tmp_path: Path, pipeline: ScriptedPipeline
) -> None:
    """While a deployment is replaced, the old container still drains when the new one has begun."""
    async with deployed(tmp_path, pipeline) as there:
        await there.picture(order(request()))
        old, there.engine = there.engine, there.another(tmp_path / "second")
        await there.engine.open()
        await there.picture(order(request(seed=8)))
        await old.close()

        lost, there.engine = there.engine, there.another(tmp_path / "third")
        await there.engine.open()
        assert await there.ask("cache_purge", scope=None, owner="x:1") == 4, "what the lost one stored as well"
        await lost.close()


async def test_an_index_that_lacks_what_the_container_before_stored_is_not_handed_on(
    tmp_path: Path, pipeline: ScriptedPipeline
) -> None:
    async with deployed(tmp_path, pipeline) as there:
        old, new = there.engine, there.another(tmp_path / "second")
        await new.open()
        await there.picture(order(request()))
        await old.close()
        await new.close()
        there.engine = there.another(tmp_path / "third")
        await there.engine.open()
        assert await there.ask("cache_purge", scope=None, owner="x:1") == 2


def test_a_container_sees_that_another_has_begun_before_it_leaves_its_index(tmp_path: Path) -> None:
    new = IndexCopy(tmp_path, tmp_path / "new", Disk())
    old = IndexCopy(tmp_path, tmp_path / "old", Shared(new.take))
    old.take()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "index.sqlite3").write_bytes(b"an index")
    old.leave()
    assert copies(tmp_path) == []


def test_a_copy_that_comes_while_another_container_begins_is_of_no_use(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("old", "new", "next")]
    old, new, following = (IndexCopy(tmp_path, folder, Disk()) for folder in folders)
    old.take()
    folders[0].mkdir()
    (folders[0] / "index.sqlite3").write_bytes(b"an index")
    old.leave()
    (late,) = copies(tmp_path)
    left = late.read_bytes()
    new.take()
    late.write_bytes(left)  # its commit came after the other one's last look
    folders[2].mkdir()
    following.take()
    assert list(folders[2].iterdir()) == []
    assert copies(tmp_path) == []
