from __future__ import annotations

from itertools import pairwise

import pytest

from qviz.features.layer_error.graph import lay_out


def test_the_longest_path_is_the_first_lane_and_rows_are_depths() -> None:
    #  0 -> 1 -> 2 -> 4, 0 -> 3 -> 4
    layout = lay_out(5, [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)])
    assert layout.positions == ((0, 0), (0, 1), (0, 2), (1, 1), (0, 3))
    assert layout.lanes == 2


def test_a_side_branch_stays_in_its_lane() -> None:
    layout = lay_out(7, [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (0, 6)])
    assert [layout.positions[node] for node in (4, 5, 6)] == [(1, 1), (1, 2), (2, 1)]


def test_no_two_nodes_share_a_position() -> None:
    edges = [(0, node) for node in range(1, 9)]
    layout = lay_out(9, edges)
    assert len(set(layout.positions)) == 9


def test_long_edges_share_one_bus_per_target() -> None:
    #  trunk 0 -> 1 -> 2 -> 3 -> 4 -> 5; 6 hangs on 0 and 7 on 1: both lead to 8 below 5, and 6 to 9 too
    edges = [*((i, i + 1) for i in range(5)), (0, 6), (1, 7), (5, 8), (6, 8), (7, 8), (8, 9), (6, 9)]
    layout = lay_out(10, edges)
    routes = dict(zip(edges, layout.routes, strict=True))
    assert [len(routes[edge]) for edge in ((0, 1), (0, 6), (6, 8), (7, 8), (6, 9))] == [2, 4, 6, 6, 6]
    bus = {edge: routes[edge][2][0] for edge in ((6, 8), (7, 8), (6, 9))}
    assert bus[6, 8] == bus[7, 8] != bus[6, 9]
    assert min(bus.values()) >= layout.lanes and layout.buses == 2  # outside all lanes
    for route in layout.routes:
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(route))


def test_a_short_skip_passes_on_the_left_of_its_lane() -> None:
    layout = lay_out(3, [(0, 1), (1, 2), (0, 2)])
    assert -0.1 < layout.routes[2][2][0] < 0 and layout.buses == 0


@pytest.mark.parametrize("edge", [(1, 0), (0, 0), (0, 5), (-1, 1)])
def test_an_edge_that_does_not_lead_upwards_is_refused(edge: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not lead upwards among 2 nodes"):
        lay_out(2, [edge])


def test_an_empty_graph() -> None:
    assert lay_out(0, []).positions == ()


def test_forks_have_right_angles() -> None:
    layout = lay_out(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    assert layout.routes[1] == ((0, 0), (0, 0.5), (1, 0.5), (1, 1))
    assert layout.routes[3] == ((1, 1), (1, 1.5), (0, 1.5), (0, 2))
