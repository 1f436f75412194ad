"""WhatIf: sliders over `WhatIfModel`."""

from __future__ import annotations

from functools import partial

import ipywidgets as w

from teknav_ops.triage.view_models.what_if import WhatIfModel
from teknav_ops.triage.widgets.painting import PaintedBox
from teknav_ops.triage.widgets.tables import line

_STYLE = {"description_width": "180px"}
_LAYOUT = {"width": "520px"}


class WhatIf(PaintedBox):
    """Three sliders, and what would be."""

    model: WhatIfModel

    def __init__(self, model: WhatIfModel) -> None:
        self.load = w.FloatSlider(
            value=1.0, min=0.1, max=20, step=0.1, description="load, × today's", style=_STYLE, layout=_LAYOUT
        )
        self.duration = w.FloatSlider(
            value=1.0, min=0.1, max=20, step=0.1, description="mean duration, × today's", style=_STYLE, layout=_LAYOUT
        )
        self.threads = w.IntSlider(
            value=model.threads, min=1, max=max(100, 4 * model.threads), description="threads", style=_STYLE,
            layout=_LAYOUT,
        )  # fmt: skip
        self.status = w.HTML()
        super().__init__(model, [self.load, self.duration, self.threads, self.status])
        for slider, name in ((self.load, "load_factor"), (self.duration, "duration_factor"), (self.threads, "threads")):
            self.on_choice(slider, partial(self._set, name))
        self.follow("load_factor", "duration_factor", "threads")
        self.paint()

    def _set(self, name: str, value: float) -> None:
        setattr(self.model, name, value)
        self.model.reckon()

    def _paint(self) -> None:
        self.status.value = line(self.model.status, is_wrong=self.model.is_wrong)
