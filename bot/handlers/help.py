"""`/help`: the commands that this person may use, and the options of a picture, from their one declaration."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping

from bot import messages
from bot.chat import Invocation, Reply, Role, Update
from bot.grammar import OPTIONS, SIZE_FLAG, Option
from bot.grammar.options import number
from bot.handlers.base import Command, Context

PLACEHOLDERS: dict[str, str] = {"integer": "N", "number": "N", "color": "#rrggbb", "text": "TEXT"}


def helper(table: Mapping[str, Command]) -> Command:
    """The help command for a table of commands."""

    async def show_help(invocation: Invocation, context: Context) -> AsyncGenerator[Update, None]:
        """Explain the commands that this person may use, and the options."""
        locale = invocation.requester.locale
        reachable = {name: row for name, row in table.items() if context.role.reaches(row.role)}
        models = [model.name for model in (await context.client.info()).models]
        names = {"style": tuple(context.settings.styles), "model": tuple(models)}
        text = "\n".join((*_commands(reachable, locale), "", *_options(names, locale)))
        yield Reply(text=text, data={"commands": {name: row.usage for name, row in reachable.items()}})

    return Command(handler=show_help, role=Role.MEMBER, usage="/help")


def _commands(table: Mapping[str, Command], locale: str) -> Iterator[str]:
    yield messages.say("help.title", locale)
    yield ""
    yield messages.say("help.commands", locale)
    for name, row in table.items():
        yield f"  {row.usage} - {messages.say(f'command.{name}', locale)}"


def _options(names: Mapping[str, tuple[str, ...]], locale: str) -> Iterator[str]:
    """A line for each option; `names` are the choices that this installation offers."""
    yield messages.say("help.options", locale, command="/imagine, /batch")
    yield f"  {SIZE_FLAG} WxH - {messages.option_help('size', locale)}"
    for option in OPTIONS.values():
        if option.kind == "boolean":
            name = f"no_{option.name}" if option.default else option.name
            yield f"  --{name.replace('_', '-')} - {messages.option_help(name, locale)}"
        elif option.flags:
            choices = "|".join(names.get(option.name, option.choices)) or PLACEHOLDERS[option.kind]
            flags = ", ".join(option.flags)
            yield f"  {flags} {choices} - {messages.option_help(option.name, locale)}{_bounds(option, locale)}"


def _bounds(option: Option, locale: str) -> str:
    """The bounds in brackets, or nothing."""
    if option.low is None or option.high is None:
        return ""
    key = "help.multiple" if option.step else "help.bounds"
    values = {"low": number(option.low), "high": number(option.high), "step": option.step}
    return f" ({messages.say(key, locale, **values)})"
