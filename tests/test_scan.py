import numpy as np
import pytest
import torch

from making import STACK, make_reconstruction, make_scan
from microtomo.errors import MicrotomoError
from microtomo.scan import Scan, Status, as_tensor, like


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_a_scan_passes_for_its_array(kind):
    values = kind(np.arange(24.0).reshape(2, 3, 4))
    scan = Scan(values, (5.0, 10.0))
    assert scan.shape == (2, 3, 4)
    assert scan.ndim == 3
    assert isinstance(np.asarray(scan), np.ndarray)
    np.testing.assert_array_equal(np.asarray(scan), np.arange(24.0).reshape(2, 3, 4))
    assert np.asarray(scan, dtype=np.float32).dtype == np.float32
    assert type(scan[1]) is type(values)
    assert float(scan[1, 2, 3]) == 23


def test_a_scan_that_needs_gradients_passes_for_its_array():
    scan = Scan(torch.ones(1, 2, 2, requires_grad=True), (5.0,))
    assert np.asarray(scan).sum() == 4


@pytest.mark.parametrize("shape", [(31,), (31, 4), (1, 1, 31, 4, 4)])
def test_wrong_number_of_axes_is_refused(shape):
    with pytest.raises(MicrotomoError, match=r"\(energy, y, x\) or \(sample, energy, y, x\); got shape"):
        Scan(np.ones(shape), STACK.energies_kev)


@pytest.mark.parametrize("shape", [(31, 0, 4), (31, 4, 0), (0, 31, 4, 4), (0, 4, 4)])
def test_an_image_of_size_zero_is_refused(shape):
    with pytest.raises(MicrotomoError, match="scan is empty: shape"):
        Scan(np.ones(shape), STACK.energies_kev)


@pytest.mark.parametrize("shape", [(30, 4, 4), (2, 30, 4, 4)])
def test_thirty_images_for_thirty_one_energies_are_refused(shape):
    with pytest.raises(MicrotomoError, match=r"scan has 30 images but 31 energies \(5\.\.35 keV\): pass --energies"):
        Scan(np.ones(shape), STACK.energies_kev)


@pytest.mark.parametrize(
    ("energies", "sentence"),
    [((5000, 35000), r"eV: give them in keV \(5\.\.35\)"), ((10, 5), "increase strictly"), ((5, np.nan), "finite")],
)
def test_impossible_energies_are_refused(energies, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        Scan(np.ones((2, 4, 4)), energies)


@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_normalising_divides_every_energy_by_its_bare_substrate(samples, kind):
    original = make_scan(samples)
    beam = np.linspace(100, 4000, 31)[:, None, None]
    ideal = original.data.copy()
    ideal[..., 0:2, 1:4] = 1.0
    scan = Scan(kind(ideal * beam), original.energies_kev, pixel_nm=7, history={"from": "somewhere"})
    normal = scan.normalised(slice(0, 2), slice(1, 4))
    np.testing.assert_allclose(np.asarray(normal), ideal, rtol=1e-12)
    assert isinstance(normal.data, type(scan.data))
    assert (normal.pixel_nm, normal.history, normal.energies_kev) == (7, scan.history, scan.energies_kev)
    np.testing.assert_array_equal(np.asarray(scan), ideal * beam)


def test_a_substrate_region_outside_the_image_is_refused():
    with pytest.raises(MicrotomoError, match="reaches beyond"):
        make_scan().normalised(slice(100, 110), slice(0, 3))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_tensor_of_an_array_keeps_values_and_precision(dtype):
    array = np.linspace(-1, 1, 12, dtype=dtype).reshape(3, 4)
    for view in (array, array[::-1, ::2], np.asfortranarray(array)):
        tensor = as_tensor(view)
        assert tensor.dtype == {4: torch.float32, 8: torch.float64}[array.dtype.itemsize]
        np.testing.assert_array_equal(tensor.numpy(), view)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i4", ">i8", "f2", "?"])
def test_other_numbers_become_float32(dtype):
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    assert as_tensor(array).dtype == torch.float32
    np.testing.assert_array_equal(as_tensor(array).numpy(), array.astype(float))
    assert as_tensor(torch.tensor([1, 2])).dtype == torch.float32


def test_tensors_are_not_copied():
    tensor = torch.ones(3, dtype=torch.float64)
    assert as_tensor(tensor) is tensor


def test_read_only_arrays_are_taken_without_a_warning():
    array = np.ones((2, 2), np.float32)
    array.flags.writeable = False
    assert float(as_tensor(array).sum()) == 4
    assert float(as_tensor(np.broadcast_to(np.float64(2), (2, 2))).sum()) == 8


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([None]), np.array([1j]), None])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(MicrotomoError, match="expected an array of numbers"):
        as_tensor(values)


def test_results_come_back_as_the_kind_that_came_in():
    result = torch.ones(2, requires_grad=True)
    assert isinstance(like(result, np.ones(1)), np.ndarray)
    assert isinstance(like(result, [1.0]), np.ndarray)
    assert like(result, torch.ones(1)) is result


def test_every_status_says_what_to_do():
    messages = {s.message for s in Status}
    assert len(messages) == len(Status)
    assert "raise max_nm or the beam energy" in Status.OUT_OF_RANGE.message


@pytest.mark.parametrize("samples", [None, 2])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_summary_counts_the_pixels_of_each_status(samples, kind):
    leading = () if samples is None else (samples,)
    status = np.zeros((*leading, 2, 5), np.uint8)
    status[..., 0, 0] = Status.OUT_OF_RANGE
    status[..., 0, 1:4] = Status.POOR_FIT
    chi_square = np.full((*leading, 2, 5), 1.25)
    summary = make_reconstruction(status=kind(status), chi_square=kind(chi_square)).summary()
    assert summary.startswith("map: 60.0% ok, 30.0% poor fit, 10.0% out of range;")
    assert "mean chi-square 1.25" in summary
    assert "not converged" not in summary
