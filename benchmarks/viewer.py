"""How long the page of `microtomo view` takes in a Chromium that draws on the CPU.

    microtomo generate scan.h5 --samples 1 --seed 7 --size 512
    microtomo reconstruct scan.h5 --voxel-nm 2.5 -o rec.h5
    python benchmarks/viewer.py rec.h5

Seconds until the page is drawn, until a change of the scene is on the screen, and until a clicked pixel has its
numbers; resident memory of the server. With a GPU all of it is faster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browsing import chromium, viewer, watched

FRAMES = "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
CHANGES = (("cut away beyond x", "0.3"), ("cut away above z", "0.3"), ("opacity of Al", "0.5"))


def main() -> None:
    file = Path(sys.argv[1])
    with chromium() as browser, viewer(file) as (process, address), watched(browser) as (page, _, _):
        view = page.locator("[data-panel=reconstruction] .mt-view")

        def timed(name: str, change: Callable[[], object]) -> None:
            started = time.perf_counter()
            change()
            page.evaluate(FRAMES)
            view.screenshot()
            print(f"{name}: {time.perf_counter() - started:.2f} s")

        def opened() -> None:
            page.goto(address)
            page.wait_for_selector(".mt-panels[data-ready=yes]", state="attached", timeout=180_000)

        timed("page opened", opened)
        page.wait_for_timeout(3000)
        for label, value in CHANGES:
            timed(label, lambda label=label, value=value: page.get_by_label(label).fill(value))
            timed(f"{label}, back", lambda label=label: page.get_by_label(label).fill("1"))
        timed("another energy", lambda: page.get_by_label("beam energy").fill("20"))
        page.wait_for_timeout(2000)
        started = time.perf_counter()
        page.locator(".mt-map img").click(position={"x": 40, "y": 40})
        page.wait_for_function("document.querySelector('#pixel').innerText.startsWith('pixel')")
        print(f"pixel clicked: {time.perf_counter() - started:.2f} s")
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if "VmRSS" in line)
        print("memory of the server:", resident.split(":")[1].strip())


if __name__ == "__main__":
    main()
