"""What every registered task, method and measurement promises; a new one is tested the day it is registered."""

import inspect
from typing import get_args

import numpy as np
import pytest
import torch

import microtomo
from microtomo.errors import MicrotomoError
from microtomo.models.micrographs.network import SegmenterNetwork
from microtomo.models.micrographs.network import run as run_network
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import get_task, list_measurements, list_methods, list_tasks
from microtomo.seeds import VALIDATION_SEED
from microtomo.simulate.scans import simulate_scan
from microtomo.tem.segmentation import segment
from microtomo.viz.colours import DARK_GREY, GREY, PALETTE
from problems import AU_AL, terraces

SCANS = [m.name for m in list_methods(input="scan") if m.ready()]
SEGMENTERS_READY = [m.name for m in list_methods(input="micrograph") if m.ready()]
UNTRAINED = [m.name for m in list_methods(input="micrograph") if not m.ready()]
TASKS = [t.name for t in list_tasks("micrograph")]
FIELDS = ("thickness", "uncertainty", "volume", "status")


def image_of(method, shape=None):
    """A synthetic image of a method's task, the upper left part of ``shape``."""
    (task,) = {m.task for m in list_methods(method)}
    image, _ = get_task(task).example(VALIDATION_SEED, 0)
    return image if shape is None else np.ascontiguousarray(image[: shape[0], : shape[1]])


def scan(height=12, width=16):
    return simulate_scan(AU_AL, terraces(AU_AL, height, width), forward="published", noise=0.02, seed=3)


@pytest.mark.parametrize("entry", [*list_methods(), *list_measurements()], ids=lambda entry: entry.name)
def test_it_says_what_it_does_and_whom_to_cite(entry):
    assert len(entry.summary) > 10
    assert not entry.summary[0].islower()
    assert len(getattr(entry, "citation", "measurements need none")) > 10


@pytest.mark.parametrize("method", list_methods(input="micrograph"), ids=lambda method: method.name)
def test_a_segmenter_explains_each_of_its_options(method):
    assert [name for name in method.options if f"``{name}``" not in inspect.getdoc(method.run)] == []


@pytest.mark.parametrize("measurement", list_measurements(), ids=lambda measurement: measurement.name)
def test_a_measurement_has_words_for_the_help_of_each_of_its_options(measurement):
    assert [p.name for p in measurement.settings if len(get_args(p.annotation)) != 2 or p.default is p.empty] == []


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_classes_that_can_be_told_apart_and_images_to_compare_on(name):
    task = get_task(name)
    names, colours = [c.name for c in task.classes], [c.colour for c in task.classes if c.colour]
    assert len(set(names)) == len(names) >= 2
    assert task.classes[0].colour is None, "the first class is what is left as it is"
    assert len(set(colours)) == len(colours) == len(names) - 1
    assert set(colours) <= {*PALETTE, GREY, DARK_GREY}, "colours are those of Okabe and Ito"
    image, labels = task.example(5, 1)
    again, _ = task.example(5, 1)
    assert (image.ndim, labels.dtype, image.shape) == (2, np.uint8, labels.shape)
    assert image.tobytes() == again.tobytes()
    assert labels.max() < len(names)
    normalised = task.preparation.normalise(image)
    assert (normalised.dtype, normalised.shape) == (np.float32, image.shape)
    assert min(image.shape) >= task.preparation.smallest_px
    perfect = task.metric.score(labels, labels, names)
    assert getattr(perfect, task.metric.key) == perfect.as_dict()[task.metric.key] == 1


@pytest.mark.parametrize("method", SEGMENTERS_READY)
@pytest.mark.parametrize("shape", [(64, 64), (47, 90)])
def test_a_segmenter_gives_a_class_and_probabilities_for_every_pixel(method, shape):
    image = image_of(method, shape)
    before = image.copy()
    result = segment(image, method)
    (task,) = {m.task for m in list_methods(method)}
    count = len(get_task(task).classes)
    assert (result.labels.dtype, result.labels.shape) == (np.uint8, shape)
    assert (result.probabilities.dtype, result.probabilities.shape) == (np.float32, (count, *shape))
    assert (result.probabilities >= 0).all()
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(result.labels, result.probabilities.argmax(0))
    assert sum(result.shares) == pytest.approx(1)
    assert result.method == method
    assert result.uncertainty is None or (result.uncertainty.shape == shape and (result.uncertainty >= 0).all())
    np.testing.assert_array_equal(image, before)
    again = segment(image, method)
    for field in ("labels", "probabilities", "uncertainty"):
        one, other = getattr(result, field), getattr(again, field)
        assert (one is other) or one.tobytes() == other.tobytes(), field


@pytest.mark.parametrize("method", SEGMENTERS_READY)
def test_a_segmenter_refuses_what_it_cannot_segment_in_a_sentence(method):
    image = image_of(method, (64, 64))
    spoilt = image.copy()
    spoilt[3, 4] = np.nan
    for wrong, said in (
        (spoilt, "1 of 4096 pixels are not finite"),
        (np.stack([image] * 3, -1), "colour"),
        (np.zeros((0, 0)), "is empty"),
        (np.ones((64, 64)), "nothing is recorded"),
    ):
        with pytest.raises(MicrotomoError, match=said) as caught:
            segment(wrong, method)
        assert "\n" not in str(caught.value)
    with pytest.raises(MicrotomoError, match="has no option 'no_such'"):
        segment(image, method, no_such=1)


@pytest.mark.parametrize("method", UNTRAINED)
def test_a_network_without_weights_says_how_to_get_some(method):
    with pytest.raises(MicrotomoError, match=f"{method} has no weights in the package.*train it with"):
        segment(image_of(method, (64, 64)), method)


@pytest.mark.parametrize("method", SCANS)
def test_a_method_for_scans_answers_alike_each_time_and_leaves_the_scan_as_it_was(method):
    given = scan()
    before = np.array(given.data)
    one, other = microtomo.reconstruct(given, method), microtomo.reconstruct(given, method)
    for field in FIELDS:
        assert np.asarray(getattr(one, field)).tobytes() == np.asarray(getattr(other, field)).tobytes(), field
    assert np.array_equal(given.data, before)
    assert np.asarray(one.thickness).shape == (2, 12, 16)


@pytest.mark.parametrize("method", SCANS)
def test_a_method_for_scans_refuses_nan_and_unknown_options_in_a_sentence(method):
    spoilt = np.array(scan().data)
    spoilt[3, 2, 1] = np.nan
    for data, options, said in ((spoilt, {}, "NaN"), (scan(), {"no_such": 1}, "no_such")):
        with pytest.raises(MicrotomoError, match=said) as caught:
            microtomo.reconstruct(data, method, forward="published", stack=AU_AL, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.cuda
@pytest.mark.parametrize("method", SCANS)
def test_a_method_for_scans_gives_the_same_on_a_gpu(method):
    signal = torch.as_tensor(scan(24, 24).data)
    options = {"forward": "published", "stack": AU_AL, "noise": 0.02}
    there = microtomo.reconstruct(signal.cuda(), method, **options)
    here = microtomo.reconstruct(signal, method, **options)
    assert there.thickness.is_cuda
    for field in ("thickness", "uncertainty"):
        far = (getattr(there, field).cpu() - getattr(here, field)).abs() > 0.05 * torch.tensor(AU_AL.max_nm)[
            :, None, None
        ]
        assert float(far.float().mean()) < 0.01, field


@pytest.mark.cuda
@pytest.mark.parametrize("method", [m.name for m in list_methods(input="micrograph") if m.learned and m.ready()])
def test_a_segmenter_gives_the_same_on_a_gpu(method):
    network, image = load_network(shipped_weights(method), SegmenterNetwork), image_of(method)
    here = run_network(network, image, 2, {})
    there = run_network(network.cuda(), image, 2, {})
    network.cpu()
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=0.02)
