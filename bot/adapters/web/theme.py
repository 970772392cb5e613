"""How the page looks: Gradio's own base with quiet colours, fonts that come with it, and one style sheet."""

from __future__ import annotations

from importlib.resources import files

from gradio.themes import Base
from gradio.themes.utils import colors, fonts, sizes

STYLE = (files("bot") / "adapters" / "web" / "static" / "easel.css").read_text("utf-8")

TOKENS = {
    "body_background_fill": "#f6f4f0",
    "body_background_fill_dark": "#17181a",
    "body_text_color": "#24272b",
    "body_text_color_dark": "#e9e7e3",
    "body_text_color_subdued": "#63686f",
    "body_text_color_subdued_dark": "#a5a8ad",
    "block_background_fill": "transparent",
    "block_background_fill_dark": "transparent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0px",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_title_text_weight": "600",
    "block_title_text_size": "*text_sm",
    "block_title_text_color": "*body_text_color",
    "block_info_text_size": "*text_xs",
    "input_background_fill": "#ffffff",
    "input_background_fill_dark": "#222427",
    "input_border_color": "var(--ez-edge)",
    "input_border_color_dark": "var(--ez-edge)",
    "checkbox_border_color": "var(--ez-edge)",
    "checkbox_border_color_dark": "var(--ez-edge)",
    "checkbox_background_color_selected": "var(--ez-accent)",
    "checkbox_background_color_selected_dark": "var(--ez-accent)",
    "input_border_width": "1px",
    "input_placeholder_color": "var(--ez-soft)",
    "input_placeholder_color_dark": "var(--ez-soft)",
    "input_border_color_focus": "#0f766e",
    "input_border_color_focus_dark": "#2dd4bf",
    "button_primary_background_fill": "#0f766e",
    "button_primary_background_fill_hover": "#0c5f59",
    "button_primary_background_fill_dark": "#14b8a6",
    "button_primary_background_fill_hover_dark": "#2dd4bf",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#06211e",
    "slider_color": "#0f766e",
    "slider_color_dark": "#2dd4bf",
}
"""What differs from the base, by Gradio's names for it."""


def theme() -> Base:
    """Light and dark, by what the person's system asks for."""
    made = Base(
        primary_hue=colors.teal,
        secondary_hue=colors.teal,
        neutral_hue=colors.stone,
        text_size=sizes.text_md,
        radius_size=sizes.radius_lg,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )
    return made.set(**TOKENS)
