"""The form: a field for every option of ImageRequest, with its bounds, choices and help; none can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from bot import grammar, messages
from bot.adapters.web.uploads import file_field
from bot.adapters.web.words import Words
from bot.grammar import OPTIONS, Option
from bot.grammar.options import Given
from bot.settings import Settings
from engine.types import MAX_PROMPT, EngineInfo, ImageRequest, ModelInfo

FIRST = ("negative_prompt", "style", "model", "width", "height")
"""Always in view, in this order."""
MARK = "watermark"
MARK_ROWS = (
    ("watermark",),
    ("watermark_text", "watermark_position"),
    ("watermark_opacity",),
    ("watermark_size", "watermark_margin", "watermark_color"),
)
LEFT_OUT = frozenset({"prompt", "private"})
"""The prompt has a field of its own, and everything on this page is private."""
SIDES = (512, 768, 1024)
USUAL: dict[str, tuple[float, float]] = {"steps": (15, 30), "guidance": (5, 15)}
"""Where sliders begin and end, unless the model's own default lies outside; a flag in the prompt reaches further."""
OPEN = "-1"
"""A seed that is drawn at random."""
BATCH_FILE_BYTES = 60_000


def sides(model: ModelInfo) -> list[int]:
    """Sizes that a model draws well: the usual ones if it reaches them, otherwise its own."""
    usual = [side for side in SIDES if model.min_side <= side <= model.max_side]
    if len(usual) < 2:
        usual = [side for side in (64, 128, 256, *SIDES) if model.min_side <= side <= model.max_side]
    return sorted({*usual, model.default_side})


class Form:
    """The components, and the way between their values and requests. Made within a `gr.Blocks`."""

    def __init__(self, info: EngineInfo, settings: Settings, words: Words) -> None:
        self._info = info
        self._settings = settings
        self._words = words
        self._model = self.model_of(None)
        self.fields: dict[str, gr.components.Component] = {}
        """By the name of the request's field."""
        self.prompt = gr.Textbox(
            label=words("prompt"),
            placeholder=words("prompt_placeholder"),
            lines=3,
            max_lines=8,
            max_length=MAX_PROMPT + 500,
            elem_id="prompt",
            autofocus=True,
        )
        self._place(FIRST[:1])
        with gr.Row(elem_classes="ez-pair"):
            self._place(FIRST[1:3])
        with gr.Row(elem_classes="ez-pair"):
            self._place(FIRST[3:])
        self.draw = gr.Button(words("draw"), variant="primary", size="lg", elem_id="draw")
        left_out = LEFT_OUT if settings.image_input else LEFT_OUT | {"strength"}
        rest = [name for name in OPTIONS if name not in (*FIRST, *left_out) and not name.startswith(MARK)]
        with gr.Accordion(words("details"), open=False):
            self._place(rest)
            self.image = self._image_field()
        with gr.Accordion(words("mark"), open=False, elem_id="mark"):
            for names in MARK_ROWS:
                with gr.Row(elem_classes="ez-pair"):
                    self._place(names)
            self._place([name for name in OPTIONS if name.startswith(MARK) and name not in self.fields])
            self.look = gr.HTML(elem_id="look")
        with gr.Accordion(words("batch"), open=False):
            self.lines = gr.Textbox(
                label=words("batch_lines"),
                info=words("batch_info"),
                lines=5,
                max_lines=12,
                elem_id="lines",
                max_length=BATCH_FILE_BYTES,
            )
            self.file = file_field(label=words("batch_file"), file_types=[".txt"], height=110, elem_id="batch-file")

    @property
    def mark(self) -> dict[str, gr.components.Component]:
        """The fields of the visible mark."""
        return {name: field for name, field in self.fields.items() if name.startswith(MARK)}

    def model_of(self, name: str | None) -> ModelInfo:
        """The model of that name, or the default one."""
        wanted = name or self._info.default_model
        return next((model for model in self._info.models if model.name == wanted), self._info.models[0])

    def options(self, values: Sequence[Any]) -> dict[str, Given]:
        """The options that the person chose: those that differ from what the form began with."""
        given = dict(zip(self.fields, values, strict=True))
        model = self.model_of(given.get("model"))
        return {name: value for name, value in given.items() if not self._is_open(name, value, model)}

    def mark_options(self, values: Sequence[Any]) -> dict[str, Given]:
        """The same for the fields of the mark alone."""
        given = zip(self.mark, values, strict=True)
        return {name: value for name, value in given if not self._is_open(name, value, self._model)}

    def batch(self, options: Mapping[str, Given], lines: str) -> str:
        """The text of a batch: the form's options as its first line, if there are any."""
        if not options:
            return lines
        request = grammar.from_options({"prompt": "x", **options})
        flags = grammar.render(request).removeprefix("x").strip()
        joined = lines.lstrip()
        return f"{flags} {joined}" if joined.startswith("--") else f"{flags}\n{joined}"

    def filled(self, request: ImageRequest) -> list[Any]:
        """Updates of prompt and fields that show a request."""
        model = self.model_of(request.model)
        values = [self._shown(name, getattr(request, name), model) for name in self.fields]
        return [request.prompt, *values]

    def for_model(self, name: str | None) -> list[Any]:
        """Updates of the fields that depend on the model."""
        model = self.model_of(name)
        return [self._adapted(field, model) for field in ADAPTED if field in self.fields]

    @property
    def adapted(self) -> list[gr.components.Component]:
        """The fields that depend on the model."""
        return [self.fields[name] for name in ADAPTED if name in self.fields]

    def _place(self, names: Sequence[str]) -> None:
        for name in names:
            field = self.fields[name] = self._field(OPTIONS[name])
            if isinstance(field, gr.Dropdown | gr.Slider):
                # The grammar checks it. Gradio would against what it offered itself, or, where it has forgotten that of
                # an open page (after a restart, say), against what it offers at first.
                field.preprocess = _as_sent

    def _field(self, option: Option) -> gr.components.Component:
        """The component that suits an option's kind."""
        words, name = self._words, option.name
        shared: dict[str, Any] = {"label": words(f"label_{name}"), "elem_id": f"field-{name}", "min_width": 80}
        if name not in FIRST and not name.startswith(MARK):
            shared["info"] = words.help(name)
        start = self._start(name, self._model)
        choices = self._choices(option)
        if choices:
            single = name == "model" and len(choices) == 1
            return gr.Dropdown(choices, value=start, interactive=not single, filterable=len(choices) > 8, **shared)
        if name in USUAL or (option.kind == "number" and option.high is not None):
            low, high = self._range(option, self._model)
            return gr.Slider(low, high, value=start, step=1 if option.kind == "integer" else 0.05, buttons=[], **shared)
        if option.kind == "boolean":
            return gr.Checkbox(value=start, **shared)
        if option.kind == "color":
            return gr.ColorPicker(value=start, **shared)
        # Numbers are texts as well: a seed may have more digits than a browser's numbers, and bounds have sentences.
        text = "" if start is None else str(start)
        placeholder = words("automatic") if option.kind == "integer" else None
        return gr.Textbox(value=text, placeholder=placeholder, max_length=option.limit or 24, max_lines=2, **shared)

    @property
    def worded(self) -> list[gr.components.Component]:
        """The fields whose choices have names in every language."""
        return [field for name, field in self.fields.items() if self._is_worded(OPTIONS[name])]

    def in_language(self, locale: str) -> list[Any]:
        """Updates of these fields."""
        options = [OPTIONS[name] for name in self.fields]
        return [gr.update(choices=self._choices(option, locale)) for option in options if self._is_worded(option)]

    def _open_choice(self, option: Option) -> str:
        """The word for leaving an option open, where that is one of its choices."""
        if option.name == "style":
            return "no_style"
        return (
            "model_own" if option.kind == "choice" and option.default is None and option.name not in self._set else ""
        )

    def _is_worded(self, option: Option) -> bool:
        return option.kind == "choice" or bool(self._open_choice(option))

    def _choices(self, option: Option, locale: str = messages.ENGLISH) -> list[Any]:
        if option.name in ("width", "height"):
            return sides(self._model)
        if option.name == "model":
            return [(model.title, model.name) for model in self._info.models]
        word = self._open_choice(option)
        own = [(self._words.plain(word, locale), "")] if word else []
        if option.name == "style":
            return [*own, *self._settings.styles]
        named = [(messages.choice(value, locale), value) for value in option.choices]
        return [*own, *named] if option.kind == "choice" else []

    @property
    def _set(self) -> dict[str, Given]:
        """What the operator's settings put in the place of open options."""
        return {
            name: getattr(self._settings, name)
            for name in OPTIONS
            if name in type(self._settings).model_fields and name.startswith(MARK)
        }

    def _start(self, name: str, model: ModelInfo) -> Any:  # noqa: ANN401  (whatever the component shows)
        """What a field shows before anybody touches it."""
        if name in self._set:
            value = self._set[name]
            return str(value) if OPTIONS[name].kind == "choice" else value
        of_model = {
            "model": model.name,
            "width": model.default_side,
            "height": model.default_side,
            "steps": model.steps,
            "guidance": model.guidance,
            "seed": OPEN,
            "strength": 0.6,
        }
        if name in of_model:
            return of_model[name]
        default = OPTIONS[name].default
        return "" if default is None else default

    def _is_open(self, name: str, value: object, model: ModelInfo) -> bool:
        if value is None or value == "":
            return True
        return str(value) == str(self._start(name, model)) and not (
            name == "model" and value != self._info.default_model
        )

    def _shown(self, name: str, value: Any, model: ModelInfo) -> Any:  # noqa: ANN401
        """The update that shows a value in a field, which may be none that the field offers by itself."""
        start = self._start(name, model)
        shown = start if value is None else value
        if name not in ADAPTED:
            return gr.update(value="" if shown is None else str(shown) if OPTIONS[name].kind == "integer" else shown)
        update = self._adapted(name, model)
        if name in ("width", "height"):
            update["choices"] = [(str(side), side) for side in sorted({*sides(model), shown})]
        else:
            update |= {"minimum": min(update["minimum"], shown), "maximum": max(update["maximum"], shown)}
        return update | {"value": shown}

    def _adapted(self, name: str, model: ModelInfo) -> dict[str, Any]:
        """The update that fits a field to a model."""
        start = self._start(name, model)
        if name in ("width", "height"):
            return dict(gr.update(choices=[(str(side), side) for side in sides(model)], value=start))
        low, high = self._range(OPTIONS[name], model)
        return dict(gr.update(minimum=low, maximum=high, value=start))

    def _range(self, option: Option, model: ModelInfo) -> tuple[float, float]:
        low, high = USUAL.get(option.name, (option.low or 0, option.high or 1))
        start = self._start(option.name, model)
        return (min(low, start), max(high, start)) if isinstance(start, int | float) else (low, high)

    def _image_field(self) -> gr.File:
        return file_field(
            label=self._words("image"),
            file_types=["image"],
            height=110,
            elem_id="start-image",
            visible=self._settings.image_input,
        )


ADAPTED = ("width", "height", "steps", "guidance")


def _as_sent(value: Any) -> Any:  # noqa: ANN401  (Gradio's own)
    return value
