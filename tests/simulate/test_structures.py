import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.simulate.structures import KINDS, make_structure

AU_AL = load_stack("au-al-si")


@pytest.fixture(scope="module")
def many():
    return torch.stack([make_structure(AU_AL, "perlin", (2 * i, 2 * i + 1), 128, 128) for i in range(200)])


def test_published_share_of_bare_pixels(many):
    assert float((many[:, 0] == 0).double().mean()) == pytest.approx(0.64, abs=0.04)
    assert float((many[:, 1] == 0).double().mean()) == pytest.approx(0.71, abs=0.04)


def test_published_number_of_levels(many):
    # the published means are of 60 samples: standard errors 0.25 and 0.12
    levels = np.array([[len(layer.unique()) - 1 for layer in sample] for sample in many])
    assert levels.mean(0) == pytest.approx([6.9, 3.4], abs=0.6)


def test_published_greatest_thickness(many):
    assert set(many[:, 0].amax((-2, -1)).tolist()) == {15.0}
    assert set(many[:, 1].amax((-2, -1)).tolist()) == {150.0}


def test_published_aluminium_levels(many):
    values, counts = many[:, 1][many[:, 1] > 0].unique(return_counts=True)
    common = {float(v) for v, c in zip(values, counts, strict=True) if c > 0.02 * counts.sum()}
    assert {37.0, 50.0, 75.0, 100.0, 112.0, 150.0} <= common


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 50), (128, 128)])
def test_any_kind_and_size(kind, height, width):
    thickness = make_structure(AU_AL, kind, (11, 12), height, width)
    assert thickness.shape == (2, height, width)
    assert thickness.dtype == torch.float32
    assert float(thickness.min()) >= 0
    assert float(thickness[0].max()) <= 15
    assert float(thickness[1].max()) <= 150


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_any_number_of_layers(kind, count):
    m = builtin_materials()
    layers = tuple(Layer(material=m[s], max_nm=10.5 * (k + 1)) for k, s in enumerate(("Au", "Al", "Ti", "Cu")[:count]))
    stack = Stack(name="many", substrate=m["Si"], layers=layers)
    thickness = make_structure(stack, kind, range(count), 40, 60)
    assert thickness.shape == (count, 40, 60)
    assert all(float(thickness[k].max()) <= 10.5 * (k + 1) for k in range(count))


@pytest.mark.parametrize("kind", ["perlin", "continuous", "lithography", "pads"])
def test_a_layer_depends_on_its_seed_alone(kind):
    one, other = make_structure(AU_AL, kind, (1, 2), 64, 64), make_structure(AU_AL, kind, (9, 2), 64, 64)
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], other[0])


def test_continuous_has_no_terraces():
    gold = make_structure(AU_AL, "continuous", (3, 4), 64, 64)[0]
    assert len(gold[gold > 0].unique()) > 0.9 * int((gold > 0).sum())
    assert float(gold.max()) == 15


def test_lithography_has_sharp_edges_and_few_levels():
    steps, levels = [], []
    for seed in range(40):
        gold = make_structure(AU_AL, "lithography", (seed, 0), 128, 128)[0]
        steps.append(float((gold.diff(dim=1) != 0).double().mean()))
        levels.append(len(gold.unique()))
    assert max(steps) < 0.2
    assert 2 <= max(levels) <= 40
    assert min(levels) >= 1


def test_experimental_pads_by_hand():
    gold, aluminium = make_structure(AU_AL, "experimental", (0, 0), 128, 128)
    assert [float(gold[y, x]) for y, x in ((64, 21), (105, 62), (64, 63), (105, 105), (21, 63), (63, 105))] == [
        10, 10, 15, 15, 5, 5,
    ]  # fmt: skip
    assert [float(gold[y, x]) for y, x in ((63, 62), (106, 63), (20, 63), (64, 106), (40, 40))] == [0] * 5
    assert float(aluminium.sum()) == 150 * 42 * 42
    assert [float(aluminium[y, x]) for y, x in ((43, 43), (84, 84), (42, 43), (85, 84))] == [150, 150, 0, 0]


@pytest.mark.real_data
def test_experimental_structure_of_the_reference(reference_data):
    expected = np.load(reference_data / "published_sem" / "reference.npz")["thickness_nm"][3]
    assert np.array_equal(make_structure(AU_AL, "experimental", (0, 0), 128, 128).numpy(), expected)


def test_impossible_structures_are_named():
    with pytest.raises(MicrotomoError, match=r"unknown structure kind 'perln'.*perlin"):
        make_structure(AU_AL, "perln", (1, 2), 8, 8)
    with pytest.raises(MicrotomoError, match="0 x 8 is impossible"):
        make_structure(AU_AL, "perlin", (1, 2), 0, 8)
    with pytest.raises(MicrotomoError, match="3 layer seeds for 2 layers"):
        make_structure(AU_AL, "perlin", (1, 2, 3), 8, 8)


def test_pads_have_round_thicknesses_where_lithography_has_shapes():
    for seed in range(5):
        shapes, pads = (make_structure(AU_AL, kind, (seed, seed + 50), 64, 64) for kind in ("lithography", "pads"))
        assert torch.equal(shapes > 0, pads > 0)
        gold, aluminium = pads
        assert set(gold.unique().tolist()) <= {float(nm) for nm in range(16)}
        assert set(aluminium.unique().tolist()) <= {10.0 * nm for nm in range(16)}
