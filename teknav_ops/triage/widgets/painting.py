"""A view that paints what its model holds: one thread at a time, and never mistaking its own strokes for a person's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from teknav_ops.triage.view_models.speaking import SpeakingModel

WIDE = {"description_width": "110px"}


class PaintedBox(w.VBox):  # type: ignore[misc]
    """A box over a model. A subclass paints in `_paint`."""

    def __init__(self, model: SpeakingModel, children: Sequence[Any]) -> None:
        self.model = model
        self._painting = threading.Lock()
        #: What a box changes while it is painted was no person's choice.
        self._painter: int | None = None
        super().__init__(list(children))

    @property
    def is_painting(self) -> bool:
        """Whether this thread paints just now."""
        return self._painter == threading.get_ident()

    def follow(self, *names: str) -> None:
        """Paint whenever one of these parameters of the model changes."""
        self.model.param.watch(lambda *_: self.model.attempt(self.paint), [*names, "status", "is_wrong"])

    def on_choice(self, box: Any, act: Callable[[Any], None]) -> None:
        """Act on what a person chooses or types in this box."""

        def changed(change: Any) -> None:
            if not self.is_painting:
                self.model.attempt(lambda: act(change["new"]))

        box.observe(changed, "value")

    def on_click(self, button: w.Button, act: Callable[[], None]) -> None:
        """Act on a click; an error becomes the model's status."""
        button.on_click(lambda _: self.model.attempt(act))

    def paint(self) -> None:
        """Show what the model holds."""
        with self._painting:
            self._painter = threading.get_ident()
            try:
                self._paint()
            finally:
                self._painter = None

    def _paint(self) -> None:
        """A subclass paints here."""


def choose(box: w.Dropdown, options: list[tuple[str, Any]], value: Any) -> None:
    """Change the options, and keep what was chosen: by itself the box would take the first."""
    if tuple(box.options) != tuple(options):
        box.options = options
    if box.value != value:
        box.value = value


def short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) < 100 else f"{text[:99]}…"
