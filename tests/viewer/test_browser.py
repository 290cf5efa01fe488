"""The viewer and the scene page in a real Chromium."""

import io
import json
import zipfile
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from browsing import chromium, viewer, watched
from microtomo import Scan, write_reconstruction, write_scan
from microtomo.io.reconstructions import new_reconstruction
from microtomo.viz.scene import thickness_scene
from microtomo.viz.web import render_html

pytestmark = pytest.mark.browser
AL = (86, 180, 233)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def files(tmp_path, scan, rec, maps):
    write_scan(tmp_path / "scan.h5", scan)
    write_scan(tmp_path / "bare.h5", Scan(scan.data, scan.energies_kev, stack=scan.stack))
    with new_reconstruction(tmp_path / "rec.h5", None, input=str(tmp_path / "scan.h5")) as writer:
        writer.add(rec, maps)
    write_reconstruction(tmp_path / "alone.h5", rec)
    return tmp_path


def picture(page, selector=None):
    from PIL import Image

    shot = page.locator(selector).screenshot() if selector else page.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def count(image, colour, tolerance=12):
    return int((np.abs(image - colour).max(-1) <= tolerance).sum())


def ready(page, address):
    page.goto(address)
    page.wait_for_selector(".mt-panels[data-ready=yes]", state="attached", timeout=60_000)
    settle(page)


def settle(page):
    page.wait_for_timeout(700)  # longer than a moved scene takes to come to rest


def test_viewer_shows_materials_cuts_and_the_numbers_of_a_pixel(browser, files, scan, rec, maps):
    with viewer(files / "rec.h5") as (_, address), watched(browser, viewport={"width": 1280, "height": 800}) as got:
        page, troubles, hosts = got
        ready(page, address)
        for name in ("truth", "reconstruction"):
            assert count(picture(page, f"[data-panel={name}] .mt-view"), AL) > 300, name
        view = "[data-panel=reconstruction] .mt-view"
        whole = picture(page, view)

        page.get_by_role("checkbox", name="Al", exact=True).uncheck()
        settle(page)
        assert count(picture(page, view), AL) < 20
        page.get_by_role("checkbox", name="Al", exact=True).check()

        page.get_by_label("opacity of Al").fill("0.5")
        settle(page)
        assert count(picture(page, view), AL) < 0.3 * count(whole, AL)
        page.get_by_label("opacity of Al").fill("1")

        for label, share in (("cut away beyond x", "0.3"), ("cut away beyond y", "0.3"), ("cut away above z", "0.2")):
            page.get_by_label(label).fill(share)
            settle(page)
            cut = picture(page, view)
            assert (np.abs(cut - whole).max(-1) > 30).sum() > 200, label
            page.get_by_label(label).fill("1")
        settle(page)
        assert (np.abs(picture(page, view) - whole).max(-1) > 30).sum() < 100

        before = picture(page, ".mt-map img")
        page.get_by_label("beam energy").fill("20")
        page.wait_for_function("document.querySelector('#summary').innerText.includes('25 keV')")
        settle(page)
        assert np.abs(picture(page, ".mt-map img") - before).max() > 40

        box = page.locator(".mt-map img").bounding_box()
        for y, x in ((5, 3), (18, 26), (23, 31)):
            page.mouse.click(box["x"] + (x + 0.5) * box["width"] / 32, box["y"] + (y + 0.5) * box["height"] / 24)
            page.wait_for_function(f"document.querySelector('#pixel').innerText === 'pixel y {y}, x {x}'")
            for k, symbol in enumerate(rec.stack.symbols):
                cells = page.locator(f"[data-layer={symbol}] td").all_inner_texts()
                shown = [float(rec.thickness[k, y, x]), float(rec.uncertainty[k, y, x]), float(maps[k, y, x])]
                assert cells == [f"{v:.1f}" for v in shown]
            assert f"signal at 25 keV {float(scan.data[20, y, x]):.4f}" in page.locator("#summary").inner_text()
        assert page.locator("#spectrum").is_visible()
        assert troubles == []
        assert hosts <= {address.split("/")[2], ""}, "the page must work without a network"


def test_click_in_3d_reads_the_pixel_under_it(browser, files, maps):
    with viewer(files / "rec.h5") as (_, address), watched(browser, viewport={"width": 1280, "height": 800}) as got:
        page = got[0]
        ready(page, address)
        page.get_by_role("button", name="from above").click()
        settle(page)
        box = page.locator("[data-panel=truth] .mt-view").bounding_box()
        seen = picture(page, "[data-panel=truth] .mt-view")
        rows, columns = np.nonzero(np.abs(seen - AL).max(-1) <= 12)
        small = columns > columns.max() - 5  # the pad on the right: columns 24..27, rows 16..19
        page.mouse.click(box["x"] + columns[small].mean(), box["y"] + np.median(rows[small]))
        page.wait_for_function("document.querySelector('#pixel').innerText !== 'pixel y 12, x 16'")
        _, y, x = page.locator("#pixel").inner_text().replace(",", "").replace("pixel", "").replace("x", "").split()
        assert float(maps[1, int(y), int(x)]) == 100


def test_cameras_are_linked(browser, files):
    with viewer(files / "rec.h5") as (_, address), watched(browser) as (page, troubles, _):
        ready(page, address)
        before = {n: picture(page, f"[data-panel={n}] .mt-view") for n in ("truth", "uncertainty")}
        box = page.locator("[data-panel=truth] .mt-view").bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + 160, box["y"] + 130, steps=4)
        page.mouse.up()
        settle(page)
        for name, old in before.items():
            assert (np.abs(picture(page, f"[data-panel={name}] .mt-view") - old).max(-1) > 30).sum() > 300, name
        assert troubles == []


def test_downloads_are_what_they_say(browser, files, tmp_path):
    with viewer(files / "rec.h5") as (_, address), watched(browser) as (page, troubles, _):
        ready(page, address)
        got = {}
        for kind in ("PNG", "html", "vti", "stl", "ply"):
            with page.expect_download() as waiting:
                page.get_by_role("button", name=kind, exact=True).click()
            got[kind] = tmp_path / waiting.value.suggested_filename
            waiting.value.save_as(got[kind])
        assert troubles == []
    assert got["PNG"].read_bytes().startswith(b"\x89PNG")
    assert "</html>" in got["html"].read_text(encoding="utf-8")
    assert got["vti"].read_bytes().startswith(b"<?xml")
    assert sorted(zipfile.ZipFile(got["stl"]).namelist()) == ["rec-Al.stl", "rec-Au.stl"]
    assert zipfile.ZipFile(got["ply"]).read("rec-Au.ply").startswith(b"ply\n")


@pytest.mark.parametrize("file", ["bare.h5", "scan.h5", "alone.h5"])
def test_viewer_shows_what_there_is(browser, files, file, scan):
    with viewer(files / file) as (_, address), watched(browser, viewport={"width": 420, "height": 900}) as got:
        page, troubles, _ = got
        ready(page, address)
        assert page.locator("figure").count() == {"bare.h5": 0, "scan.h5": 1, "alone.h5": 2}[file]
        assert page.locator("#pixel").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 420, "a narrow window must not scroll sideways"
        if file == "alone.h5":
            assert "give the scan with --scan" in page.locator("header").inner_text()
        else:
            assert f"{float(scan.data[0, 12, 16]):.4f}" in page.locator("#summary").inner_text()
        assert troubles == []


def test_a_scan_alone_fills_the_page_without_scrolling(browser, files):
    with viewer(files / "bare.h5") as (_, address), watched(browser, viewport={"width": 1400, "height": 900}) as got:
        page = got[0]
        ready(page, address)
        image, spectrum = (page.locator(s).bounding_box() for s in (".mt-map", "#spectrum"))
        assert image["x"] + image["width"] <= spectrum["x"]
        assert image["width"] > 500
        assert max(b["y"] + b["height"] for b in (image, spectrum)) <= 900
        assert spectrum["x"] + spectrum["width"] > 1200


def test_a_scan_with_truth_has_no_empty_columns(browser, files):
    with viewer(files / "scan.h5") as (_, address), watched(browser) as (page, _, _):
        ready(page, address)
        assert page.locator("#readings thead th").all_inner_texts() == ["layer", "truth [nm]"]
        assert page.locator("[data-layer=Al] td").all_inner_texts() == ["0.00"]


def test_without_the_key_there_is_no_data(browser, files):
    with viewer(files / "rec.h5") as (_, address), watched(browser) as (page, _, _):
        page.goto(address.rpartition("&secret")[0])
        page.wait_for_timeout(3000)
        assert "reconstruction" not in page.content()
        assert page.locator("canvas").count() == 0


def test_scene_page_switches_materials_and_cuts(browser, stack, maps, tmp_path):
    render_html(thickness_scene(maps, stack, title="truth"), tmp_path / "scene.html")
    with watched(browser, viewport={"width": 900, "height": 700}) as (page, troubles, _):
        page.goto("about:blank")
        assert count(picture(page), AL) == 0
        page.goto((tmp_path / "scene.html").as_uri())
        page.wait_for_selector("body[data-ready=yes]")
        settle(page)
        whole = picture(page)
        assert count(whole, AL) > 2000
        for name, value in (("z exaggeration", "90"), ("cut away beyond x", "0.4"), ("cut away above z", "0.3")):
            page.get_by_label(name).fill(value)
            settle(page)
            changed = picture(page)
            assert (np.abs(changed - whole).max(-1) > 30).sum() > 1000, name
            whole = changed
        page.get_by_role("button", name="reset view").click()
        page.get_by_role("checkbox", name="Al", exact=True).uncheck()
        settle(page)
        assert count(picture(page)[:, :600], AL) < 20  # the legend is on the right
        assert troubles == []


@pytest.mark.parametrize(
    "path",
    ["/rec.h5", "/../rec.h5", "/%2e%2e/rec.h5", "/__microtomo_viewer/..%2f..%2f..%2fpyproject.toml", "/etc/passwd",
     "/__microtomo_viewer/%2e%2e/browser.py", "/__microtomo_scene//etc/passwd", "/__microtomo_viewer/../server.py"],
)  # fmt: skip
def test_no_other_file_is_served(files, path):
    import http.client

    with viewer(files / "rec.h5") as (_, address):
        host = address.split("/")[2]
        assert urlopen(f"http://{host}/__microtomo_scene/scene.js").status == 200
        connection = http.client.HTTPConnection(host)  # which sends the path as it is
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        assert status in (400, 403, 404)
        with pytest.raises(HTTPError):
            urlopen(f"http://{host}/__microtomo_viewer/?{json.dumps(str(files))}".replace('"', ""))
