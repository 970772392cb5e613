"""What import-linter can't see: where each SDK may be imported, how long files are, and what nobody may use."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("bot", "engine", "modal_engine.py")
EVERYTHING = (*PRODUCT, "training", "tests", "benchmarks", "scripts")

SDK_PLACES = {
    "discord": ("bot/adapters/discord/",),
    "slack_bolt": ("bot/adapters/slack/",),
    "slack_sdk": ("bot/adapters/slack/",),
    "gradio": ("bot/adapters/web/",),
    "modal": ("bot/clients/modal.py", "modal_engine.py"),
    "c2pa": ("engine/credentials.py",),
    "aiosqlite": ("bot/store/", "engine/cache/"),
}
MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 50


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        path = ROOT / room
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All of a file's syntax tree, its root first."""
    return tuple(ast.walk(ast.parse(path.read_text("utf-8"))))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(imports(nodes_of(path)))


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """Keeps all tests of this module, which read the same files, in one process."""
    yield
    nodes_of.cache_clear()


def parsed(*rooms: str) -> Iterator[tuple[str, tuple[ast.AST, ...]]]:
    for path in sources(*rooms):
        yield name_of(path), nodes_of(path)


def importing(*rooms: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for path in sources(*rooms):
        yield name_of(path), imports_of(path)


@pytest.mark.parametrize(("sdk", "places"), SDK_PLACES.items())
def test_an_sdk_is_imported_in_its_place_alone(sdk: str, places: tuple[str, ...]) -> None:
    users = [name for name, found in importing(*PRODUCT) if any(i.split(".")[0] == sdk for i in found)]
    assert [name for name in users if not name.startswith(places)] == []


def test_engine_sd_stands_on_torch_and_little_else() -> None:
    allowed = {"engine", "torch", "triton", "numpy", "safetensors", "xformers", *sys.stdlib_module_names}
    strangers = {
        (name, imported)
        for name, found in importing("engine/sd")
        for imported in found
        if imported.split(".")[0] not in allowed
    }
    assert strangers == set()


def test_the_modal_app_imports_what_is_in_each_of_its_images() -> None:
    """At its top only what every container has; the rest where it is used, and never a chat itself."""
    ((_, (tree, *nodes)),) = parsed("modal_engine.py")
    assert isinstance(tree, ast.Module)
    everywhere = ("bot.clients.modal", "bot.settings", "engine.models", "modal")
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    strangers = {
        imported
        for imported in imports(top)
        if imported.split(".")[0] not in sys.stdlib_module_names and not imported.startswith(everywhere)
    }
    assert strangers == set()
    chats = ("bot.adapters", *(sdk for sdk in SDK_PLACES if sdk != "modal"))
    assert [imported for imported in imports(nodes) if imported.startswith(chats)] == []


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in sources(*EVERYTHING)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = {
        f"{name}:{node.name}": node.end_lineno - node.lineno + 1
        for name, nodes in parsed(*EVERYTHING)
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
        if node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    }
    assert long == {}


def test_the_product_neither_prints_nor_evaluates() -> None:
    faults = [
        f"{name}:{node.lineno}"
        for name, nodes in parsed(*PRODUCT)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "eval", "exec")
    ]
    assert faults == []


def test_of_pickle_only_its_errors_are_used() -> None:
    other = {"dill", "joblib", "shelve", "marshal", "cloudpickle"}
    faults = [name for name, found in importing(*PRODUCT) if other & {i.split(".")[0] for i in found}]
    faults += [
        f"{name}: {ast.unparse(node)}"
        for name, nodes in parsed(*PRODUCT)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"
        if not node.attr.endswith("Error")
    ]
    assert faults == []


def test_checkpoints_are_read_as_tensors_alone() -> None:
    calls = [
        (name, node)
        for name, nodes in parsed(*EVERYTHING)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"
        if ast.unparse(node.func) == "torch.load"
    ]
    for name, call in calls:
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert arguments.get("weights_only") == "True", f"{name}:{call.lineno}"


def test_the_command_line_and_a_cache_hit_need_no_heavy_library() -> None:
    heavy = ["torch", "diffusers", "transformers", "gradio", "discord", "slack_bolt", "modal", "onnxruntime"]
    code = f"import sys, bot.cli.main, bot.app, engine.engine; sys.exit(str(set({heavy}) & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
