"""Command text or typed options -> ImageRequests, and a request -> what the engine draws.

Every mistake is one sentence in a BadInputError; nothing else is raised, however odd the input, and the time taken is
linear in its length.
"""

from bot.grammar.options import MAX_TEXT, OPTIONS, SIZE_FLAG, Option, batch_from_options, from_options
from bot.grammar.resolve import resolve
from bot.grammar.text import nearest, parse, parse_batch, render

__all__ = [
    "MAX_TEXT",
    "OPTIONS",
    "SIZE_FLAG",
    "Option",
    "batch_from_options",
    "from_options",
    "nearest",
    "parse",
    "parse_batch",
    "render",
    "resolve",
]
