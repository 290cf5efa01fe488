import os
import stat
import sys

import numpy as np
import pytest
import torch
from scipy.interpolate import RectBivariateSpline

from microtomo.errors import MicrotomoError
from microtomo.materials import Layer, Material, Stack, find_material
from microtomo.physics import table as tables
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.nodes import electron_range_nm, thickness_nodes
from microtomo.physics.table import signal_table
from microtomo.physics.table_cache import cache_folder, load_or_compute
from microtomo.physics.tensor_spline import TensorSpline
from microtomo.physics.transport import Settings, backscatter_coefficient, signal_and_slopes

QUICK = Settings(angles=4)
ENERGIES = (5.0, 8.0, 20.0)


def stack_of(*layers, substrate="Si", energies=ENERGIES):
    found = tuple(Layer(material=find_material(name), max_nm=most) for name, most in layers)
    return Stack(name="test", substrate=find_material(substrate), layers=found, energies_kev=energies)


GOLD_ALUMINIUM = stack_of(("Au", 6), ("Al", 60))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tables._in_process.cache_clear()
    yield
    tables._in_process.cache_clear()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        return signal_table(GOLD_ALUMINIUM, settings=QUICK)


def random_points(shape, seed=0):
    scale = np.array(GOLD_ALUMINIUM.max_nm)[:, None, None]
    return np.random.default_rng(seed).uniform(0, 1, (2, *shape)) * scale


def test_table_is_the_solution_between_its_nodes(table):
    points = random_points((1, 6))
    points[:, 0, :3] *= 0.1  # thin layers, where the signal bends most
    signal = table.fast(points)
    for p in range(6):
        au, al = points[:, 0, p]
        eta, slopes = signal_and_slopes([("Al", al), ("Au", au), ("Si", None)], ENERGIES, settings=QUICK)
        bare = backscatter_coefficient([("Si", None)], ENERGIES, settings=QUICK)
        np.testing.assert_allclose(signal[:, 0, p], eta / bare, rtol=1e-4)
        _, derivatives = table.signal_and_slopes(points[:, 0, p : p + 1])
        np.testing.assert_allclose(derivatives[::-1, :, 0], slopes / bare, atol=2e-3 * np.abs(slopes / bare).max())


def test_bare_substrate_has_signal_1_and_its_own_eta(table):
    np.testing.assert_allclose(table.fast(np.zeros((2, 1, 1)))[:, 0, 0], 1, rtol=1e-12)
    np.testing.assert_allclose(
        table.substrate_signal, backscatter_coefficient([("Si", None)], ENERGIES, settings=QUICK), rtol=1e-9
    )


@pytest.mark.parametrize(
    "layers", [[("Au", 5)], [("Au", 3), ("SiO2", 10), ("Al", 20)], [("Au", 2), ("Ti", 3), ("Cu", 2), ("C", 4)]]
)
def test_one_three_and_four_layers(layers):
    stack = stack_of(*layers)
    found = signal_table(stack, settings=Settings(angles=2), fineness=0.25)
    thickness = [0.37 * most for _, most in layers]
    signal = found.fast(np.array(thickness).reshape(-1, 1, 1))[:, 0, 0]
    top_down = [(name, d) for (name, _), d in zip(layers, thickness, strict=True)][::-1]
    eta = backscatter_coefficient([*top_down, ("Si", None)], ENERGIES, settings=Settings(angles=2))
    np.testing.assert_allclose(signal, eta / found.substrate_signal, rtol=2e-3)


def test_tensor_version_agrees_and_has_the_shape_of_its_input(table):
    thickness = random_points((4, 5))
    batch = torch.from_numpy(np.stack([thickness, thickness[:, ::-1, ::-1].copy()])).reshape(2, 1, 2, 4, 5)
    signal = table(batch)
    assert signal.shape == (2, 1, 3, 4, 5)
    np.testing.assert_array_equal(signal[0, 0].numpy(), table.fast(thickness))
    np.testing.assert_array_equal(signal[1, 0].numpy(), table.fast(thickness)[:, ::-1, ::-1])
    single = table(torch.from_numpy(thickness).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), table.fast(thickness), rtol=1e-5)


def test_derivatives_backward_and_forward_are_finite_differences(table):
    thickness = torch.from_numpy(random_points((2, 3), 1)).requires_grad_()
    assert torch.autograd.gradcheck(table, (thickness,))
    direction = torch.ones_like(thickness)
    _, slope = torch.func.jvp(table, (thickness.detach(),), (direction,))
    h = 1e-4
    difference = (table(thickness.detach() + h) - table(thickness.detach() - h)) / (2 * h)
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=1e-8)


def test_gathering_on_a_device_agrees_with_the_compiled_kernel(table):
    points = random_points((1, 40), 2)[:, 0]
    points[:, :2] = [[-1, 99], [-3, 999]]
    values, slopes = table.spline.evaluate(points, slopes=True)
    gathered, derivatives = table.spline.evaluate_tensor(torch.from_numpy(points))
    np.testing.assert_allclose(gathered.numpy(), values, rtol=1e-12)
    np.testing.assert_allclose(derivatives.numpy(), slopes, rtol=1e-9, atol=1e-12)


def test_outside_the_range_the_signal_stays_and_not_a_number_stays_so(table):
    edge = table.fast(np.array([6.0, 60.0]).reshape(2, 1, 1))
    np.testing.assert_array_equal(table.fast(np.array([7.0, 1e9]).reshape(2, 1, 1)), edge)
    np.testing.assert_array_equal(table.fast(np.array([-1.0, -np.inf]).reshape(2, 1, 1)), np.ones((3, 1, 1)))
    beside = table.fast(np.array([[np.nan, 1.0], [5.0, 5.0]]).reshape(2, 1, 2))
    assert np.isnan(beside[:, 0, 0]).all()
    assert np.isfinite(beside[:, 0, 1]).all()


def test_a_spectrum_is_the_same_to_the_bit_wherever_the_pixel_stands(table):
    thickness = random_points((8, 9), 3).astype(np.float32)
    signal = table.fast(thickness)
    np.testing.assert_array_equal(table.fast(thickness[:, 3:4, 5:6])[:, 0, 0], signal[:, 3, 5])
    np.testing.assert_array_equal(table.fast(thickness[:, ::-1]), signal[:, ::-1])
    terraces = np.repeat(thickness, 7, axis=2)
    np.testing.assert_array_equal(table.fast(terraces), np.repeat(signal, 7, axis=2))


def test_no_pixel_has_no_signal(table):
    assert table.fast(np.zeros((2, 1, 0))).shape == (3, 1, 0)


def test_wrong_number_of_layers_is_refused(table):
    with pytest.raises(MicrotomoError, match=r"wants \(\.\.\., 2, y, x\)"):
        table.fast(np.zeros((3, 4, 4), dtype=np.float32))
    with pytest.raises(MicrotomoError, match=r"wants \(\.\.\., 2, y, x\)"):
        table(torch.zeros(4, 4))


def test_spline_is_scipys():
    rng = np.random.default_rng(4)
    x, y = np.cumsum(rng.uniform(0.5, 2, 9)), np.cumsum(rng.uniform(0.5, 2, 12))
    values = rng.normal(size=(9, 12, 3))
    points = np.stack([rng.uniform(x[0], x[-1], 50), rng.uniform(y[0], y[-1], 50)])
    signal, slopes = TensorSpline((x, y), values).evaluate(points, slopes=True)
    for e in range(3):
        theirs = RectBivariateSpline(x, y, values[:, :, e])
        np.testing.assert_allclose(signal[e], theirs.ev(*points), atol=1e-10)
        np.testing.assert_allclose(slopes[0, e], theirs.ev(*points, dx=1), atol=1e-10)
        np.testing.assert_allclose(slopes[1, e], theirs.ev(*points, dy=1), atol=1e-10)


def test_spline_of_four_axes_reproduces_a_cubic():
    axes = [np.array([0.0, 0.3, 1, 1.5, 2.5, 3])] * 4
    grid = np.meshgrid(*axes, indexing="ij")
    values = (grid[0] ** 3 - grid[1] * grid[2] ** 2 + grid[3])[..., None]
    points = np.random.default_rng(5).uniform(0, 3, (4, 20))
    signal, slopes = TensorSpline(tuple(axes), values).evaluate(points, slopes=True)
    np.testing.assert_allclose(signal[0], points[0] ** 3 - points[1] * points[2] ** 2 + points[3], atol=1e-11)
    np.testing.assert_allclose(slopes[2, 0], -2 * points[1] * points[2], atol=1e-10)


def test_nodes_begin_fine_end_at_the_greatest_thickness_and_follow_the_range():
    aluminium = find_material("Al")
    reach = electron_range_nm(aluminium, 5.0)
    assert (
        300 < reach < 600
    )  # CSDA range of 5 keV electrons in aluminium: 0.11 mg/cm2 = 0.42 um (NIST ESTAR, 10 keV: 1.3)
    nodes = thickness_nodes(150.0, reach)
    assert (nodes[0], nodes[-1]) == (0, 150)
    assert nodes[1] <= reach / 500
    assert (np.diff(nodes, 2) >= -1e-9).all()
    assert len(thickness_nodes(1e5, reach)) < 200
    assert len(thickness_nodes(0.01, reach)) >= 6


def test_detector_that_sees_nothing_is_refused():
    blind = BackscatterDetector("energy", threshold_kev=9.0)
    with pytest.raises(MicrotomoError, match="sees nothing of bare Si at 5 keV"):
        signal_table(stack_of(("Au", 1)), settings=Settings(angles=2), detector=blind)


def test_material_of_unknown_atoms_and_too_fast_a_beam_are_refused():
    mixture = Material(symbol="mixture", atomic_number=10.8, density_g_cm3=2.2, base_signal=0.42)
    stack = GOLD_ALUMINIUM.model_copy(update={"substrate": mixture})
    with pytest.raises(MicrotomoError, match="mixture"):
        signal_table(stack)
    with pytest.raises(MicrotomoError, match=r"transport covers 0\.5 to 50 keV"):
        signal_table(stack_of(("Au", 1), energies=(10.0, 80.0)))


class Counter:
    def __init__(self):
        self.calls = []

    def __call__(self, done, total):
        self.calls.append((done, total))


def solve(progress, **changes):
    tables._in_process.cache_clear()
    arguments = {"settings": Settings(angles=2), "fineness": 0.3} | changes
    return signal_table(GOLD_ALUMINIUM, progress=progress, **arguments)


def stored_files():
    return sorted(cache_folder().iterdir())


def test_second_process_reads_the_table_and_another_question_solves_anew():
    first, second, third = Counter(), Counter(), Counter()
    solved = solve(first)
    assert first.calls[-1][0] == first.calls[-1][1] == len(solved.nodes[0])
    read = solve(second)
    assert second.calls == []
    points = random_points((3, 3))
    np.testing.assert_array_equal(read.fast(points), solved.fast(points))
    assert signal_table(GOLD_ALUMINIUM, settings=Settings(angles=2), fineness=0.3) is read
    solve(third, detector=BackscatterDetector("energy", 1.0))
    assert third.calls
    assert len(stored_files()) == 2


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK\x03\x04 something else"])
def test_a_damaged_file_is_solved_anew_and_replaced(damage):
    expected = solve(None).fast(random_points((2, 2)))
    (path,) = stored_files()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    counter = Counter()
    np.testing.assert_array_equal(solve(counter).fast(random_points((2, 2))), expected)
    assert counter.calls
    again = Counter()
    solve(again)
    assert again.calls == []


def test_a_file_of_another_key_or_shape_is_not_believed():
    def stored(key, shape):
        return load_or_compute(key, shape, lambda: np.full(shape, float(key["x"])))

    assert stored({"x": 1}, (2,))[0] == 1
    (path,) = stored_files()
    stored({"x": 2}, (2,))
    other = next(p for p in stored_files() if p != path)
    other.write_bytes(path.read_bytes())
    assert stored({"x": 2}, (2,))[0] == 2
    assert stored({"x": 2}, (3,)).shape == (3,)


def test_no_partial_file_is_left_behind():
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_compute({"x": 1}, (2,), fail)
    load_or_compute({"x": 1}, (2,), lambda: np.ones(2))
    assert [p.suffix for p in stored_files()] == [".npz"]


def test_a_cache_that_cannot_be_written_is_said_and_does_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="set XDG_CACHE_HOME"):
        values = load_or_compute({"x": 1}, (2,), lambda: np.ones(2))
    np.testing.assert_array_equal(values, 1)


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path, monkeypatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.warns(UserWarning, match="set XDG_CACHE_HOME"):
        load_or_compute({"x": 1}, (2,), lambda: np.ones(2))
