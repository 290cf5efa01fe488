"""Is there OpenGL to draw with? Asked before VTK's first window, which would crash the process where there is none."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from functools import cache

from microtomo.errors import MicrotomoError

ADVICE = (
    "3D pictures need OpenGL libraries: on Debian or Ubuntu run `apt-get install libegl1 libgl1-mesa-dri`, "
    "or write an .html scene, which needs none"
)
_WINDOW = "VTK_DEFAULT_OPENGL_WINDOW"
_ON_SCREEN = "vtkXOpenGLRenderWindow"
_PROBE = """
import sys
from vtkmodules import vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(int(sys.argv[1]))
window.SetSize(16, 16)
window.Render()
sys.exit(0 if window.SupportsOpenGL() else 1)
"""


def prepare_offscreen() -> None:
    """Make VTK draw without a display; on Linux through EGL unless ``VTK_DEFAULT_OPENGL_WINDOW`` names a window class.

    Raises MicrotomoError with the packages to install where drawing is not possible.
    """
    if not sys.platform.startswith("linux"):
        return
    chosen = os.environ.get(_WINDOW, "vtkEGLRenderWindow")
    if chosen == "vtkEGLRenderWindow" and ctypes.util.find_library("EGL") is None:
        raise MicrotomoError(f"libEGL was not found. {ADVICE}")
    if not _draws(chosen):
        raise MicrotomoError(f"OpenGL ({chosen}) does not start on this machine. {ADVICE}")
    os.environ[_WINDOW] = chosen


def prepare_window() -> None:
    """Make sure that a window can be opened.

    Raises MicrotomoError, which names ``--browser``, where there is no display or nothing can be drawn on it.
    """
    if not sys.platform.startswith("linux"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise MicrotomoError("there is no display to open a window on: add --browser, and open the address it prints")
    if not _draws(_ON_SCREEN, off_screen=False):
        display = os.environ.get("DISPLAY") or os.environ["WAYLAND_DISPLAY"]
        raise MicrotomoError(f"no window with OpenGL opens on display {display}: add --browser, which needs neither")
    os.environ[_WINDOW] = _ON_SCREEN


def offscreen_works() -> str | None:
    """None where 3D pictures can be drawn, else the sentence that says why not."""
    try:
        prepare_offscreen()
    except MicrotomoError as error:
        return str(error)
    return None


@cache
def _draws(window: str, off_screen: bool = True) -> bool:
    """Try it in a process of its own: a library without a driver ends in a segmentation fault."""
    command = [sys.executable, "-P", "-c", _PROBE, str(int(off_screen))]
    try:
        done = subprocess.run(
            command, env={**os.environ, _WINDOW: window}, capture_output=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
