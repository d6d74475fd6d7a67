"""What every page shares: templates that escape, JSON that is safe inside a script, a policy that forbids the rest.

Nothing on a page comes from elsewhere, and no text of anyone's is ever taken for markup. That stands on three legs:
jinja escapes what goes into the HTML; `script_json` leaves no "<" in what goes into a script element, and the scripts
put it on the page as text only; and the page's Content-Security-Policy lets no script run but the page's own, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.terminal import printable

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

FOLDER = Path(__file__).parents[1]
"""Templates, styles and scripts are named from here: "gallery/gallery.css"."""
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@cache
def environment() -> jinja2.Environment:
    """The templates of all reports: everything escaped, a name that is not given an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )


def render(template: str, *, styles: Sequence[str], scripts: Sequence[str] = (), **context: Any) -> str:
    """A page with these files as its one style and its one script, and the policy that allows them."""
    from markupsafe import Markup

    style, script = _joined(styles), _joined(scripts)
    # pictures from the page itself or from beside it (on disk or served); our own style and script; nothing else
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: 'self' file:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    page = environment().get_template(template)
    return page.render(style=Markup(style), script=Markup(script), policy=policy, **context)


def script_json(value: Any) -> Markup:
    """JSON for the inside of a script element: the same value, written without any character that HTML would notice.

    NaN and infinities become null, as in every file of ours.
    """
    from markupsafe import Markup

    text = json.dumps(json.loads(store.to_json(value)), separators=(",", ":"), ensure_ascii=False)
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return Markup(text)


def _visible(value: Any) -> Any:
    """Text as it is seen, before it is escaped: nothing in it turns the direction of the page, or is no character."""
    return printable(value) if type(value) is str else value


def _joined(names: Sequence[str]) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
