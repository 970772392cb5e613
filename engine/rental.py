"""Renting GPUs from Modal: what an operator may set about it, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.types import Cost

Dollars = Annotated[float, Field(ge=0.0)]
Seconds = Annotated[int, Field(ge=1)]
GPUName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+[!+]?$")]
"""As Modal names them; without a number behind it, for nothing here would use a second one."""
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")]

PRICES: Mapping[str, float] = {
    "T4": 0.59,
    "L4": 0.80,
    "A10": 1.10,
    "L40S": 1.95,
    "A100-40GB": 2.10,
    "A100-80GB": 2.50,
    "H100": 3.95,
}
"""Dollars an hour, from Modal's price list."""
PRICED = date(2026, 5, 7)
"""The day of that list."""


class RentalSettings(BaseModel):
    """Settings of the deployment on Modal; they take effect at the next `modal deploy modal_engine.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    app: Name = Field(default="easel", description="Name of the app on Modal; the bot finds the engine by it.")
    environment: Name | None = Field(default=None, description="Modal environment, if not the workspace's default.")
    gpus: Annotated[tuple[GPUName, ...], Field(min_length=1)] = Field(
        default=("A10",), description="GPUs to ask for; later ones are taken where the first can't be had."
    )
    gpu_containers: Annotated[int, Field(ge=1, le=100)] = Field(default=4, description="GPU containers at most.")
    gpu_requests: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="Pictures that one GPU container draws at once, step by step."
    )
    gpu_containers_kept: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="GPU containers that stay up unused; 0 scales to zero."
    )
    scaledown_window: Annotated[int, Field(ge=2, le=1200)] = Field(
        default=60, description="Seconds for which an unused GPU container waits for more; they cost like any others."
    )
    torch_index: str | None = Field(
        default=None,
        description="Package index of the GPU's torch, such as `https://download.pytorch.org/whl/cu126`, if not PyPI.",
    )
    memory_snapshot: bool = Field(
        default=True, description="Start GPU containers from a snapshot with the model already in memory."
    )
    gpu_snapshot: bool = Field(
        default=False, description="Keep the GPU's memory in the snapshot, too; Modal calls that alpha."
    )
    startup_timeout: Annotated[int, Field(ge=10, le=1800)] = Field(
        default=300, description="Seconds within which a container must have started."
    )
    engine_containers: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="CPU containers at most; with one, nothing is drawn twice at the same time."
    )
    engine_scaledown_window: Annotated[int, Field(ge=2, le=1200)] = Field(
        default=300, description="Seconds for which an unused CPU container waits for more."
    )
    engine_cores: Annotated[float, Field(ge=0.125, le=64)] = Field(
        default=2.0, description="Cores of a CPU container: they check prompts and pictures."
    )
    engine_memory: Annotated[int, Field(ge=1024)] = Field(
        default=4096, description="Memory of a CPU container in MiB; Detoxify needs 1 GiB of it."
    )
    serve: tuple[Literal["web", "discord", "slack"], ...] = Field(
        default=(), description="Also run these on Modal, without a server of your own; each needs its secret."
    )
    chat_kept: bool = Field(
        default=False, description="Keep the container of `discord` and `slack` up, so that no command waits for it."
    )
    weights_volume: Name = Field(default="easel-weights", description="Volume of the models.")
    cache_volume: Name = Field(default="easel-cache", description="Volume of the cached pictures.")
    state_volume: Name = Field(default="easel-state", description="Volume of the database, for what `serve` names.")
    hub_secret: Name | None = Field(
        default=None, description="Modal secret with `EASEL_HUB_TOKEN`, for models that need one."
    )
    discord_secret: Name = Field(
        default="easel-discord", description="Modal secret with `EASEL_DISCORD_TOKEN` and `EASEL_DISCORD_PUBLIC_KEY`."
    )
    slack_secret: Name = Field(
        default="easel-slack", description="Modal secret with `EASEL_SLACK_BOT_TOKEN` and `EASEL_SLACK_SIGNING_SECRET`."
    )
    prices: dict[str, Dollars] = Field(default=dict(PRICES), description="Dollars an hour, by GPU.")
    prices_date: date = Field(default=PRICED, description="The day of those prices.")
    deadline: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=1800.0, description="Seconds for which the bot keeps trying to have a job drawn."
    )

    @model_validator(mode="after")
    def _every_gpu_has_its_price(self) -> Self:
        """Without one its pictures would count as free, and no budget would ever be spent."""
        for gpu in self.gpus:
            try:
                price_of(gpu, self)
            except ValueError as error:
                raise ValueError(f"the GPU {gpu} has no price; name it in EASEL_MODAL__PRICES") from error
        return self

    @model_validator(mode="after")
    def _no_more_are_kept_than_there_may_be(self) -> Self:
        if self.gpu_containers_kept > self.gpu_containers:
            raise ValueError("EASEL_MODAL__GPU_CONTAINERS_KEPT is more than EASEL_MODAL__GPU_CONTAINERS")
        return self


@dataclass(frozen=True, kw_only=True)
class GPU:
    """A GPU as it is paid for."""

    name: str
    dollars_an_hour: float


def price_of(gpu: str, settings: RentalSettings) -> float:
    """Dollars an hour of a GPU by Modal's name; of `A100`, which comes in two sizes, the larger one's."""
    plain = gpu.rstrip("!+")
    return max(dollars for name, dollars in settings.prices.items() if name == plain or name.startswith(f"{plain}-"))


def gpu_named(device: str, settings: RentalSettings) -> GPU:
    """The GPU that a driver calls, say, `NVIDIA A10G`, as the price table knows it.

    One that the table doesn't hold counts as the dearest of those that were asked for.
    """
    plain = device.upper().replace(" ", "-")
    for name in sorted(settings.prices, key=len, reverse=True):
        if all(part in plain for part in name.upper().split("-")):
            return GPU(name=name, dollars_an_hour=settings.prices[name])
    return GPU(name=device, dollars_an_hour=max(price_of(gpu, settings) for gpu in settings.gpus))


class Meter:
    """Shares out a container's lifetime among the pictures that it draws.

    Modal bills from the start of a container to its end. So all costs together are just that: what passes between two
    pictures is the later one's idle time, and the wait that comes after the last one is the first one's.
    """

    def __init__(
        self,
        gpu: GPU,
        *,
        wait_after: float,
        since: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            gpu: what is paid for.
            wait_after: seconds for which the container stays after its last picture.
            since: when it started, by the clock; now, if not given.
            monotonic: a clock.
        """
        self._gpu = gpu
        self._monotonic = monotonic
        self._paid_until = monotonic() if since is None else since
        self._to_come = wait_after

    def now(self) -> float:
        """The clock, for `read`."""
        return self._monotonic()

    def read(self, begun: float, pictures: int) -> tuple[Cost, ...]:
        """What pictures cost that were drawn together since `begun`, and are finished now."""
        now = self._monotonic()
        begun = min(max(begun, self._paid_until), now)
        work, idle = now - begun, begun - self._paid_until + self._to_come
        self._paid_until, self._to_come = now, 0.0
        dollars = (work + idle) * self._gpu.dollars_an_hour / 3600
        share = Cost(
            gpu=self._gpu.name,
            gpu_seconds=round(work / pictures, 3),
            idle_seconds=round(idle / pictures, 3),
            dollars=round(dollars / pictures, 6),
        )
        return (share,) * pictures
