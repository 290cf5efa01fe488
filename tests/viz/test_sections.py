import numpy as np
import pytest

from microtomo.viz.mesh import FLAT_SHADE
from microtomo.viz.sections import Cut, section_faces


def test_sections_have_the_area_that_the_plane_cuts():
    bottom, top = np.zeros((6, 8)), np.full((6, 8), 20.0)
    bottom[2:4, 2:4] = top[2:4, 2:4] = 0

    def area(cut):
        faces = section_faces(bottom, top, 10.0, cut, 20.0)
        a, b, _, d = (faces.corners[:, i] for i in range(4))
        return float(np.linalg.norm(np.cross(b - a, d - a), axis=1).sum()), faces

    whole, none = area(Cut())
    assert whole == 0
    assert len(none.corners) == 0
    assert area(Cut(x=0.5))[0] == pytest.approx(60 * 20)
    assert area(Cut(x=0.25 + 1e-3))[0] == pytest.approx(40 * 20)  # through the hole
    assert area(Cut(y=0.5))[0] == pytest.approx(60 * 20)
    level, faces = area(Cut(z=0.5))
    assert level == pytest.approx(80 * 60 - 20 * 20)
    assert (faces.corners[..., 2] == 10).all()
    assert (faces.shades == FLAT_SHADE).all()
    assert area(Cut(x=0.5, z=0.5))[0] == pytest.approx(60 * 10 + 40 * 60 - 20 * 20)
