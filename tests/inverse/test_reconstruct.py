import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.inverse.reconstruct import reconstruct
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.metrics import voxel_scores
from microtomo.physics.forward import backscatter
from microtomo.registry import Method
from microtomo.scan import Scan, Status
from microtomo.simulate.scans import simulate_scan
from microtomo.voxels import thickness_to_volume

STACK = load_stack("au-al-si")
FIELDS = ("thickness", "uncertainty", "volume", "chi_square", "status")


def pads(height=12, width=10, samples=None):
    """Gold pads of 5 and 12 nm under 60 nm of aluminium, float32 array."""
    thickness = np.zeros((2, height, width), np.float32)
    thickness[0, 2:-2, : width // 2], thickness[0, 2:-2, width // 2 :] = 5, 12
    thickness[1, height // 2 :] = 60
    return thickness if samples is None else np.stack([thickness * (1 - 0.1 * i) for i in range(samples)])


def recorded(samples=None, **settings):
    return simulate_scan(STACK, pads(samples=samples), **settings)


def likelihood(scan, **settings):
    return reconstruct(scan, "likelihood", **settings)


def equal(one, other):
    for field in FIELDS:
        np.testing.assert_array_equal(np.asarray(getattr(one, field)), np.asarray(getattr(other, field)), err_msg=field)


@pytest.mark.parametrize("samples", [None, 1, 3])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_the_kind_and_the_sample_axis_that_came_in_come_out(samples, kind):
    data = kind(recorded(samples).data)
    leading = () if samples is None else (samples,)
    for scan in (data, Scan(data, STACK.energies_kev)):
        found = likelihood(scan)
        for field in FIELDS:
            assert isinstance(getattr(found, field), type(data)), field
        assert tuple(found.thickness.shape) == tuple(found.uncertainty.shape) == (*leading, 2, 12, 10)
        assert tuple(found.volume.shape) == (*leading, 16, 12, 10)
        assert tuple(found.chi_square.shape) == tuple(found.status.shape) == (*leading, 12, 10)
        assert "uint8" in str(found.volume.dtype)
        assert "uint8" in str(found.status.dtype)


@pytest.mark.parametrize("method", ["likelihood", "map", "tikhonov"])
def test_layout_and_precision_of_an_array_do_not_matter(method):
    data = recorded().data
    expected = reconstruct(data, method)
    wide = np.zeros((31, 24, 20), np.float32)
    wide[:, ::2, ::2] = data
    frozen = data.copy()
    frozen.flags.writeable = False
    for other in (data.astype("f8"), data.astype(">f4"), np.asfortranarray(data), wide[:, ::2, ::2], frozen):
        equal(reconstruct(other, method), expected)
    equal(reconstruct(data[:, ::-1, ::-1][:, ::-1, ::-1], method), expected)


def test_the_scan_is_left_as_it_was_and_needs_no_gradient():
    data = torch.tensor(recorded().data, requires_grad=True)
    before = data.detach().clone()
    found = likelihood(data)
    assert torch.equal(data.detach(), before)
    assert not found.thickness.requires_grad


def test_what_the_scan_knows_is_used_and_kept():
    scan = recorded(forward="published")
    found = likelihood(Scan(scan.data, scan.energies_kev, 4.0, scan.stack, "published", history={"seed": 5}))
    assert (found.forward, found.pixel_nm, found.stack, found.method) == ("published", 4, STACK, "likelihood")
    assert found.history["seed"] == 5
    assert found.seconds > 0
    assert likelihood(scan.data).forward == "transport"
    assert likelihood(scan, forward="material").forward == "material"
    assert likelihood(scan, iterations=3).history["options"] == {"iterations": 3}


def test_voxel_size_and_rule_reach_the_volume():
    scan = recorded(noise=0.0)
    fine = reconstruct(scan, "tikhonov", voxel_nm=5.0)
    assert fine.volume.shape == (33, 12, 10)
    np.testing.assert_array_equal(fine.volume, thickness_to_volume(scan.truth, 33, 5.0))
    centre = reconstruct(scan, "tikhonov", rule="centre")
    np.testing.assert_array_equal(centre.volume, thickness_to_volume(centre.thickness, 16, 10.0, "centre"))


def test_energies_may_be_a_part_of_the_stack_s():
    energies = [5.0, 8.0, 12.0, 18.0, 26.0, 35.0, 40.0]
    scan = simulate_scan(STACK, pads(), energies_kev=energies)
    found = reconstruct(scan.data, "likelihood", energies_kev=energies, noise=0.02)
    assert found.stack.energies_kev == tuple(energies)
    assert float(np.median(found.chi_square)) == pytest.approx(1 - 2 / 7, abs=0.35)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
def test_the_noise_level_is_estimated_where_it_is_not_given(noise):
    scan = simulate_scan(STACK, pads(30, 30), noise=noise, seed=3)
    assert likelihood(scan.data).noise == pytest.approx(noise, rel=0.05)
    assert likelihood(scan.data, noise=0.07).noise == pytest.approx(0.07)


def test_chi_square_is_the_residual_of_the_re_simulated_signal():
    scan = recorded()
    found = likelihood(scan, noise=0.03)
    signal = backscatter(torch.tensor(found.thickness).double(), STACK).numpy()
    expected = ((scan.data / signal - 1) ** 2).mean(0) / 0.03**2
    np.testing.assert_allclose(found.chi_square, expected, rtol=1e-4)


def test_a_good_fit_is_ok_and_chi_square_is_near_one():
    found = likelihood(recorded(), iterations=200, noise=0.02)
    assert float(np.mean(found.chi_square)) == pytest.approx(1 - 2 / 31, abs=0.05)
    assert float((found.status == Status.OK).mean()) > 0.99


def test_pixels_that_no_stack_explains_are_a_poor_fit():
    data = recorded().data.copy()
    data[:, 3, 4] = np.linspace(1.8, 0.9, 31) ** 3
    found = likelihood(data, noise=0.02, as_is=True)
    assert found.status[3, 4] in (Status.POOR_FIT, Status.OUT_OF_RANGE)
    alone = likelihood(data, noise=0.02)
    assert alone.status[3, 4] == Status.REJECTED
    assert alone.rejected[3, 4] == 31
    assert alone.rejected.sum() == 31
    assert (found.status == Status.POOR_FIT).sum() + (found.status == Status.OUT_OF_RANGE).sum() <= 2


def test_a_method_that_stopped_early_says_so():
    assert (likelihood(recorded(), iterations=1).status == Status.NOT_CONVERGED).any()


@pytest.mark.parametrize("method", ["likelihood", "map", "tikhonov"])
def test_gold_beyond_the_range_of_the_stack_is_no_silent_guess(method):
    truth = pads()
    truth[0, 4:8, 3:7] = 80.0
    found = reconstruct(simulate_scan(STACK, truth), method, noise=0.02)
    assert (found.status[4:8, 3:7] == Status.OUT_OF_RANGE).all()
    assert (found.status[:2] != Status.OUT_OF_RANGE).all()


@pytest.mark.parametrize("method", ["likelihood", "map", "tikhonov"])
def test_a_layer_that_no_energy_sees_through_is_out_of_range(method):
    # 5 keV electrons stop in 60 nm of gold (74 * 5^1.55 / 19.3^0.91 = 61): the data cannot tell 70 from 90 nm
    m = builtin_materials()
    gold = Layer(material=m["Au"], max_nm=100)
    stack = Stack(name="thick", substrate=m["Si"], layers=(gold,), energies_kev=(4, 4.5, 5))
    truth = np.full((1, 8, 8), 80, np.float32)
    truth[:, :, :4] = 4
    found = reconstruct(simulate_scan(stack, truth), method, noise=0.02)
    assert (found.status[:, 4:] == Status.OUT_OF_RANGE).all()
    assert (found.status[:, :4] != Status.OUT_OF_RANGE).all()


BAD_VALUES = [(np.nan, "1 NaN or infinite"), (np.inf, "1 NaN or infinite"), (-0.25, "1 negative values .down to -0.25")]


@pytest.mark.parametrize(("value", "sentence"), BAD_VALUES)
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_nan_and_negative_signals_are_refused(value, sentence, kind):
    data = recorded().data.copy()
    data[7, 2, 3] = value
    with pytest.raises(MicrotomoError, match=sentence):
        reconstruct(kind(data))


def test_thirty_energies_for_a_stack_of_thirty_one_are_refused():
    with pytest.raises(MicrotomoError, match=r"30 images but 31 energies \(5\.\.35 keV\): pass --energies or trim"):
        reconstruct(recorded().data[:30])


def test_energies_in_ev_are_refused():
    with pytest.raises(MicrotomoError, match=r"look like eV: give them in keV \(5\.\.35\)"):
        reconstruct(recorded().data, energies_kev=[1000 * e for e in STACK.energies_kev])


def test_energies_that_contradict_the_scan_are_refused():
    with pytest.raises(MicrotomoError, match="energies of its own"):
        reconstruct(recorded(), energies_kev=STACK.energies_kev[:30])


@pytest.mark.parametrize("shape", [(31, 0, 4), (31, 4, 0), (0, 31, 4, 4), (0, 4, 4), (31, 4), (1, 1, 31, 4, 4)])
def test_images_of_size_zero_and_other_axes_are_refused(shape):
    with pytest.raises(MicrotomoError, match=r"empty|is \(energy, y, x\)"):
        reconstruct(np.ones(shape, np.float32))


@pytest.mark.parametrize("factor", [1e3, 40.0, 0.49, 0.01])
@pytest.mark.parametrize("forward", ["material", "published"])
def test_a_signal_that_is_not_normalised_is_refused_with_the_way_out(factor, forward):
    scan = recorded(forward=forward)
    with pytest.raises(MicrotomoError, match="divide every energy by its mean over bare substrate") as caught:
        reconstruct(scan.data * np.float32(factor), forward=forward)
    assert "--substrate" in str(caught.value)
    assert "Scan.normalised" in str(caught.value)
    rescued = Scan(scan.data * np.float32(factor), scan.energies_kev).normalised(slice(0, 2), slice(None))
    likelihood(rescued, forward=forward)


def test_whole_counts_are_refused_too():
    counts = (recorded().data * 900).astype(np.uint16)
    with pytest.raises(MicrotomoError, match="looks like raw counts"):
        reconstruct(counts)


@pytest.mark.parametrize("nm", [(0, 0), (15, 0), (0, 150), (15, 150)])
@pytest.mark.parametrize("forward", ["material", "published"])
def test_the_darkest_and_the_brightest_scan_count_as_normalised(nm, forward):
    truth = np.ones((2, 9, 9)) * np.array(nm)[:, None, None]
    scan = simulate_scan(STACK, truth, forward=forward, noise=0.05)
    assert likelihood(scan).thickness.shape == (2, 9, 9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "mapp"}, r"unknown method 'mapp'; did you mean map"),
        ({"forward": "publish"}, "unknown forward model 'publish'; did you mean published"),
        ({"rule": "round"}, "unknown voxel rule 'round'"),
        ({"stack": "au-al"}, "unknown stack 'au-al'; did you mean au-al-si"),
        ({"jumps": 3}, r"method map has no option 'jumps'; did you mean jump\?"),
        ({"method": "likelihood", "jump": 3}, "method likelihood has no option 'jump'; known: iterations"),
        ({"noise": 2.0}, "noise 2 is impossible: give a relative level, 0.02 for 2 %"),
        ({"noise": -0.1}, "noise -0.1 is impossible"),
        ({"noise": float("nan")}, "noise nan is impossible"),
        ({"voxel_nm": 0.0}, "voxel size 0 nm is impossible"),
        ({"voxel_nm": -10.0}, "voxel size -10 nm is impossible"),
    ],
)
def test_impossible_settings_are_refused(settings, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        reconstruct(recorded().data, **settings)


@pytest.mark.parametrize("values", [np.full((31, 2, 2), "a"), np.full((31, 2, 2), None), np.ones((31, 2, 2), complex)])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(MicrotomoError, match="expected an array of numbers"):
        reconstruct(values)


def test_bad_input_is_refused_before_any_work_is_done(monkeypatch):
    def run(signal, problem):
        raise AssertionError("the method was called")

    monkeypatch.setattr("microtomo.inverse.reconstruct.get_method", lambda name: Method(name, "layers", "", "", run))
    for data in (recorded().data * 100, -recorded().data, recorded().data * np.nan):
        with pytest.raises(MicrotomoError):
            reconstruct(data)


@pytest.mark.real_data
@pytest.mark.parametrize("forward", ["material", "published"])
def test_the_reference_scans_are_reconstructed(reference_data, forward):
    reference = np.load(reference_data / "published_sem" / "reference.npz")
    part = np.s_[..., 40:88, 40:88]
    signal = reference[f"scan_{forward}"][[0, 3]][part]
    truth = reference["thickness_nm"][[0, 3]][part].astype(np.float32)
    noisy = signal * (1 + 0.02 * np.random.default_rng(0).standard_normal(signal.shape, dtype=np.float32))
    found = reconstruct(noisy, "map", forward=forward, energies_kev=reference["energy_kev"])
    assert found.noise == pytest.approx(0.02, rel=0.05)
    scores = voxel_scores(found.volume, thickness_to_volume(truth), ["none", "Au", "Al"])
    assert scores.miou > {"published": 0.98, "material": 0.85}[forward]
    baseline = reconstruct(noisy, "tikhonov", forward=forward)
    assert voxel_scores(baseline.volume, thickness_to_volume(truth), ["none", "Au", "Al"]).miou < scores.miou


def test_few_energies_take_the_noise_that_the_scan_says():
    scan = simulate_scan("au-al-si", np.full((2, 6, 6), 8.0, np.float32), noise=0.01, energies_kev=(5, 8, 12))
    found = reconstruct(scan, "likelihood")
    assert found.noise == pytest.approx(0.01)
    assert found.thickness == pytest.approx(reconstruct(scan, "likelihood", noise=0.01).thickness)
    assert reconstruct(scan, "likelihood", noise=0.05).noise == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": "a"}, "noise 'a' is impossible"),
        ({"device": "foo"}, "device 'foo' is not available"),
        ({"energies_kev": (5.0, 10.0, 20.0)}, "3 energies are too few"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, words):
    scan = np.ones((len(settings.get("energies_kev", range(31))), 4, 4), np.float32)
    with pytest.raises(MicrotomoError, match=words):
        reconstruct(scan, "likelihood", **settings)
