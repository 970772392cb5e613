"""The cache on a volume that several machines mount."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from engine.cache.files import DamagedError
from engine.cache.values import EntryFacts, SideCar
from engine.cache.volume import FRESH, Gate, VolumeFiles

KEY, OTHER = "ab" * 32, "cd" * 32


class Mount:
    """One machine's view of a volume: what it wrote and what it has reloaded."""

    def __init__(self, shared: Path, view: Path) -> None:
        self.shared, self.view = shared, view
        self.commits = 0
        self.reloads = 0
        self.fault: OSError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def commit(self) -> None:
        self.commits += 1
        assert self.gate.wait(10)
        if self.fault:
            raise self.fault
        shutil.copytree(self.view, self.shared, dirs_exist_ok=True)

    def reload(self) -> None:
        self.reloads += 1
        if self.fault:
            raise self.fault
        shutil.copytree(self.shared, self.view, dirs_exist_ok=True)


class Machine:
    def __init__(self, folder: Path, name: str) -> None:
        (folder / "shared").mkdir(exist_ok=True)
        (folder / name).mkdir()
        self.time = 0.0
        self.mount = Mount(folder / "shared", folder / name)
        self.files = VolumeFiles(folder / name, self.mount, monotonic=lambda: self.time)
        self.files.prepare()


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    return Machine(tmp_path, "one"), Machine(tmp_path, "two")


def side_car(key: str, data: bytes) -> SideCar:
    import hashlib

    facts = EntryFacts(
        scope="x:a",
        owner="x:1",
        family="f" * 64,
        generation_key=key,
        prompt="apple",
        model="emoji",
        seed=7,
        width=64,
        height=64,
        parameters={},
    )
    digest = hashlib.sha256(data).hexdigest()
    return SideCar(key=key, tier="unmarked", sha256=digest, bytes=len(data), created=1.0, facts=facts)


def test_what_one_machine_stores_another_finds_after_a_reload(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.files.write(side_car(KEY, b"png"), b"png")
    one.files.close()
    assert one.mount.commits >= 1
    assert two.files.read(KEY)[1] == b"png"
    assert two.mount.reloads == 1
    assert two.files.read(KEY)[1] == b"png"
    assert two.mount.reloads == 1, "what is here is read without asking"


def test_one_reload_answers_several_looks(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    for _ in range(4):
        with pytest.raises(FileNotFoundError):
            one.files.read(KEY)
    assert one.mount.reloads == 1
    one.time += FRESH + 1
    with pytest.raises(FileNotFoundError):
        one.files.read(KEY)
    assert one.mount.reloads == 2


def test_a_volume_that_can_t_be_reloaded_is_a_miss_and_one_that_can_t_be_committed_costs_nothing_now(
    machines: tuple[Machine, Machine],
) -> None:
    one, _ = machines
    one.mount.fault = OSError("there are open files preventing the operation")
    with pytest.raises(FileNotFoundError):
        one.files.read(KEY)
    one.files.write(side_car(KEY, b"png"), b"png")
    one.files.close()
    assert one.files.read(KEY)[1] == b"png"


def test_changes_that_wait_are_committed_together(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.mount.gate.clear()
    for number in range(20):
        one.files.write(side_car(f"{number:064x}", b"png"), b"png")
    one.mount.gate.set()
    one.files.close()
    assert one.mount.commits == 2, "the one that had begun, and one for all the others"
    assert all(two.files.read(f"{number:064x}")[1] == b"png" for number in range(20))


def test_removals_and_quarantine_are_committed(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    one.files.write(side_car(KEY, b"png"), b"png")
    (one.mount.view / KEY[:2] / KEY[2:4] / f"{KEY}.png").write_bytes(b"torn")
    with pytest.raises(DamagedError):
        one.files.read(KEY)
    one.files.quarantine(KEY)
    one.files.remove([OTHER])
    one.files.close()
    assert one.files.absent([KEY]) == [KEY]
    assert (one.mount.shared / "quarantine" / f"{KEY}.png").exists()


def test_nobody_is_inside_with_whoever_is_alone() -> None:
    gate = Gate()
    inside, left = threading.Event(), threading.Event()
    order: list[str] = []

    def stay() -> None:
        with gate.entered():
            inside.set()
            left.wait(10)
            order.append("inside")

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    threads = [threading.Thread(target=stay)]
    threads[0].start()
    inside.wait(10)
    threads.append(threading.Thread(target=alone))
    threads[1].start()
    left.set()
    for thread in threads:
        thread.join(10)
    assert order == ["inside", "alone"]
