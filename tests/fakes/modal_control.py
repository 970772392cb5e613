"""Modal's control plane on loopback, as far as a deployment needs it: takes what is sent and gives everything an id."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from modal_proto import api_grpc, api_pb2

IDS = {
    "AppGetOrCreate": ("app_id", "ap"),
    "AppCreate": ("app_id", "ap"),
    "EnvironmentGetOrCreate": ("environment_id", "en"),
    "MountGetOrCreate": ("mount_id", "mo"),
    "ImageGetOrCreate": ("image_id", "im"),
    "VolumeGetOrCreate": ("volume_id", "vo"),
    "SecretGetOrCreate": ("secret_id", "st"),
    "FunctionPrecreate": ("function_id", "fu"),
    "FunctionCreate": ("function_id", "fu"),
    "ClassCreate": ("class_id", "cs"),
}
"""The field of each answer that is an id, and how ids of its kind begin."""

BUILDER = "2025.06"
"""The version of the way in which images are built."""


ROOT = Path(__file__).parent.parent.parent


def source(copy: Path) -> Path:
    """Easel's folder as it is now, bytecode included: Modal's client doesn't deploy what changes meanwhile."""
    for name in ("bot", "engine"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    for name in ("modal_engine.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, copy)
    return copy


async def deploy(folder: Path, **settings: str) -> FakeModal:
    """`modal deploy modal_engine.py`, against a control plane on loopback."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "MODAL_"))}
    async with FakeModal().serving() as control:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", "deploy", "modal_engine.py"),
            cwd=folder,
            env=plain | control.tokens | settings | {"MODAL_CONFIG_PATH": str(folder / "modal.toml")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return control


class FakeModal:
    """Remembers every request by its method."""

    def __init__(self) -> None:
        self.requests: dict[str, list[Any]] = {}
        self.made: dict[str, Any] = {}
        """What was asked for, by the id that it got."""
        self.refusals: dict[str, Status] = {}
        """Methods that are refused, and how; all of them, where one is called `*`."""
        self.url = ""
        self._numbers = count(1)

    @property
    def tokens(self) -> dict[str, str]:
        """What a machine's environment needs to speak to it."""
        return {"MODAL_SERVER_URL": self.url, "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}

    def __mapping__(self) -> dict[str, Handler]:
        """Every method of the protocol, for grpclib."""
        return self.mapping(None)

    def mapping(self, container: Any) -> dict[str, Handler]:
        """The same for a container, which asks by an address of its own."""
        base: Any = api_grpc.ModalClientBase
        concrete = type("Concrete", (base,), dict.fromkeys(base.__abstractmethods__))
        known = concrete().__mapping__()
        return {
            path: handler._replace(func=self._method(path.rpartition("/")[2], handler.reply_type, container))
            for path, handler in known.items()
        }

    async def serve(self, stream: Stream[Any, Any], name: str, reply: Any, container: Any) -> None:
        """Answer one request."""
        request = await stream.recv_message()
        self.requests.setdefault(name, []).append(request)
        await stream.send_message(self._reply(name, request, reply))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeModal]:
        """Listen on a free port."""
        server = Server([self])
        await server.start("127.0.0.1", 0)
        sockets: Any = server._server
        self.url = f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    def _method(self, name: str, reply_type: Callable[[], Any], container: Any) -> Callable[[Stream[Any, Any]], Any]:
        async def answer(stream: Stream[Any, Any]) -> None:
            refusal = self.refusals.get(name) or self.refusals.get("*")
            if refusal is not None:
                raise GRPCError(refusal, "refused")
            await self.serve(stream, name, reply_type(), container)

        return answer

    def _reply(self, name: str, request: Any, reply: Any) -> Any:
        if name in IDS:
            field, prefix = IDS[name]
            id_ = f"{prefix}-{next(self._numbers)}"
            setattr(reply, field, id_)
            self.made[id_] = request
        if name in ("ImageGetOrCreate", "ImageJoinStreaming"):
            reply.result.status = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
        if name == "FunctionCreate":
            reply.function.CopyFrom(request.function)
            reply.function_data.CopyFrom(request.function_data)
            if not request.function_data.ranked_functions:
                reply.function_data.ranked_functions.add(rank=0).function.CopyFrom(request.function)
            reply.function_id = request.existing_function_id or reply.function_id
            made = request.function if request.function.function_name else request.function_data
            reply.handle_metadata.function_name = made.function_name
            reply.handle_metadata.function_type = made.function_type
        if name == "EnvironmentGetOrCreate":
            reply.metadata.settings.image_builder_version = BUILDER
        if name == "MountPutFile":
            reply.exists = True
        return reply
