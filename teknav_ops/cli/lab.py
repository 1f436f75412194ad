"""`teknav lab`: JupyterLab on the notebooks, with this interpreter's kernel and this system's settings."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.notebook_copies import working_copies
from teknav_ops.errors import InvalidRequest
from teknav_ops.parent_death import end_when_parent_has, end_with_parent
from teknav_ops.settings import Settings

#: Nothing of other hosts is asked for: no news, no look for a newer version.
_QUIET: Final = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
)
#: Where JupyterLab finds that it need not ask whether it may fetch news.
_DEFAULTS: Final = Path(__file__).with_name("jupyter")
_NEEDED: Final = ("jupyterlab", "ipywidgets", "plotly")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LEAVE_SECONDS: Final = 15.0


def lab(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of the notebooks. Unset: TEKNAV_NOTEBOOKS_DIR, or the checkout's.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile that `connect()` reaches: <data dir>/profiles/NAME.toml.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 or a taken one: the next free one.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
    reset: Annotated[
        bool, typer.Option("--reset", help="Bring the shipped notebooks back; yours are kept beside them.")
    ] = False,
) -> None:
    """Open JupyterLab on the notebooks, connected to this system. Ctrl-C or a signal ends it, and its kernels too."""
    settings = Context().settings
    root = notebooks_folder(settings, folder)
    require_lab()
    _require_profile(profile)
    if folder is None and settings.notebooks_dir is None:
        # The checkout stays as it is, whatever is run and saved.
        root = working_copies(root, settings.data_dir.absolute() / "notebooks", reset=reset)
    elif reset:
        raise InvalidRequest("--reset: brings back copies of the shipped notebooks; this folder is yours")
    show.errors.print(f"notebooks   {root}", markup=False, soft_wrap=True)
    command = [
        sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}", *_QUIET,
        *([] if browser else ["--no-browser"]), *(["--allow-root"] if os.geteuid() == 0 else []), str(root),
    ]  # fmt: skip
    raise typer.Exit(run_until_told(command, environment_of(settings, profile)))


def notebooks_folder(settings: Settings, folder: Path | None) -> Path:
    """Where the notebooks are. Raises InvalidRequest with what to do."""
    root = (folder or settings.notebooks_root).absolute()
    if not root.is_dir() or not any(root.glob("*.ipynb")):
        raise InvalidRequest(
            f"folder: there are no notebooks in {root}; name their folder, or set TEKNAV_NOTEBOOKS_DIR. "
            "They are in the repository's ops_notebooks/"
        )
    return root


def require_lab() -> None:
    """Raises InvalidRequest where JupyterLab or what the widgets need is not installed."""
    missing = next((name for name in _NEEDED if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise InvalidRequest(f"{missing} is missing: pip install 'teknav-ops[lab]'")


def _require_profile(profile: str | None) -> None:
    from teknav_ops.workbench.profiles import settings_of

    settings_of(profile)


def environment_of(settings: Settings, profile: str | None = None) -> dict[str, str]:
    """This process's, with the data folder as it is from here: kernels run in the notebooks' folder.

    No address or password is added: kernels read the settings as every other program does. JupyterLab's own settings of
    the person stay in force; ours are only other defaults.
    """
    inherited = dict(os.environ)
    folders = (str(_DEFAULTS), inherited.get("JUPYTER_CONFIG_PATH"))
    return inherited | {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, folders)), "JUPYTER_PREFER_ENV_PATH": "1",
        "TEKNAV_DATA_DIR": str(settings.data_dir.absolute()), **({"TEKNAV_PROFILE": profile} if profile else {}),
    }  # fmt: skip


class _ToldToEnd(Exception):
    """A signal came."""


def run_until_told(command: list[str], environment: dict[str, str]) -> int:
    """Run a server in a session of its own until it ends, or this process is told to. Then all it started ends too.

    JupyterLab asks for confirmation at Ctrl-C, so it is told to end in its own way. Should this process be killed, or
    the one that started it (a shell, `make lab`), the kernel of the system tells (Linux).
    """
    server = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=end_with_parent)
    for number in _SIGNALS:
        # Who is started by `nohup` goes on when its terminal ends.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _told)
    try:
        end_when_parent_has()
        return server.wait()
    except _ToldToEnd:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _end(server)
        return 0


def _told(number: int, _: Any) -> None:
    raise _ToldToEnd(signal.Signals(number).name)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let it end, for a while; then end what is left of it, kernels included: they have sessions of their own."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_LEAVE_SECONDS)
        for process in [*family, psutil.Process(server.pid)] if server.poll() is None else family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=_LEAVE_SECONDS)
    server.wait()
