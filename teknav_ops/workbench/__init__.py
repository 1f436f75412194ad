"""What a notebook imports first: `from teknav_ops.workbench import connect; bench = connect()`."""

from teknav_ops.configured_secrets import mask_configured_secrets
from teknav_ops.workbench.bench import Workbench
from teknav_ops.workbench.profiles import settings_of

__all__ = ["Workbench", "connect"]


def connect(profile: str | None = None) -> Workbench:
    """A workbench on the system that the environment names, or on that of a profile of this name; '' is none.

    Nothing is asked of Redis or SQL before the first question, so what does not need them works without.

    Raises:
        InvalidRequest: there is no such profile, or it is not complete; the message says what to write.
    """
    import plotly.io

    # The notebook holds a chart's data once, and neither plotly.js nor a script of another host.
    plotly.io.renderers.default = "plotly_mimetype"
    settings = settings_of(profile)
    mask_configured_secrets(settings)
    return Workbench(settings)
