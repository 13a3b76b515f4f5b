"""The look of pages and of what a notebook shows, light and dark."""

from html import escape

_LIGHT = (
    "--ink: #1b1b1b; --muted: #555; --paper: #fff; --soft: #f4f4f2; --line: #ddd; --strong: #888; "
    "--hand: #0b6e4f; --automatic: #e07a1f; --third: #3b6ea8; --fourth: #8c4a86; --fifth: #777; "
    "--automatic-text: #b3500a;"
)
_DARK = (
    "--ink: #e6e6e3; --muted: #a8a8a3; --paper: #16181a; --soft: #212427; --line: #34383c; --strong: #777; "
    "--hand: #3fb88f; --automatic: #f0994c; --third: #7fb0e6; --fourth: #cf93c9; --fifth: #999; "
    "--automatic-text: #f2a866;"
)
# Themes of notebooks, which need not be that of the system: JupyterLab, VS Code, Colab.
_DARK_NOTEBOOKS = ('[data-jp-theme-light="false"]', ".vscode-dark", '[data-vscode-theme-kind$="dark"]', "[theme=dark]")

THEME = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
"""

_TABLES = """
.jaxdl figure { margin: 1.2rem 0; } .jaxdl figcaption { font-weight: 600; margin-bottom: .3rem; }
.jaxdl .wide { overflow-x: auto; } .jaxdl .wide > svg, .jaxdl img { max-width: 100%; height: auto; }
.jaxdl table { border-collapse: separate; border-spacing: 0; font-size: .86rem; font-variant-numeric: tabular-nums; }
.jaxdl :is(th, td) { text-align: right; padding: .25rem .6rem; border: 0; border-bottom: 1px solid var(--line);
  vertical-align: top; background: none; }
.jaxdl td { white-space: nowrap; } .jaxdl thead th { border-bottom: 2px solid var(--strong); vertical-align: bottom; }
.jaxdl :is(th, td).words { text-align: left; white-space: normal; min-width: 6rem; }
.jaxdl :is(th, td):first-child { position: sticky; left: 0; background: var(--paper); max-width: 13rem; }
@media (max-width: 900px) {
  .jaxdl table.text thead { display: none; } .jaxdl table.text, .jaxdl .text :is(tbody, tr, td) { display: block; }
  .jaxdl .text tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .jaxdl .text td.words, .jaxdl .text td.words:first-child {
    position: static; max-width: none; min-width: 0; border: 0; padding: .1rem 0; overflow-wrap: anywhere; }
  .jaxdl .text td:first-child { font-weight: 600; } .jaxdl .text td:empty { display: none; }
  .jaxdl .text td:not(:first-child)::before { content: attr(data-column) ": "; color: var(--muted); }
}
.jaxdl summary { cursor: pointer; color: var(--muted); }
.jaxdl .note { color: var(--muted); font-size: .86rem; margin: .4rem 0; white-space: pre-line; }
"""

PAGE_STYLE = f"""{THEME}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }}
h1 {{ font-size: 1.7rem; line-height: 1.2; }} h2 {{ margin-top: 2.5rem; border-bottom: 2px solid var(--hand); }}
.lead {{ font-size: 1.1rem; font-weight: 600; }}
img {{ background: #fff; }}
pre {{ background: var(--soft); padding: .6rem .8rem; overflow-x: auto; font-size: .84rem; }}
{_TABLES}
@media (max-width: 600px) {{
  .jaxdl .wide > svg {{ min-width: 34rem; }} body {{ margin: 1rem auto; }} h1 {{ font-size: 1.35rem; }}
  .jaxdl :is(th, td) {{ padding: .2rem .4rem; }} .jaxdl :is(th, td):first-child {{ max-width: 7rem; }}
}}
"""

_FRAGMENT_STYLE = f"""
.jaxdl {{ {_LIGHT} --ink: currentColor; --paper: transparent; --line: #8884; --muted: inherit; }}
:is({", ".join(_DARK_NOTEBOOKS)}) .jaxdl {{ {_DARK} --ink: currentColor; --paper: transparent; --line: #8884; }}
{_TABLES}
.jaxdl :is(th, td):first-child {{ position: static; }}
"""


def fragment(*parts: str) -> str:
    """HTML for the output of a notebook's cell, with its style, in the theme of the notebook.

    Args:
        *parts: HTML.

    Examples:
        >>> fragment("<p>text</p>").endswith("<p>text</p></div>")
        True
    """
    return f'<div class="jaxdl"><style>{_FRAGMENT_STYLE}</style>{"".join(parts)}</div>'


def framed(page: str) -> str:
    """A whole HTML page in a frame inside the output of a notebook's cell, so that its styles and keys stay in it.

    Args:
        page: The page.

    Examples:
        >>> "&lt;p&gt;text&lt;/p&gt;" in framed("<p>text</p>")
        True
    """
    style = "width: 100%; height: 32rem; border: 1px solid #8888; resize: vertical"
    return f'<iframe style="{style}" srcdoc="{escape(page)}"></iframe>'
