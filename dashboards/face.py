"""The component that draws a page in the browser: one module of `assets/js/pages/`, fed by messages."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import param
from panel.custom import JSComponent

ASSETS: Final = Path(__file__).parent / "assets"


@functools.cache
def assets_version() -> str:
    """A digest of all assets: their address changes with them, so browsers may keep them for ever."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(ASSETS.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(ASSETS).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def assets_path(prefix: str = "") -> str:
    """Address of the assets; as browsers must ask for it with the prefix of our paths."""
    return f"{prefix}/assets/{assets_version()}"


class Face(JSComponent):
    """Sends what the visitor does to `on_message`; `tell` sends to the visitor."""

    state = param.Dict(default={}, doc="What is shown at first.")

    def __init__(self, on_message: Callable[[dict[str, Any]], None], title: str, **params: Any) -> None:
        super().__init__(sizing_mode="stretch_width", margin=0, **params)  # type: ignore[no-untyped-call]
        self._on_message = on_message
        self._title = title

    def _modify_doc(self, server_id: Any, title: str, doc: Any, location: Any) -> Any:
        # Panel would give all pages of an app one title.
        return super()._modify_doc(server_id, f"{self._title} · TekNav ops", doc, location)

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message; from the document's own thread only."""
        self._send_msg({"kind": kind, **content})

    def _handle_msg(self, data: dict[str, Any]) -> None:
        self._on_message(data)


@functools.cache
def face_of(name: str, prefix: str) -> type[Face]:
    """The component that draws pages of this name. The code itself is an asset, so that browsers keep it."""
    assets = assets_path(prefix)
    source = f"import View from 'teknav/js/pages/{name}.js'; import {{mount}} from 'teknav/js/kit.js';\n"
    source += "export const render = (model) => mount(View, model);\n"
    return type(
        f"Face_{name}",
        (Face,),
        {
            "_esm": source,
            "_importmap": {"imports": {"teknav/": f"{assets}/"}},
            "_stylesheets": [f"{assets}/vendor/uplot.css", f"{assets}/app.css"],
        },
    )
