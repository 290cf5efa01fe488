import numpy as np
import pytest

from microtomo.tem.particles.boxes import agreement, read_boxes, score


def test_a_match_is_a_centre_nearer_than_half_the_longer_side() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 4.0]])  # centre (5, 2), longer side 10
    near = agreement(np.array([[9.9, 2.0]]), np.array([6.0]), boxes)
    far = agreement(np.array([[10.1, 2.0]]), np.array([6.0]), boxes)
    assert (near.matched, far.matched) == (1, 0)
    assert near.log_sizes[0] == pytest.approx([np.log(6), np.log(np.sqrt(40))])


def test_matching_is_one_to_one_and_finds_as_many_pairs_as_there_can_be() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [8.0, 0.0, 18.0, 10.0]])
    # the particle between is nearer to the first box, which only the other particle can take otherwise
    centres = np.array([[8.5, 5.0], [2.0, 5.0]])
    assert agreement(centres, np.ones(2), boxes).matched == 2
    doubled = agreement(np.array([[5.0, 5.0], [5.1, 5.0]]), np.ones(2), boxes[:1])
    assert doubled.matched == 1


def test_scores_pool_over_images_by_hand() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    hit = agreement(np.array([[5.0, 5.0]]), np.array([8.0]), box)
    miss = agreement(np.array([[50.0, 5.0], [60.0, 5.0]]), np.array([8.0, 8.0]), box)
    found = score([hit, miss])
    assert (found.precision, found.recall) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert found.f1 == pytest.approx(2 / 5)
    assert found.count_error == pytest.approx(0.5)
    assert found.pooled_count_error == pytest.approx(0.5)


def test_an_image_without_particles_or_without_boxes_counts() -> None:
    none = agreement(np.empty((0, 2)), np.empty(0), np.array([[0.0, 0.0, 4.0, 4.0]]))
    empty = agreement(np.array([[1.0, 1.0]]), np.ones(1), np.empty((0, 4)))
    assert (none.matched, empty.matched) == (0, 0)


def test_boxes_are_read_from_shares_of_the_image() -> None:
    boxes = read_boxes("0 0.5 0.25 0.1 0.2\n\n", (100, 200))
    # centre x 100, y 25, width 20, height 20, with pixel centres at whole numbers
    assert boxes == pytest.approx(np.array([[89.5, 14.5, 109.5, 34.5]]))
