"""Modal on loopback: what was deployed really runs, in containers that are processes of this machine.

Their entry point is Modal's own, so the app's classes live as they do over there: imported without the folder that was
deployed, hooks in Modal's order, calls by Modal's client from the bot to `Engine` and from there to `Generator`, web
requests in Modal's form. As Modal does, it starts containers for what waits, up to the function's own limit, and gives
what a lost one was at work on to another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

from grpclib.server import Server, Stream
from modal_proto import api_pb2

from tests.fakes.modal_calls import Call, Container, Page, answered, metadata_of, request_body, request_input
from tests.fakes.modal_control import FakeModal

TERMINATED = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_TERMINATED)
VOLUMES = ("models", "cache", "state")
Handler = Callable[[Any, Any, Container | None], Coroutine[Any, Any, Any]]


class FakeCloud(FakeModal):
    """A control plane that starts containers for what was deployed to another one, or to itself.

    Args:
        folder: for what containers see: the source, and a home folder each with the volumes in it.
        source: where the app lies; a container gets its code alone.
        deployed: the control plane that took the deployment.
        secrets: values of the workspace's secrets, by their names.
        environment: of every container, over what was deployed.
    """

    def __init__(
        self,
        folder: Path,
        source: Path,
        deployed: FakeModal | None = None,
        *,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._deployed = deployed or self
        self._secrets = secrets or {}
        self._variables = environment or {}
        self.calls: list[Call] = []
        self.containers: list[Container] = []
        self.crashes: list[str] = []
        """Tracebacks of containers that could not start."""
        self._together = False
        self._call_numbers = count(1)
        self._waiting: defaultdict[str, list[Call]] = defaultdict(list)
        self._news = asyncio.Condition()
        """Of those who wait, and of containers that are to end."""
        self._handlers: dict[str, Handler] = {
            "FunctionGet": self._function_get,
            "FunctionMap": self._function_map,
            "FunctionGetInputs": self._get_inputs,
            "FunctionPutOutputs": self._put_outputs,
            "FunctionGetOutputs": self._get_outputs,
            "FunctionCallPutDataOut": self._put_data,
            "FunctionCallCancel": self._cancel,
            "FunctionGetDynamicConcurrency": self._concurrency,
            "ContainerHeartbeat": self._heartbeat,
            "TaskResult": self._task_result,
        }
        self._root = folder / "root"
        self._root.mkdir()
        for name in ("bot", "engine", "modal_engine.py"):
            (self._root / name).symlink_to(source / name)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeCloud]:
        """Listen on a free port, and stop every container at the end."""
        async with super().serving():
            try:
                yield self
            finally:
                for container in self.containers:
                    await self._stop(container)

    async def serve(self, stream: Stream[Any, Any], name: str, reply: Any, container: Any) -> None:
        """Answer one request."""
        request: Any = await stream.recv_message()
        self.requests.setdefault(name, []).append(request)
        if name == "FunctionCallGetDataOut":
            await self._stream_data(stream, request)
        elif name == "FunctionCallGetDataIn":
            await stream.send_message(request_body(self._call(request.function_call_id)))
            await asyncio.Event().wait()
        elif name == "AppGetLogs":  # there are none
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=request.timeout)
        elif name in self._handlers:
            await stream.send_message(await self._handlers[name](request, reply, container))
        elif name == "ClassGet":
            await stream.send_message(type(reply)(class_id=self._published.class_ids[request.object_tag]))
        else:
            await stream.send_message(self._reply(name, request, reply))

    def called(self, function: str) -> list[Call]:
        """Calls of a function or class."""
        return [call for call in self.calls if self._name(call.function).partition(".")[0] == function]

    def running(self, function: str) -> list[Container]:
        """Containers of a function or class that were not lost."""
        return [
            container
            for container in self.containers
            if self._name(container.function).partition(".")[0] == function and not container.lost
        ]

    @asynccontextmanager
    async def handing_out_together(self) -> AsyncIterator[None]:
        """Meanwhile no call is handed out until all of a function's containers are up."""
        self._together = True
        try:
            yield
        finally:
            self._together = False

    # What was deployed.

    @property
    def _published(self) -> Any:
        (publish,) = self._deployed.requests["AppPublish"]
        return publish

    def _name(self, function: str) -> str:
        return str(next(name for name, id_ in self._published.function_ids.items() if id_ == function))

    def _definition(self, function: str) -> Any:
        """As it was created; of a chain of GPUs the first choice."""
        for request in self._deployed.requests["FunctionCreate"]:
            if request.existing_function_id == function:
                ranked = request.function_data.ranked_functions
                return ranked[0].function if ranked else request.function
        raise LookupError(function)

    async def _function_get(self, request: Any, reply: Any, _: Container | None) -> Any:
        reply.function_id = self._published.function_ids[request.object_tag]
        reply.handle_metadata.CopyFrom(metadata_of(self._definition(reply.function_id)))
        reply.function.ranked_functions.add(rank=0).function.CopyFrom(self._definition(reply.function_id))
        return reply

    # Calls.

    async def visit(
        self, name: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Page:
        """A web request of a function, or of a class's method, and its whole answer."""
        return await answered(await self.request(name, path, body=body, headers=headers))

    async def request(
        self, name: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Call:
        """A web request as Modal hands it on."""
        owner, _, method = name.partition(".")
        function = self._published.function_ids[f"{owner}.*" if method else owner]
        item = request_input(method, path, body, dict(headers or {}))
        return await self._begin(Call(next(self._call_numbers), function, item, sent=body or b""))

    async def _function_map(self, request: Any, reply: Any, container: Container | None) -> Any:
        (item,) = request.pipelined_inputs
        caller = self._name(container.function).partition(".")[0] if container else ""
        call = await self._begin(Call(next(self._call_numbers), request.function_id, item.input, caller))
        reply.function_call_id = call.id
        reply.pipelined_inputs.add(idx=0, input_id=call.input_id, input_jwt="jwt")
        return reply

    async def _begin(self, call: Call) -> Call:
        self.calls.append(call)
        await self._wait(call)
        return call

    async def _get_inputs(self, request: Any, reply: Any, container: Container | None) -> Any:
        call = await self._next_call(request.function_id, container)
        if call is None:
            reply.inputs.add(kill_switch=True)
            return reply
        call.container = container
        item = reply.inputs.add(input_id=call.input_id, function_call_id=call.id)
        item.input.CopyFrom(call.input)
        item.function_call_invocation_type = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC
        return reply

    async def _next_call(self, function: str, container: Container | None) -> Call | None:
        """None where the container is to end."""
        waiting = self._waiting[function]
        async with self._news:
            if container is not None:
                container.up = True
                self._news.notify_all()
            await self._news.wait_for(lambda: self._due(function) or (container is not None and container.lost))
            return waiting.pop(0) if container is None or not container.lost else None

    def _due(self, function: str) -> bool:
        """Whether there is a call to hand out."""
        there = [each for each in self.containers if each.function == function and not each.lost]
        return bool(self._waiting[function]) and (not self._together or all(each.up for each in there))

    async def _put_data(self, request: Any, reply: Any, _: Container | None) -> Any:
        call = self._call(request.function_call_id)
        async with call.change:
            call.chunks.update((chunk.index, chunk) for chunk in request.data_chunks)
            call.change.notify_all()
        return reply

    async def _put_outputs(self, request: Any, reply: Any, _: Container | None) -> Any:
        for item in request.outputs:
            await self._end(self._call(item.input_id), item)
        return reply

    async def _end(self, call: Call, item: Any) -> None:
        async with call.change:
            call.output = call.output or item
            call.change.notify_all()

    async def _get_outputs(self, request: Any, reply: Any, _: Container | None) -> Any:
        call = self._call(request.function_call_id)
        with suppress(TimeoutError):  # then the caller asks again
            async with asyncio.timeout(request.timeout), call.change:
                await call.change.wait_for(lambda: call.output is not None)
        if call.output is not None:
            output = reply.outputs.add(idx=0, input_id=call.input_id, data_format=call.output.data_format)
            output.result.CopyFrom(call.output.result)
        return reply

    async def _stream_data(self, stream: Stream[Any, Any], request: Any) -> None:
        """Chunks as they come; the caller ends this once it has as many as the call's end says."""
        call, last = self._call(request.function_call_id), request.last_index
        while True:
            async with call.change:
                while not (fresh := [n for n in sorted(call.chunks) if n > last]):
                    await call.change.wait()
            for last in fresh:
                await stream.send_message(call.chunks[last])

    def hang_up(self, call: Call) -> None:
        """Nobody waits for a call any more; its container will hear of it."""
        if call.container is not None:
            call.container.cancelled.append(call.input_id)

    async def _cancel(self, request: Any, reply: Any, _: Container | None) -> Any:
        call = self._call(request.function_call_id)
        self.hang_up(call)
        if call.container is None:
            await self._end(call, api_pb2.FunctionPutOutputsItem(result=TERMINATED))
        return reply

    def _call(self, id_: str) -> Call:
        number = int(id_.partition("-")[2])
        return next(call for call in self.calls if call.number == number)

    # Containers.

    async def lose(self, container: Container) -> None:
        """As when a machine breaks: without notice, and another one gets its work."""
        container.lost = True
        await self._stop(container)
        for call in self.calls:
            if call.container is container and call.output is None:
                call.container = None
                await self._wait(call)

    async def retire(self, container: Container) -> None:
        """As when nobody needs it any more: it gets no more calls, and ends by itself."""
        async with self._news:
            container.lost = True
            self._news.notify_all()
        assert container.process is not None
        await container.process.wait()
        await self._stop(container)

    async def _wait(self, call: Call) -> None:
        """Put a call into the line, and see that somebody takes it."""
        async with self._news:
            self._waiting[call.function].append(call)
            self._news.notify_all()
        await self._scale(call.function)

    async def _scale(self, function: str) -> None:
        """As many containers as there is work for, within the function's own limit."""
        definition = self._definition(function)
        target = definition.target_concurrent_inputs or definition.max_concurrent_inputs or 1
        most = definition.autoscaler_settings.max_containers or definition.concurrency_limit or 1
        unfinished = sum(call.function == function and call.output is None for call in self.calls)
        there = sum(container.function == function and not container.lost for container in self.containers)
        for _ in range(there, min(most, ceil(unfinished / target))):
            await self._start(function)

    async def _start(self, function: str) -> None:
        """Start a container as Modal does: an entry point, a file that says what to run, and the source."""
        number = len(self.containers)
        home = self._folder / f"{self._name(function).partition('.')[0].lower()}-{number}"
        home.mkdir()
        for volume in VOLUMES:
            (self._folder / volume).mkdir(exist_ok=True)
            (home / volume).symlink_to(self._folder / volume, target_is_directory=True)
        arguments = home / "arguments"
        arguments.write_bytes(self._arguments(function, number).SerializeToString())
        container = Container(function, home)
        self.containers.append(container)
        container.server = Server([_Door(self, container)])
        await container.server.start("127.0.0.1", 0)
        sockets: Any = container.server._server
        variables = {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}",
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": f"ta-{number}",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_HEARTBEAT_INTERVAL": "0.2",
            "EASEL_HOME": str(home),
        }
        with (home / "log").open("wb") as log:
            container.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "modal._container_entrypoint"),
                cwd=self._root,
                env=self._environment(function) | variables,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )

    def _environment(self, function: str) -> dict[str, str]:
        """The variables of its secrets, of which `env` is one."""
        found = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "MODAL_"))}
        for secret in self._definition(function).secret_ids:
            request = self._deployed.made[secret]
            found |= dict(request.env_dict) or self._secrets[request.deployment_name]
        return found | {"PYTHONPATH": str(self._root), "OMP_NUM_THREADS": "1", **self._variables}

    def _arguments(self, function: str, number: int) -> Any:
        publish = self._published
        layout = api_pb2.AppLayout(function_ids=publish.function_ids, class_ids=publish.class_ids)
        for id_ in publish.function_ids.values():
            layout.objects.add(object_id=id_).function_handle_metadata.CopyFrom(metadata_of(self._definition(id_)))
        for id_ in publish.class_ids.values():
            layout.objects.add(object_id=id_).class_handle_metadata.CopyFrom(api_pb2.ClassHandleMetadata())
        for dependency in self._definition(function).object_dependencies:
            layout.objects.add(object_id=dependency.object_id)
        return api_pb2.ContainerArguments(
            task_id=f"ta-{number}",
            function_id=function,
            app_id=publish.app_id,
            function_def=self._definition(function),
            app_layout=layout,
        )

    async def _stop(self, container: Container) -> None:
        if container.process is not None and container.process.returncode is None:
            container.process.kill()
            await container.process.wait()
        if container.server is not None:
            container.server.close()
            await container.server.wait_closed()
            container.server = None

    async def _concurrency(self, request: Any, reply: Any, _: Container | None) -> Any:
        reply.concurrency = request.max_concurrency
        return reply

    async def _heartbeat(self, _: Any, reply: Any, container: Container | None) -> Any:
        if container is not None and container.cancelled:
            reply.cancel_input_event.input_ids.extend(container.cancelled)
            container.cancelled.clear()
        return reply

    async def _task_result(self, request: Any, reply: Any, _: Container | None) -> Any:
        self.crashes.append(request.result.traceback)
        return reply


@dataclass
class _Door:
    """The control plane as one container reaches it."""

    cloud: FakeCloud
    container: Container

    def __mapping__(self) -> Any:
        return self.cloud.mapping(self.container)
