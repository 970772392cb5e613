"""What the cloud on loopback keeps of calls, containers and pages."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from grpclib.server import Server
from modal._serialization import deserialize_data_format, serialize_data_format
from modal_proto import api_pb2

PICKLE, ASGI = api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_ASGI


@dataclass(eq=False)
class Call:
    """A call of a function: its one input, what it has streamed, and how it ended."""

    number: int
    function: str
    input: Any
    caller: str = ""
    """The function whose container called; empty is the bot or a browser."""
    sent: bytes = b""
    """Body of a web request."""
    chunks: dict[int, Any] = field(default_factory=dict)
    output: Any = None
    change: asyncio.Condition = field(default_factory=asyncio.Condition)
    container: Container | None = None

    @property
    def id(self) -> str:
        """Of the call."""
        return f"fc-{self.number}"

    @property
    def input_id(self) -> str:
        """Of its one input."""
        return f"in-{self.number}"

    @property
    def method(self) -> str:
        """Which one of the class."""
        return str(self.input.method_name)


@dataclass(eq=False)
class Container:
    """A process that serves one function, and asks by an address of its own."""

    function: str
    home: Path
    process: Process | None = None
    server: Server | None = None
    lost: bool = False
    """It is gone, or is to go."""
    up: bool = False
    """It has asked for a call."""
    cancelled: list[str] = field(default_factory=list)
    """Inputs that it is still to be told of."""

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.home / "log").read_text("utf-8")


@dataclass(eq=False)
class Page:
    """The answer to a web request."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def cookies(self) -> str:
        """What a browser would send back."""
        return "; ".join(value.partition(";")[0] for name, value in self.headers if name == "set-cookie")


def request_input(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
    """The input of a call that is a web request: with a body a POST."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "https",
        "path": target,
        "query_string": query.encode(),
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
        "client": ("192.0.2.7", 50_000),
    }
    # Through Modal's own form, which has no place for some of what other servers put there.
    scope = deserialize_data_format(serialize_data_format(scope, ASGI), ASGI, None)
    args = serialize_data_format(((scope,), {}), PICKLE)
    return api_pb2.FunctionInput(args=args, data_format=PICKLE, method_name=method)


def request_body(call: Call) -> Any:
    """What is sent to a web request's call."""
    message = {"type": "http.request", "body": call.sent, "more_body": False}
    return api_pb2.DataChunk(data_format=ASGI, data=serialize_data_format(message, ASGI), index=1)


async def messages(call: Call) -> AsyncIterator[dict[str, Any]]:
    """What a web request's call answers, as it comes."""
    for number in count(1):
        async with call.change:
            while number not in call.chunks and call.output is None:
                await call.change.wait()
        if number not in call.chunks:
            return
        yield deserialize_data_format(call.chunks[number].data, ASGI, None)


async def answered(call: Call) -> Page:
    """All that a web request's call answers."""
    found = [message async for message in messages(call)]
    start = next(message for message in found if message["type"] == "http.response.start")
    headers = [(key.decode(), value.decode()) for key, value in start["headers"]]
    return Page(start["status"], headers, b"".join(message.get("body", b"") for message in found))


def metadata_of(definition: Any) -> Any:
    """What a caller is told of a function."""
    name = definition.function_name.partition(".")[0].lower().replace("_", "-")
    metadata = api_pb2.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
        web_url=f"https://easel--{name}.modal.run" if definition.webhook_config.type else "",
    )
    for method_name, method in definition.method_definitions.items():
        metadata.method_handle_metadata[method_name].CopyFrom(
            api_pb2.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                is_method=True,
                use_method_name=method_name,
                supported_input_formats=method.supported_input_formats,
                supported_output_formats=method.supported_output_formats,
            )
        )
    return metadata
