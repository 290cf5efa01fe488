"""The tables of published works say the same as the registry, which the leaderboard and the pages use."""

from microtomo.registry import get_method, list_methods
from microtomo.reproduce import graphene
from microtomo.reproduce.sem import published


def test_the_report_of_sem_microtomography_agrees_with_the_registry():
    known = {m.name: m.published for m in list_methods(task="layers") if m.published is not None}
    assert {name: p.name for name, p in known.items()} == published.NAMES
    for trial, table in (("test set", published.TEST), ("experimental structure", published.EXPERIMENTAL)):
        assert {name: p.scores[trial] for name, p in known.items()} == {n: row[0] for n, row in table.items()}


def test_the_table_of_contaminants_agrees_with_the_registry():
    for name in ("bragg", "graphene-unet-7"):
        known = get_method(name).published
        assert known.scores["random folds"] == graphene.PUBLISHED[known.name].jaccard
