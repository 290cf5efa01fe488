"""Bragg filter, local deviation, the fit of their parameters, and the ways into them."""

import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.registry import get_method, list_methods
from microtomo.tem import thresholds
from microtomo.tem.graphene import bragg
from microtomo.tem.illumination import normalise
from microtomo.tem.segmentation import binned, enlarged, segment
from microtomo.tem.smoothing import gaussian_mean

METHODS = ["bragg", "local-std"]
Q = [(0.11, 0.03), (-0.03, 0.12), (0.081, -0.089)]  # 1/px


def lattice(shape=(128, 128), level=1000.0, depth=0.1):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return level * (1 + depth * sum(np.cos(2 * np.pi * (qy * y + qx * x) + k) for k, (qy, qx) in enumerate(Q)))


def contaminated(shape=(128, 128), seed=0, noise=20.0):
    """A lattice with a disc of disorder on it, and the disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = np.hypot(y - 0.4 * shape[0], x - 0.6 * shape[1]) < 0.18 * min(shape)
    image = lattice(shape) + noise * rng.standard_normal(shape)
    return image + disc * 350 * rng.standard_normal(shape), disc


def agreement(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def test_peaks_lie_where_the_lattice_has_them():
    peaks = bragg.find_peaks(normalise(lattice()), 0.8)
    assert len(peaks) == 3
    for q in Q:
        distance = np.minimum(np.hypot(*(peaks - q).T), np.hypot(*(peaks + q).T))
        assert distance.min() < 0.1 / 128  # a tenth of a pixel of the transform


@pytest.mark.parametrize("qx", [0.0, 1 / 128, -0.2], ids=["on axis", "beside the axis", "negative"])
def test_each_pair_is_found_once_wherever_it_lies(qx):
    y, x = np.mgrid[:128, :128]
    peaks = bragg.find_peaks(normalise(100 * (1 + 0.3 * np.cos(2 * np.pi * (0.17 * y + qx * x)))), 0.8)
    assert len(peaks) == 1
    assert min(np.hypot(*(peaks[0] - (0.17, qx))), np.hypot(*(peaks[0] + (0.17, qx)))) < 0.2 / 128


def test_at_most_so_many_peaks_the_highest_first():
    flat = normalise(lattice() + 100 * np.random.default_rng(0).standard_normal((128, 128)))
    assert len(bragg.find_peaks(flat, 0.01, most=24)) == 12
    few = bragg.find_peaks(flat, 0.01, most=6)
    assert len(few) == 3
    for q in Q:
        assert min(np.hypot(*(few - q).T).min(), np.hypot(*(few + q).T).min()) < 1 / 128


def test_peaks_weigh_by_their_frequency():
    y, x = np.mgrid[:128, :128]
    image = 100 * (1 + 0.12 * np.cos(2 * np.pi * 0.1 * x) + 0.1 * np.cos(2 * np.pi * 0.3 * y))
    first = bragg.find_peaks(normalise(image), 0.1)[0]
    np.testing.assert_allclose(np.abs(first), [0.3, 0], atol=1e-3)  # the weaker wave of three times the frequency


@pytest.mark.parametrize("sigma", [0.01, 0.06], ids=["apart", "overlapping"])
def test_filtering_is_the_sum_of_apertures_of_the_formula(sigma):
    flat, peaks = normalise(lattice()), np.array(Q)
    padded = np.pad(flat, 32, mode="symmetric").astype(float)
    qy, qx = np.fft.fftfreq(192)[:, None], np.fft.fftfreq(192)[None]
    opening = sum(
        np.exp(-(((qy - s * a + 0.5) % 1 - 0.5) ** 2 + ((qx - s * b + 0.5) % 1 - 0.5) ** 2) / 2 / sigma**2)
        for a, b in Q
        for s in (1, -1)
    )
    wanted = np.fft.ifft2(np.fft.fft2(padded) * np.minimum(opening, 1)).real[32:-32, 32:-32]
    np.testing.assert_allclose(bragg.filtered(flat, peaks, sigma), wanted, atol=1e-4)


def test_means_near_the_border_count_pixels_inside_alone():
    image = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    y, x = np.mgrid[:40, :50]
    weight = np.exp(-((y - 0) ** 2 + (x - 3) ** 2) / 2 / 4.0**2)
    assert gaussian_mean(image, 4.0)[0, 3] == pytest.approx(float((weight * image).sum() / weight.sum()), rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_disorder_is_found_and_the_lattice_is_not(method):
    image, disc = contaminated((256, 256))
    found = segment(image, method)
    assert agreement(found.mask, disc) > 0.7
    assert found.mask.dtype == bool
    assert found.method == method
    np.testing.assert_array_equal(found.mask, found.probability > 0.5)
    assert 0 <= found.probability.min() <= found.probability.max() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(101, 173), (64, 300)])
def test_odd_and_long_images_keep_their_shape(method, shape):
    found = segment(contaminated(shape)[0], method)
    assert found.mask.shape == found.probability.shape == shape


@pytest.mark.parametrize("method", METHODS)
def test_brightness_and_gain_do_not_matter(method):
    image, _ = contaminated()
    np.testing.assert_array_equal(segment(image, method).mask, segment(image * 37, method).mask)


def test_large_images_are_binned_as_the_published_ones_were():
    small, _ = contaminated((256, 256))
    large = np.kron(small, np.ones((4, 4)))
    found = segment(large, "bragg")
    assert found.options["binning"] == 4
    np.testing.assert_array_equal(found.mask, np.kron(segment(small, "bragg").mask, np.ones((4, 4), bool)))
    assert "binning" not in segment(large[:600, :600], "bragg", binning=1).options


def test_binning_means_and_enlarging_repeats():
    image = np.arange(35, dtype=np.float32).reshape(5, 7)
    np.testing.assert_allclose(binned(image, 2)[1], [(14 + 15 + 21 + 22) / 4, (16 + 17 + 23 + 24) / 4, 22])
    assert enlarged(binned(image, 2), 2, (5, 7))[4].tolist() == [18, 18, 20, 20, 22, 22, 22]


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_fitted_to_the_best_overlap(method):
    images, masks = zip(*(contaminated(seed=s) for s in range(3)), strict=True)
    options = thresholds.fit(method, images, masks)
    fitted = np.mean([agreement(segment(i, method, **options).mask, m) for i, m in zip(images, masks, strict=True)])
    for factor in (0.8, 1.25):
        other = {**options, "mask_threshold": options["mask_threshold"] * factor}
        worse = np.mean([agreement(segment(i, method, **other).mask, m) for i, m in zip(images, masks, strict=True)])
        assert worse < fitted
    assert fitted > 0.85


def test_counting_by_bins_agrees_with_comparing():
    score = np.random.default_rng(0).gamma(2.0, 0.5, 5000).astype(np.float32)
    score[0] = 0
    number = thresholds._bins(score)
    for k in (0, 500, 1000, 1800):
        assert ((number > k) != (score > thresholds.EDGES[k])).sum() <= 1  # one may lie on the edge itself


def test_fitting_needs_contaminants_and_a_filter():
    image, disc = contaminated()
    with pytest.raises(MicrotomoError, match="label some"):
        thresholds.fit("bragg", [image], [np.zeros_like(disc)])
    with pytest.raises(MicrotomoError, match="1 images but 2 masks"):
        thresholds.fit("bragg", [image], [disc, disc])
    with pytest.raises(MicrotomoError, match="not fitted by thresholds"):
        thresholds.fit("map", [image], [disc])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((0, 5)), "is empty"),
        (np.ones((64, 64, 3)), "colour"),
        (np.ones((4, 64, 64)), "one image at a time"),
        (np.ones((20, 64)), "20 x 64 pixels: at least 32 x 32"),
        (np.full((64, 64), np.nan), "4096 of 4096 pixels are not finite"),
        (np.full((64, 64), 7), "every pixel of the image is 7"),
    ],
)
def test_what_is_no_micrograph_is_told_so(image, said):
    with pytest.raises(MicrotomoError, match=said):
        segment(image, "bragg")


def test_wrong_methods_and_options_are_told():
    image, _ = contaminated()
    with pytest.raises(MicrotomoError, match="'map' is for task layers, not for micrographs"):
        segment(image, "map")
    with pytest.raises(MicrotomoError, match="bragg has no option 'sigma'"):
        segment(image, "bragg", sigma=1)
    with pytest.raises(MicrotomoError, match="choose 1 to 4"):
        segment(image, "bragg", binning=5)
    with pytest.raises(MicrotomoError, match="must be positive"):
        segment(image, "local-std", mask_threshold=0)


def test_both_are_registered_for_micrographs():
    assert set(METHODS) <= {m.name for m in list_methods(task="contaminant")}
    assert "Sadre" in get_method("bragg").citation
