import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtomo.errors import MicrotomoError
from microtomo.metrics import label_scores, thickness_scores, voxel_scores

CLASSES = ["none", "Au", "Al"]


def volume(*labels):
    return np.array(labels, np.uint8)[:, None, None]


@pytest.mark.real_data
def test_published_protocol_on_the_reference_case(reference_data):
    case = np.load(reference_data / "published_sem" / "metric_case.npz")
    scores = voxel_scores(case["predicted"], case["true"], CLASSES)
    assert scores.miou == pytest.approx(float(case["miou"]), abs=1e-6)
    assert scores.mrecall == pytest.approx(float(case["mrecall"]), abs=1e-6)
    assert scores.maccuracy == pytest.approx(float(case["maccuracy"]), abs=1e-6)
    assert scores.pooled_iou == pytest.approx(case["pooled_iou"].tolist(), abs=5e-5)


def test_one_column_by_hand():
    scores = voxel_scores(volume(1, 1, 2, 0), volume(1, 2, 2, 0), CLASSES)
    assert scores.iou == pytest.approx([1, 1 / 2, 1 / 2], abs=1e-6)
    assert scores.recall == pytest.approx([1, 1, 1 / 2], abs=1e-6)
    assert scores.precision == pytest.approx([1, 1 / 2, 1], abs=1e-6)
    assert scores.miou == pytest.approx(2 / 3, abs=1e-6)
    assert scores.mrecall == pytest.approx(2.5 / 3, abs=1e-6)
    assert scores.mprecision == pytest.approx(2.5 / 3, abs=1e-6)
    assert scores.maccuracy == 3 / 4
    assert (scores.samples, scores.classes) == (1, CLASSES)


def test_a_class_absent_from_both_counts_one_by_the_protocol_and_is_left_out_of_the_pool():
    scores = voxel_scores(volume(0, 2, 2), volume(0, 2, 0), CLASSES)
    assert scores.iou[1] == scores.recall[1] == scores.precision[1] == 1
    assert scores.miou == pytest.approx((1 / 2 + 1 + 1 / 2) / 3, abs=1e-6)
    assert math.isnan(scores.pooled_iou[1])
    assert scores.pooled_miou == pytest.approx(1 / 2)


def test_a_class_of_the_prediction_only_counts_zero_but_its_recall_is_one():
    scores = voxel_scores(volume(0, 1, 2), volume(0, 0, 2), CLASSES)
    assert scores.iou[1] == pytest.approx(0, abs=1e-6)
    assert scores.precision[1] == pytest.approx(0, abs=1e-6)
    # (0 + 1e-7) / (0 + 1e-7): nothing of the class was there to be missed
    assert scores.recall[1] == 1
    assert scores.pooled_iou[1] == 0
    assert math.isnan(scores.pooled_recall[1])


def test_the_protocol_averages_samples_and_the_pool_sums_them():
    # gold: 1 of 1 voxel in one sample, 0 of 3 in the other
    predicted = np.stack([volume(1, 0, 0, 0), volume(0, 0, 0, 0)])
    true = np.stack([volume(1, 0, 0, 0), volume(1, 1, 1, 0)])
    scores = voxel_scores(predicted, true, ["none", "Au"])
    assert scores.samples == 2
    assert scores.iou == pytest.approx([(1 + 1 / 4) / 2, 1 / 2], abs=1e-6)
    assert scores.recall == pytest.approx([1, 1 / 2], abs=1e-6)
    assert scores.pooled_iou == pytest.approx([4 / 7, 1 / 4])
    assert scores.pooled_recall == pytest.approx([1, 1 / 4])
    assert scores.pooled_precision == pytest.approx([4 / 7, 1])
    assert scores.pooled_miou == pytest.approx((4 / 7 + 1 / 4) / 2)
    assert scores.maccuracy == pytest.approx(5 / 8)


VOLUMES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.integers(0, 2))] * 2)
)


@settings(max_examples=60, deadline=None)
@given(VOLUMES)
def test_scores_equal_counting_voxel_by_voxel(pair):
    predicted, true = pair
    scores = voxel_scores(predicted, true, CLASSES)
    for c in range(3):
        each = []
        for p, t in zip(predicted, true, strict=True):
            both, either = ((p == c) & (t == c)).sum(), ((p == c) | (t == c)).sum()
            each.append([(both + 1e-7) / (n + 1e-7) for n in (either, (t == c).sum(), (p == c).sum())])
        iou, recall, precision = np.mean(each, 0)
        assert scores.iou[c] == pytest.approx(iou, abs=1e-12)
        assert scores.recall[c] == pytest.approx(recall, abs=1e-12)
        assert scores.precision[c] == pytest.approx(precision, abs=1e-12)
    assert scores.maccuracy == pytest.approx((predicted == true).mean())


@settings(max_examples=20, deadline=None)
@given(VOLUMES)
def test_iou_does_not_care_which_is_the_truth(pair):
    one, other = voxel_scores(*pair, CLASSES), voxel_scores(*pair[::-1], CLASSES)
    assert one.iou == pytest.approx(other.iou)
    assert one.recall == pytest.approx(other.precision)


def test_the_truth_scores_one():
    truth = np.random.default_rng(0).integers(0, 3, (2, 4, 5, 6))
    scores = voxel_scores(truth, truth, CLASSES)
    assert scores.miou == scores.mrecall == scores.mprecision == scores.maccuracy == scores.pooled_miou == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, ">i4"])
def test_any_integers_are_labels(dtype):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    expected = voxel_scores(labels, labels[::-1].copy(), CLASSES)
    assert voxel_scores(labels.astype(dtype), labels[::-1].astype(dtype), CLASSES) == expected
    assert voxel_scores(torch.tensor(labels), torch.tensor(labels[::-1].copy()), CLASSES) == expected
    assert voxel_scores(labels.astype(dtype), labels.astype(dtype)[::-1], CLASSES) == expected


@pytest.mark.parametrize(
    ("predicted", "true", "sentence"),
    [
        (np.zeros((2, 3, 3), int), np.zeros((2, 3, 4), int), r"\(2, 3, 3\) but truth is \(2, 3, 4\)"),
        (np.full((2, 3, 3), 3), np.zeros((2, 3, 3), int), r"prediction has labels 3\.\.3, classes allow 0\.\.2"),
        (np.zeros((2, 3, 3), int), np.full((2, 3, 3), -1), r"truth has labels -1\.\.-1"),
        (np.zeros((2, 3, 3)), np.zeros((2, 3, 3), int), "prediction holds float64 values: a labelled volume"),
        (np.zeros((0, 3, 3), int), np.zeros((0, 3, 3), int), "prediction is empty"),
        (np.zeros((3, 3), int), np.zeros((3, 3), int), r"volumes are \(z, y, x\)"),
    ],
)
def test_volumes_that_cannot_be_compared_are_refused(predicted, true, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        voxel_scores(predicted, true, CLASSES)


def maps(*values):
    """Maps (2, 1, 2) of two layers and two pixels."""
    return np.array(values, float).reshape(2, 1, 2)


def test_thickness_errors_by_hand():
    scores = thickness_scores(maps(3, 5, 100, 110), maps(0, 9, 100, 100))
    assert scores.rmse_nm == pytest.approx([math.sqrt((9 + 16) / 2), math.sqrt(50)])
    assert scores.bias_nm == pytest.approx([-0.5, 5])
    assert scores.mae_nm == pytest.approx([3.5, 5])
    assert scores.coverage95 is None


def test_coverage_counts_the_truth_within_1_96_standard_deviations():
    error, deviation = maps(1.95, -1.97, 0, 4), maps(1, 1, 0, 2)
    assert thickness_scores(error, maps(0, 0, 0, 0), deviation).coverage95 == [0.5, 0.5]


def test_coverage_of_gaussian_errors_is_95_per_cent():
    rng = np.random.default_rng(1)
    deviation = rng.uniform(1, 5, (3, 2, 100, 100))
    scores = thickness_scores(deviation * rng.standard_normal(deviation.shape), deviation * 0, deviation)
    assert scores.coverage95 == pytest.approx([0.95, 0.95], abs=0.005)


def test_thickness_scores_average_over_samples_and_kinds_may_differ():
    predicted, true = np.zeros((3, 2, 4, 5), np.float32), torch.zeros(3, 2, 4, 5)
    true[0, 1] = 6
    assert thickness_scores(predicted, true).bias_nm == pytest.approx([0, -2])


def test_thickness_of_different_shapes_is_refused():
    with pytest.raises(MicrotomoError, match=r"thickness is \(2, 1, 2\) but truth is \(1, 2, 1, 2\)"):
        thickness_scores(maps(0, 0, 0, 0), maps(0, 0, 0, 0)[None])


def test_scores_are_plain_values_for_json():
    scores = voxel_scores(volume(0, 1), volume(0, 1), CLASSES)
    assert json.loads(json.dumps(scores.as_dict()))["miou"] == 1
    assert json.loads(json.dumps(thickness_scores(maps(0, 0, 0, 0), maps(0, 0, 0, 0)).as_dict()))["rmse_nm"] == [0, 0]


def test_labels_are_scored_by_class_as_by_scikit_learn():
    from sklearn import metrics

    rng = np.random.default_rng(2)
    true, predicted = rng.integers(0, 3, (2, 30, 40)).astype(np.uint8)
    ours = label_scores(predicted, true, ["a", "b", "c"])
    t, p = true.ravel(), predicted.ravel()
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(t, p))
    for name, theirs in (("iou", metrics.jaccard_score), ("f1", metrics.f1_score), ("recall", metrics.recall_score)):
        assert getattr(ours, name) == pytest.approx(theirs(t, p, average=None))
        assert getattr(ours, f"m{name}") == pytest.approx(theirs(t, p, average="macro"))
    with pytest.raises(MicrotomoError, match=r"labels 0\.\.2, classes allow 0\.\.1"):
        label_scores(predicted, true, ["a", "b"])


def test_a_class_that_is_nowhere_is_left_out_of_the_mean():
    scores = label_scores(np.array([0, 1, 1]), np.array([0, 1, 0]), ["a", "b", "c"])
    assert scores.iou[:2] == [0.5, 0.5]
    assert np.isnan(scores.iou[2])
    assert scores.miou == 0.5
