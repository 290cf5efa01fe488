"""The viewer as a window: PyVista widgets on a panels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import check_output
from microtomo.study import Study
from microtomo.viewer.linked import LinkedPanels, columns
from microtomo.viewer.panels import make_panels, materials, size_nm
from microtomo.viz.axes import set_font
from microtomo.viz.colours import INK
from microtomo.viz.readout import describe, readings, readout
from microtomo.viz.spectrum import spectrum_figure

MOST_FACES = 400_000
"""Rectangles of a panel that a window still turns smoothly."""

CONTROLS = 0.345
"""Share of the window's height for controls and readout."""

KEYS = "drag: turn · wheel: zoom · shift-drag: move · click: read a pixel · T: from above · P: save picture · Q: quit"


class Window:
    """Panels, widgets and readout in one plotter; ``plotter`` may be off screen."""

    def __init__(self, study: Study, *, off_screen: bool = False, size: tuple[int, int] = (1280, 800)) -> None:
        import pyvista as pv

        self.study = study
        count = columns(study)
        self.plotter = pv.Plotter(
            shape=(2, count), row_weights=[1 - CONTROLS, CONTROLS], groups=[(1, slice(None))], border=False,
            off_screen=off_screen, window_size=list(size), title=f"{study.name} - microtomo",
        )  # fmt: skip
        self.plotter.set_background("white", all_renderers=True)
        self.panels = LinkedPanels(self.plotter, study, make_panels(study, most_faces=MOST_FACES))
        self._energy = 0
        self._pressed: tuple[int, int] | None = None
        self.plotter.subplot(1, 0)
        self._size = size
        self._picture: Any = None
        self._text = self._write("", 0.355 * size[0], 0.29 * size[1], 13)
        self._write(KEYS, 12, 6, 11, top=False)
        self.read(*(n // 2 for n in study.shape))
        self._widgets()
        self._listen()

    def _widgets(self) -> None:
        panels, study, (width, height) = self.panels, self.study, self._size
        sliders: list[tuple[str, tuple[float, float], float, Any, Callable[[float], str]]] = []
        if panels.panels:
            for i, (name, colour) in enumerate(materials(study)):
                y = 0.29 * height - 24 * (i + 1)
                self.plotter.add_checkbox_button_widget(
                    lambda on, name=name: panels.show(name, bool(on)), value=True, position=(14, y), size=18,
                    border_size=2, color_on=colour, color_off="white", background_color=INK,
                )  # fmt: skip
                self._write(name, 40, y + 17, 13)
            x_nm, y_nm, z_nm = size_nm(study, panels.panels)
            sliders += [
                ("opacity", (0, 1), 1, panels.set_opacity, lambda v: f"{100 * v:.0f} %"),
                ("z ×", (1, max(20.0, 3 * panels.z_scale)), panels.z_scale, panels.set_z_scale, lambda v: f"{v:.2g}"),
                ("cut at x", (0, 1), 1, lambda v: panels.set_cut(x=v), lambda v: f"{v * x_nm:.0f} nm"),
                ("cut at y", (0, 1), 1, lambda v: panels.set_cut(y=v), lambda v: f"{v * y_nm:.0f} nm"),
                ("depth z", (0, 1), 1, lambda v: panels.set_cut(z=v), lambda v: f"{v * z_nm:.0f} nm"),
            ]
        if study.scan is not None:
            kev = study.scan.energies_kev
            last = max(len(kev) - 1, 1)
            sliders.append(
                ("beam", (0, last), 0, self.set_energy, lambda v: f"{kev[min(round(v), len(kev) - 1)]:g} keV")
            )
        for i, (title, ends, value, change, shown) in enumerate(sliders):
            y = 0.275 - 0.043 * i  # of the window; a slider counts in its renderer
            self.plotter.subplot(1, 0)
            label = self._write("", 0.205 * width, y * height + 8, 13, right=True)

            def moved(
                v: float, label: Any = label, title: str = title, change: Any = change, shown: Any = shown
            ) -> None:
                label.SetInput(f"{title}  {shown(v)}")
                change(v)

            self.plotter.subplot(1, 0)  # a slider calls back at once, which may go elsewhere
            slider = self.plotter.add_slider_widget(
                moved, ends, value=value, pointa=(0.215, y / CONTROLS),
                pointb=(0.335, y / CONTROLS), style="modern", interaction_event="end",
                fmt="%.2g", color=INK, slider_width=0.02, tube_width=0.006,
            )  # fmt: skip
            slider.GetRepresentation().ShowSliderLabelOff()

    def set_energy(self, number: float) -> None:
        """Show another image of the scan, and its signal at the pixel."""
        self._energy = round(number)
        self.panels.set_energy(self._energy)
        self._tell()

    def read(self, y: int, x: int) -> None:
        """Show the numbers and the spectrum of a pixel."""
        self._readout = readout(self.study, y, x)
        self._tell()
        if self.study.scan is not None:
            self._draw_spectrum(y, x)

    @property
    def words(self) -> str:
        """What is written of the pixel."""
        return str(self._text.GetInput())

    def _tell(self) -> None:
        pixel = self._readout
        lines = [f"pixel y {pixel.y}, x {pixel.x}"]
        for row in readings(pixel):
            of = f"  {row['thickness']} ± {row['sigma']} nm" if row["thickness"] else ""
            true = f"   true {row['truth']} nm" if row["truth"] else ""
            lines.append(f"{row['symbol']}{of}{true}")
        for part in describe(pixel, self._energy).split("; "):
            lines.append(part.replace(", re-", ",\n  re-").replace(": ", ":\n  "))
        lines += self.study.notes
        self._text.SetInput("\n".join(_folded(lines, 46)))

    def _draw_spectrum(self, y: int, x: int) -> None:
        from vtkmodules.util.numpy_support import numpy_to_vtk
        from vtkmodules.vtkCommonDataModel import vtkImageData
        from vtkmodules.vtkRenderingCore import vtkActor2D, vtkImageMapper

        assert self.study.scan is not None
        figure = spectrum_figure(
            self.study.scan, {self.study.rec.method: self.study.rec} if self.study.rec else {}, (y, x), small=True
        )
        height = 0.325 * self._size[1]
        figure.set_size_inches(0.34 * self._size[0] / 85, height / 85)
        figure.set_dpi(85)
        figure.canvas.draw()
        pixels = np.ascontiguousarray(np.asarray(cast(Any, figure.canvas).buffer_rgba())[::-1, :, :3])
        image = vtkImageData()
        image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
        image.GetPointData().SetScalars(numpy_to_vtk(pixels.reshape(-1, 3), deep=True))
        mapper = vtkImageMapper()
        mapper.SetInputData(image)
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor = vtkActor2D()
        actor.SetMapper(mapper)
        actor.SetPosition(0.655 * self._size[0], 6)
        self.plotter.subplot(1, 0)
        self._picture = self.plotter.add_actor(actor, name="spectrum", reset_camera=False, pickable=False)[0]

    def _write(self, words: str, x: float, y: float, px: int, *, top: bool = True, right: bool = False) -> Any:
        from vtkmodules.vtkRenderingCore import vtkTextActor

        actor = vtkTextActor()
        actor.SetInput(words)
        style = actor.GetTextProperty()
        set_font(style, px)
        (style.SetVerticalJustificationToTop if top else style.SetVerticalJustificationToBottom)()
        if right:
            style.SetJustificationToRight()
        actor.SetPosition(x, y)
        self.plotter.add_actor(actor, reset_camera=False, pickable=False)
        return actor

    def _listen(self) -> None:
        iren = self.plotter.iren

        def press(*_: Any) -> None:
            self._pressed = iren.interactor.GetEventPosition()

        def release(*_: Any) -> None:
            at = iren.interactor.GetEventPosition()
            if self._pressed is not None and max(abs(a - b) for a, b in zip(at, self._pressed, strict=True)) < 4:
                self.click(*at)
            self._pressed = None

        iren.add_observer("LeftButtonPressEvent", press)
        iren.add_observer("EndInteractionEvent", release)
        iren.add_observer("LeftButtonReleaseEvent", release)
        self.plotter.add_key_event("t", self.look_down)
        self.plotter.add_key_event("p", self.save)

    def click(self, x: int, y: int) -> None:
        """Read the pixel under a place of the window [pixels from its lower left]."""
        if y < CONTROLS * self._size[1]:
            return
        pixel = self.panels.pixel_at(x, y)
        if pixel is not None:
            self.read(*pixel)
            self.plotter.render()

    def look_down(self) -> None:
        """Turn all panels so that they are seen from above."""
        self.panels.look(0.0, 90.0)
        self.plotter.render()

    def save(self) -> Path | None:
        """Save what is seen as NAME-view.png in the current folder."""
        path = Path(f"{Path(self.study.name).stem}-view.png")
        try:
            check_output(path)
            self.plotter.screenshot(str(path))
        except (MicrotomoError, OSError) as error:
            self._text.SetInput(str(error))
            return None
        return path


def open_window(study: Study) -> None:
    """Show a study in a window, until it is closed. Needs a display: see :func:`microtomo.viz.gl.prepare_window`."""
    Window(study).plotter.show()


def _folded(lines: list[str], width: int) -> list[str]:
    from textwrap import wrap

    return [
        part
        for line in lines
        for piece in line.split("\n")
        for part in (wrap(piece, width, subsequent_indent=piece[: len(piece) - len(piece.lstrip())]) or [""])
    ]
