import base64
import json
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest

from microtomo import MicrotomoError
from microtomo.viz.scene import thickness_scene
from microtomo.viz.web import render_html, scene_page


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_scene_fetches_nothing(stack, maps, external):
    assert external(scene_page(thickness_scene(maps, stack, title="truth"))) == []


def test_scene_holds_the_surfaces_to_a_thousandth(stack, maps):
    scene = thickness_scene(maps, stack)
    data = data_of(scene_page(scene))
    assert [s["name"] for s in data["surfaces"]] == ["Si substrate", "Au", "Al"]
    assert data["ticks"][2] == [0, 25, 50, 75, 100]
    for packed, surface in zip(data["surfaces"], scene.surfaces, strict=True):
        raw, n = zlib.decompress(base64.b64decode(packed["packed"])), packed["faces"]
        shares = np.frombuffer(raw, "<u2", 12 * n).reshape(12, n).T.reshape(n, 4, 3) / 65535
        low, size = np.array([0, 0, data["floor_nm"]]), np.array(data["size_nm"])
        corners = low + shares * (size - low)
        np.testing.assert_allclose(corners, surface.faces.corners, atol=1e-5 * size.max())
        np.testing.assert_array_equal(np.frombuffer(raw, np.uint8, n, 24 * n), surface.faces.shades)


def test_titles_cannot_break_the_page(stack, maps):
    page = scene_page(thickness_scene(maps, stack, title="</script><script>alert(1)</script>&"))
    assert "<script>alert" not in page
    assert data_of(page)["title"] == "</script><script>alert(1)</script>&"


def test_page_is_written_whole_or_not_at_all(stack, maps, tmp_path):
    scene = thickness_scene(maps, stack)
    path = render_html(scene, tmp_path / "scene.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    with pytest.raises(MicrotomoError, match="cannot be written"):
        render_html(scene, tmp_path / "none" / "scene.html")
    assert [p.name for p in tmp_path.iterdir()] == ["scene.html"]


def test_scene_needs_no_vtk(stack, maps, tmp_path):
    code = """
import sys, torch
from microtomo import load_stack
from microtomo.viz.scene import thickness_scene
from microtomo.viz.web import render_html
render_html(thickness_scene(torch.ones(2, 4, 4), load_stack("au-al-si")), sys.argv[1])
assert not [m for m in sys.modules if m.startswith(("vtk", "pyvista"))]
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.html")], check=True)
