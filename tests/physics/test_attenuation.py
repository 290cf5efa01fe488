import csv
import math

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import ENERGIES_KEV, Layer, Stack, builtin_materials, load_stack
from microtomo.physics.forward import backscatter, forward_model

AU_AL = load_stack("au-al-si")


def stack_of(*symbols):
    m = builtin_materials()
    return Stack(
        name="-".join(symbols), substrate=m["Si"], layers=tuple(Layer(material=m[s], max_nm=200) for s in symbols)
    )


def spectrum(stack, thickness_nm, forward="material", dtype=torch.float64, **options):
    maps = torch.tensor(thickness_nm, dtype=dtype)[:, None, None]
    return backscatter(maps, stack, forward, **options)[:, 0, 0]


def shares(layers, energy):
    """Backscattered share xi of each layer by the formulas of Rau & Reimer; layers = (d, rho, Z) bottom to top."""
    found = []
    for d, rho, z in reversed(layers):
        m = d * rho**0.91
        room = 74 * energy**1.55 - m
        psi = m / room if room > 0 else math.inf
        found.insert(0, 1 - math.exp(-math.exp(0.022 * (z + 2)) / 0.49 * psi))
        energy *= math.exp(-(psi**0.45))
    return found


def recursion(layers, levels, energy):
    signal, through = 0.0, 1.0
    for xi, b in reversed(list(zip(shares(layers, energy), levels, strict=True))):
        signal += b * xi * through
        through *= 1 - xi
    return signal / 0.49 + through


# Gold 5 nm and gold 15 nm on silicon, from a printed table (two decimals).
@pytest.mark.parametrize(
    ("thickness", "expected"),
    [
        ((5, 0), (1.56, 1.39, 1.25, 1.14, 1.09, 1.05)),
        ((15, 0), (1.82, 1.73, 1.56, 1.37, 1.25, 1.14)),
    ],
)
def test_tabulated_signals(thickness, expected):
    signal = spectrum(AU_AL, thickness, energies_kev=(5, 7, 10, 15, 20, 30))
    assert signal.tolist() == pytest.approx(expected, abs=0.006)


def test_tabulated_published_contrast():
    signal = spectrum(AU_AL, (0, 150), "published", energies_kev=(5, 10, 20, 30))
    assert signal.tolist() == pytest.approx((1.72, 1.31, 1.11, 1.06), abs=0.006)


def test_one_layer_by_hand():
    # d = 5 nm, E = 5 keV: m = 5 * 19.3^0.91 = 73.9260, reach = 74 * 5^1.55 = 896.6, xi = 1 - exp(-12.127 psi)
    m, reach = 5 * math.exp(0.91 * math.log(19.3)), 74 * math.exp(1.55 * math.log(5))
    xi = 1 - math.exp(-math.exp(0.022 * 81) / 0.49 * m / (reach - m))
    expected = 1 + (0.90 / 0.49 - 1) * xi
    assert float(spectrum(AU_AL, (5, 0), energies_kev=(5,))) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(1.56, abs=0.005)


@pytest.mark.parametrize("symbols", [("Au",), ("Au", "Al"), ("Al", "Au", "Ti"), ("Au", "Al", "Cu", "C")])
def test_any_number_of_layers_follows_the_recursion(symbols):
    stack = stack_of(*symbols)
    thickness = torch.rand(len(symbols), 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 60
    thickness[0, 0, 0] = 0
    signal = backscatter(thickness, stack, "material")
    for y in range(5):
        for x in range(4):
            materials = [layer.material for layer in stack.layers]
            layers = [
                (float(d), m.density_g_cm3, m.atomic_number) for d, m in zip(thickness[:, y, x], materials, strict=True)
            ]
            expected = [recursion(layers, [m.base_signal for m in materials], e) for e in ENERGIES_KEV]
            assert signal[:, y, x].tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("forward", ["material", "published"])
def test_bare_substrate_is_one(forward):
    assert spectrum(AU_AL, (0, 0), forward).tolist() == [1.0] * 31


def test_gold_thicker_than_range_hides_substrate():
    assert spectrum(AU_AL, (1e5, 0)).tolist() == pytest.approx([0.90 / 0.49] * 31, rel=1e-12)


def test_aluminium_thicker_than_range_hides_gold():
    assert spectrum(AU_AL, (15, 1e6)).tolist() == pytest.approx([0.47 / 0.49] * 31, rel=1e-12)


def test_contrasts_differ_where_gold_is_missing():
    material, published = spectrum(AU_AL, (0, 100)), spectrum(AU_AL, (0, 100), "published")
    assert bool((material < 1).all())
    assert bool((published > 1).all())


def test_published_shows_gold_through_aluminium():
    xi_au, xi_al = shares([(10, 19.3, 79), (50, 2.7, 13)], 10)
    phi = xi_au * (1 - xi_al)
    signal = spectrum(AU_AL, (10, 50), "published", energies_kev=(10,))
    assert float(signal) == pytest.approx((0.49 * (1 - phi) + 0.90 * phi) / 0.49, rel=1e-12)
    assert 0.1 < phi < 0.9


def test_leading_axes_are_independent():
    thickness = torch.rand(3, 2, 4, 5, dtype=torch.float64) * 20
    whole = backscatter(thickness, AU_AL, "material")
    assert whole.shape == (3, 31, 4, 5)
    assert torch.equal(whole[1], backscatter(thickness[1], AU_AL, "material"))


@pytest.mark.parametrize("forward", ["material", "published"])
def test_derivative_is_right(forward):
    thickness = (torch.rand(2, 3, 3, dtype=torch.float64) * 8 + 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: backscatter(d, AU_AL, forward, (6, 15, 30)), (thickness,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("forward", ["material", "published"])
def test_gradients_are_finite_everywhere(forward, dtype):
    au = torch.cat([torch.tensor([0, 1e-12, 1e-6, 15.0, 60.6]), torch.linspace(58, 64, 60), torch.tensor([1e3, 1e5])])
    al = torch.cat([torch.tensor([0, 1e-12, 1e-6, 150, 362]), torch.linspace(355, 370, 60), torch.tensor([1e3, 1e5])])
    grid = torch.stack(torch.meshgrid(au, al, indexing="ij")).to(dtype).requires_grad_()
    signal = backscatter(grid, AU_AL, forward)
    signal.sum().backward()
    assert bool(torch.isfinite(signal).all())
    assert bool(torch.isfinite(grid.grad).all())


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("symbols", [("Au",), ("Au", "Al"), ("Al", "Au", "Ti"), ("Au", "Al", "Cu", "C")])
def test_compiled_kernel_agrees(symbols, forward):
    stack = stack_of(*symbols)
    thickness = torch.rand(len(symbols), 33, 70, generator=torch.Generator().manual_seed(2)) * 300
    thickness[:, :5] = 0
    thickness[0, 5:9] = 1e5
    exact = backscatter(thickness.double(), stack, forward).numpy()
    assert np.abs(forward_model(forward, stack).fast(thickness.numpy()) - exact).max() < 2e-6
    terraces = (thickness // 60 * 60).sort(-1).values
    exact = backscatter(terraces.double(), stack, forward).numpy()
    assert np.abs(forward_model(forward, stack).fast(terraces.numpy()) - exact).max() < 2e-6


def test_compiled_spectrum_does_not_depend_on_neighbours():
    thickness = np.random.default_rng(0).random((2, 40, 37), dtype=np.float32) * 100
    whole = forward_model("material", AU_AL).fast(thickness)
    part = forward_model("material", AU_AL).fast(thickness[:, 7:9, 3:20])
    assert np.array_equal(whole[:, 7:9, 3:20], part)


@pytest.mark.parametrize(
    "function", [backscatter, lambda d, stack, name="material": forward_model(name, stack).fast(d.numpy())]
)
def test_wrong_input_is_named(function):
    with pytest.raises(MicrotomoError, match=r"\(3, 4, 4\); stack au-al-si wants \(\.\.\., 2, y, x\)"):
        function(torch.zeros(3, 4, 4), AU_AL)
    with pytest.raises(MicrotomoError, match="unknown forward model 'phase'"):
        function(torch.zeros(2, 4, 4), AU_AL, "phase")


@pytest.mark.real_data
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_published_points(reference_data, dtype, tolerance):
    with (reference_data / "published_sem" / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    for row in rows:
        signal = spectrum(
            AU_AL,
            (float(row["au_nm"]), float(row["al_nm"])),
            row["contrast"],
            dtype,
            energies_kev=(float(row["energy_kev"]),),
        )
        assert float(signal) == pytest.approx(float(row["signal_over_substrate"]), abs=tolerance)


@pytest.mark.real_data
@pytest.mark.parametrize("forward", ["material", "published"])
def test_published_scans(reference_data, forward):
    reference = np.load(reference_data / "published_sem" / "reference.npz")
    thickness = reference["thickness_nm"].astype(np.float32)
    expected = reference[f"scan_{forward}"]
    assert np.abs(backscatter(torch.from_numpy(thickness), AU_AL, forward).numpy() - expected).max() < 1e-5
    for sample, scan in zip(thickness, expected, strict=True):
        assert np.abs(forward_model(forward, AU_AL).fast(sample) - scan).max() < 1e-5
