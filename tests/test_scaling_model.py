"""The model of many GPUs: its closed forms at one GPU, its limits, and that more of what costs costs more."""

import itertools
from dataclasses import replace

import pytest

from bench.scaling import (
    CLUSTERS,
    ETHERNET_25,
    ETHERNET_100,
    NVLINK,
    PCIE,
    REACHED,
    Cluster,
    Link,
    Step,
    all_reduce,
    cycle_seconds,
    fit_seconds,
    overlap_of,
    ring,
    step_seconds,
    strong_efficiency,
    weak_efficiency,
)

CRITICS = Step(fixed=2e-3, per_picture=1e-4, buckets=(2_500_000, 700_000), overlap=0.2, times=5)
AUTOENCODER = Step(fixed=1e-3, per_picture=2e-4, buckets=(2_800_000, 4_000_000), overlap=0.1, times=1)
STEPS = CRITICS, AUTOENCODER
GPUS = (1, 2, 4, 8, 16, 64, 512)
FREE = Link("free", 1e30, 0.0)
any_cluster = pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)


@any_cluster
def test_one_gpu_computes_and_says_nothing(cluster: Cluster) -> None:
    assert all_reduce(1e9, 1, cluster) == 0
    assert cycle_seconds(STEPS, 32, 1, cluster) == pytest.approx(5 * (2e-3 + 32e-4) + 1e-3 + 64e-4)
    assert weak_efficiency(STEPS, 32, 1, cluster) == strong_efficiency(STEPS, 4096, 1, cluster) == 1


def test_a_ring_of_two_sends_all_bytes_once_and_hops_twice() -> None:
    link = Link("link", 1e9, 1e-5)
    assert ring(8e6, 2, link) == pytest.approx(8e6 / (REACHED * 1e9) + 2e-5)


def test_a_large_ring_sends_all_bytes_twice() -> None:
    assert ring(1e9, 10**6, Link("link", 1e9, 0.0)) == pytest.approx(2 / REACHED, rel=1e-5)


def test_a_node_does_not_talk_through_its_network_card_and_nodes_send_all_bytes_through_theirs() -> None:
    for gpus in (2, 8):
        assert all_reduce(1e7, gpus, Cluster(PCIE, ETHERNET_25)) == ring(1e7, gpus, PCIE)
    assert all_reduce(1e7, 64, Cluster(FREE, ETHERNET_25)) == pytest.approx(ring(1e7, 8, ETHERNET_25))


@pytest.mark.parametrize("gpus", GPUS)
def test_words_that_cost_nothing_leave_weak_scaling_perfect(gpus: int) -> None:
    assert weak_efficiency(STEPS, 32, gpus, Cluster(FREE, FREE)) == pytest.approx(1)


def test_without_a_fixed_part_words_that_cost_nothing_leave_strong_scaling_perfect() -> None:
    steps = [replace(each, fixed=0.0) for each in STEPS]
    assert strong_efficiency(steps, 4096, 512, Cluster(FREE, FREE)) == pytest.approx(1)
    assert strong_efficiency(STEPS, 4096, 512, Cluster(FREE, FREE)) < 0.9


def test_the_last_bucket_is_never_hidden_and_the_others_are_as_far_as_the_overlap_goes() -> None:
    cluster = Cluster(NVLINK, ETHERNET_25)
    compute, each = CRITICS.compute(32), [all_reduce(size, 64, cluster) for size in CRITICS.buckets]
    hidden, exposed = replace(CRITICS, overlap=0.9), replace(CRITICS, overlap=0.0)
    assert step_seconds(hidden, 32, 64, cluster) == pytest.approx(compute + each[-1])
    assert step_seconds(exposed, 32, 64, cluster) == pytest.approx(compute + sum(each))
    some = replace(CRITICS, overlap=each[0] / 2 / compute)
    assert step_seconds(some, 32, 64, cluster) == pytest.approx(compute + each[0] / 2 + each[-1])


@any_cluster
def test_more_gpus_are_never_more_efficient(cluster: Cluster) -> None:
    for efficiency, batch in ((weak_efficiency, 32), (strong_efficiency, 4096)):
        values = [efficiency(STEPS, batch, gpus, cluster) for gpus in GPUS]
        assert all(earlier > later > 0 for earlier, later in itertools.pairwise(values))


def test_faster_links_and_slower_steps_are_more_efficient() -> None:
    slow, fast = Cluster(PCIE, ETHERNET_25), Cluster(NVLINK, ETHERNET_100)
    for gpus in (8, 512):
        assert weak_efficiency(STEPS, 32, gpus, slow) < weak_efficiency(STEPS, 32, gpus, fast)
        faster = [each.faster(10) for each in STEPS]
        assert weak_efficiency(faster, 32, gpus, slow) < weak_efficiency(STEPS, 32, gpus, slow)


def test_the_line_through_measured_steps_is_found_and_never_begins_below_zero() -> None:
    assert fit_seconds([4, 8, 32], [0.014, 0.018, 0.042]) == pytest.approx((0.010, 0.001))
    assert fit_seconds([4, 8], [0.002, 0.006])[0] == 0


def test_the_overlap_begins_when_the_first_bucket_is_full() -> None:
    ready = [(100, 0.5), (300, 0.7), (350, 0.8), (400, 0.95)]
    assert overlap_of(ready, [250, 150]) == pytest.approx(0.25)
    assert overlap_of(ready, [400]) == 0
