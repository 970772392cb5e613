"""Modals (docs.slack.dev/surfaces/modals): every option of a picture, and a batch; built and read. Pure functions.

The fields of the first come from the one declaration of the options, so that none can lack here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.adapters.slack.address import Address
from bot.adapters.slack.incoming import Asked, File, Payload, files
from bot.adapters.slack.text import plain_text, shown
from bot.errors import BadInputError
from bot.grammar import OPTIONS, Option, from_options, parse_batch
from bot.grammar.options import number as written
from bot.handlers.files import IMAGE_OF
from bot.messages import ENGLISH, choice, option_help, say, shorten
from engine.types import ImageRequest, Value

Block = dict[str, Any]
IMAGINE_VIEW, BATCH_VIEW, SETTING_VIEW = "easel_imagine", "easel_batch", "easel_setting"
PROMPT, PROMPTS, SWITCHES, WHERE, FILE = "prompt", "prompts", "switches", "where", "file"
SETTING, VALUE, CHANNELS = "setting", "value", "channels"
OF_CHANNELS = frozenset({"channels", "log_channel"})
"""Settings whose value may be chosen among the workspace's channels, since nobody can mention any in a form."""
CHOSEN_AMONG = {"include": ["public", "private"], "exclude_bot_users": True}
"""Conversations that are offered."""
MAX_INPUT = 3000
"""Characters of an input."""
MAX_HINT = 2000
MAX_CHOICE = 75
"""Characters of an entry in a list."""
LARGEST_EXACT = 2**53
"""Beyond this, a browser's numbers lose digits: such a field is text."""
TEXT_TYPES, IMAGE_TYPES = ("txt", "text"), ("png", "jpg", "jpeg")


class Opened(Value):
    """What a modal carries with it until it is sent."""

    address: Address
    """Where the answer goes."""
    image_of: str = ""
    """`JOB NUMBER` of the picture that is remixed, if that started from an image."""
    locale: str = ENGLISH
    """The person's language, which Slack doesn't tell when they send it."""


def imagine_view(
    opened: Opened,
    locale: str,
    offered: Mapping[str, Sequence[str]],
    request: ImageRequest | None = None,
    *,
    asks_for_image: bool = False,
) -> Block:
    """The modal with every option; `offered` has the names of models and styles, `request` what stands in it.

    Without a channel in its address, it asks for one; where images are taken, it asks for one to start from.
    """
    values = request.model_dump(mode="json") if request else {}
    fields = [option for option in OPTIONS.values() if option.kind != "boolean"]
    blocks = [_field(option, offered.get(option.name, option.choices), values, locale) for option in fields]
    blocks.append(_switches([option for option in OPTIONS.values() if option.kind == "boolean"], values, locale))
    key = "remix" if request else "imagine"
    image = [_file_input("image", IMAGE_TYPES, locale)] if asks_for_image else []
    return _modal(IMAGINE_VIEW, opened, key, [*_where(opened.address, locale), *blocks, *image], locale)


def batch_view(opened: Opened, locale: str, prompts: str = "") -> Block:
    """The modal of a batch: a prompt on each line, or a text file of them."""
    element: Block = {"type": "plain_text_input", "action_id": PROMPTS, "multiline": True, "max_length": MAX_INPUT}
    element["placeholder"] = plain_text(say("slack_form.batch_placeholder", locale))
    if prompts:
        element["initial_value"] = prompts[:MAX_INPUT]
    blocks = [
        _input(PROMPTS, say("slack_form.prompts", locale), element, hint=say("slack_form.prompts_hint", locale)),
        _file_input("file", TEXT_TYPES, locale),
    ]
    return _modal(BATCH_VIEW, opened, "batch", blocks, locale)


def _modal(callback: str, opened: Opened, key: str, blocks: list[Block], locale: str) -> Block:
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": opened.model_copy(update={"locale": locale}).model_dump_json(exclude_defaults=True),
        "title": plain_text(say(f"slack_form.{key}_title", locale)),
        "submit": plain_text(say("slack_form.save" if key == "setting" else "slack_form.submit", locale)),
        "close": plain_text(say("slack_form.close", locale)),
        "blocks": blocks,
    }


def _where(address: Address, locale: str) -> list[Block]:
    if address.channel:
        return []
    element = {
        "type": "conversations_select",
        "action_id": WHERE,
        "default_to_current_conversation": True,
        "response_url_enabled": True,
        "filter": CHOSEN_AMONG,
    }
    return [_input(WHERE, say("slack_form.where", locale), element, hint=say("slack_form.where_hint", locale))]


def _input(name: str, label: str, element: Block, *, hint: str = "", optional: bool = True) -> Block:
    block: Block = {"type": "input", "block_id": name, "optional": optional, "label": plain_text(label)}
    return block | {"element": element} | ({"hint": plain_text(shorten(hint, MAX_HINT))} if hint else {})


def _file_input(key: str, types: Sequence[str], locale: str) -> Block:
    element = {"type": "file_input", "action_id": FILE, "filetypes": list(types), "max_files": 1}
    return _input(FILE, say(f"slack_form.{key}", locale), element, hint=say(f"slack_form.{key}_hint", locale))


def _field(option: Option, choices: Sequence[str], values: Mapping[str, Any], locale: str) -> Block:
    label = say(f"slack_label.{option.name}", locale)
    element = _element(option, choices, values.get(option.name), locale)
    return _input(option.name, label, element, hint=option_help(option.name, locale), optional=option.name != PROMPT)


def _element(
    option: Option,
    choices: Sequence[str],
    value: Any,  # noqa: ANN401  (whatever the option holds)
    locale: str,
) -> Block:
    given = None if value is None else str(value)
    if choices:
        return _select(option.name, choices, given, locale)
    numeric = option.kind in ("integer", "number") and (option.high or 0) < LARGEST_EXACT
    if not numeric:
        element: Block = {"type": "plain_text_input", "action_id": option.name, "multiline": (option.limit or 0) > 200}
        element |= {"max_length": min(option.limit or MAX_INPUT, MAX_INPUT)}
        return element | ({"initial_value": given[:MAX_INPUT]} if given else {})
    element = {"type": "number_input", "action_id": option.name, "is_decimal_allowed": option.kind == "number"}
    bounds = {"min_value": option.low, "max_value": option.high}
    element |= {name: written(bound) for name, bound in bounds.items() if bound is not None}
    return element | ({"initial_value": given} if given else {})


def _select(name: str, choices: Iterable[str], given: str | None, locale: str) -> Block:
    fitting = [value for value in choices if len(value) <= MAX_CHOICE][:100]
    entries = {value: _entry(choice(value, locale), value) for value in fitting}
    element: Block = {"type": "static_select", "action_id": name, "options": list(entries.values())}
    return element | ({"initial_option": entries[given]} if given in entries else {})


def _entry(text: str, value: str) -> Block:
    return {"text": plain_text(shorten(text, MAX_CHOICE) or "…"), "value": value}


def _switches(options: Sequence[Option], values: Mapping[str, Any], locale: str) -> Block:
    """Everything that is on or off, in one group."""
    entries = {option.name: _entry(option_help(option.name, locale), option.name) for option in options}
    on = [entries[option.name] for option in options if values.get(option.name, option.default)]
    element: Block = {"type": "checkboxes", "action_id": SWITCHES, "options": list(entries.values())}
    return _input(SWITCHES, say("slack_form.switches", locale), element | ({"initial_options": on} if on else {}))


def setting_view(opened: Opened, locale: str, names: Sequence[str]) -> Block:
    """The modal that changes one of a community's settings."""
    value: Block = {"type": "plain_text_input", "action_id": VALUE, "max_length": MAX_INPUT}
    channels: Block = {"type": "multi_conversations_select", "action_id": CHANNELS, "filter": CHOSEN_AMONG}
    blocks = [
        _input(SETTING, say("slack_form.setting", locale), _select(SETTING, names, None, locale), optional=False),
        _input(VALUE, say("slack_form.value", locale), value, hint=say("slack_form.value_hint", locale)),
        _input(CHANNELS, say("slack_form.channels", locale), channels, hint=say("slack_form.channels_hint", locale)),
    ]
    return _modal(SETTING_VIEW, opened, "setting", blocks, locale)


def imagine_submission(body: Payload, team: str) -> Asked:
    """The modal with every option, sent."""
    state = _state(body)
    options = {name: value for name in OPTIONS if (value := _value(state.get(name))) is not None}
    chosen = {entry["value"] for entry in (state.get(SWITCHES) or {}).get("selected_options") or ()}
    switches = {name: name in chosen for name, option in OPTIONS.items() if option.kind == "boolean"}
    where = (state.get(WHERE) or {}).get("selected_conversation") or ""
    same = _opened(body).image_of
    started = {IMAGE_OF: same} if same else {}
    asked = _asked(body, team, "imagine", where)
    return replace(asked, options={**options, **switches, **started}, files=_sent(state))


def batch_submission(body: Payload, team: str) -> Asked:
    """The modal of a batch, sent; the lines of its file come after those that were typed."""
    state = _state(body)
    return replace(_asked(body, team, "batch"), text=_value(state.get(PROMPTS)) or "", files=_sent(state))


def setting_submission(body: Payload, team: str) -> Asked:
    """The modal that changes a setting, sent."""
    state = _state(body)
    name, value = _value(state.get(SETTING)) or "", _value(state.get(VALUE))
    chosen = (state.get(CHANNELS) or {}).get("selected_conversations") or ()
    value = " ".join(chosen) if chosen and name in OF_CHANNELS else value
    text = f"unset {name}" if value is None else f"set {name} {value}"
    return replace(_asked(body, team, "settings"), text=text, at_home=True)


def _asked(body: Payload, team: str, command: str, where: str = "") -> Asked:
    view, user, opened = body["view"], body["user"], _opened(body).address
    changes = {"team": team, "user": user["id"], "channel": opened.channel or where}
    urls = body.get("response_urls") or ()
    return Asked(
        event=f"{view['callback_id']}:{view['id']}",
        team=team,
        home=user.get("team_id"),
        address=opened.model_copy(update=changes),
        command=command,
        response_url=urls[0].get("response_url") if urls else None,
    )


def _opened(body: Payload) -> Opened:
    return Opened.model_validate_json(body["view"]["private_metadata"])


def _sent(state: Mapping[str, Payload]) -> tuple[File, ...]:
    """The one file of a form."""
    return files((state.get(FILE) or {}).get("files") or ())[:1]


def _state(body: Payload) -> dict[str, Payload]:
    """What stands in each field, by the field's name."""
    values = body["view"]["state"]["values"]
    return {name: element for fields in values.values() for name, element in fields.items()}


def _value(element: Payload | None) -> str | None:
    """What was typed or chosen; None for a field that was left empty."""
    if not element:
        return None
    chosen = (element.get("selected_option") or {}).get("value")
    return chosen or element.get("value") or None


def language(body: Payload) -> str:
    """The language of a modal that was sent."""
    return _opened(body).locale


def mistakes(asked: Asked, locale: str) -> dict[str, str]:
    """What is wrong with the modal of one picture, by the field that it is about."""
    try:
        from_options({name: value for name, value in (asked.options or {}).items() if name != IMAGE_OF}, locale)
    except BadInputError as error:
        return {_about(error.sentence): _mistake(error)}
    return {}


def batch_mistakes(asked: Asked, limit: int, locale: str) -> dict[str, str]:
    """What is wrong with the modal of a batch, as long as that depends on no file."""
    if asked.files:
        return {}
    try:
        parse_batch(asked.text, limit, locale)
    except BadInputError as error:
        return {PROMPTS: _mistake(error)}
    return {}


def _about(sentence: str) -> str:
    """The field that a sentence names, as people write it; the first one if it names none."""
    fields = (option for option in OPTIONS.values() if option.flags and option.kind != "boolean")
    named = (option.name for option in fields if re.search(rf"{option.flag}(?![a-z-])", sentence))
    return next(named, PROMPT)


def _mistake(error: BadInputError) -> str:
    return shown(error.sentence)[:MAX_INPUT]
