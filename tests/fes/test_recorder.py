"""What a run keeps of its data, and the faces of its grids."""

import json

from fes.recorder import data_summary, grid_faces


def test_grid_faces_are_held_out_and_spread(drawn_index):
    faces = grid_faces(drawn_index, 3)
    valid = drawn_index.split("valid")
    assert [faces[i].tolist() for i in range(3)] == [valid.image(p).tolist() for p in (0, 10, 20)]
    assert len(grid_faces(drawn_index, 500)) == valid.samples


def test_what_is_told_of_the_data_counts_the_classes(drawn_index):
    summary = data_summary(drawn_index)
    assert summary["source"] == "drawn"
    assert summary["train"]["happy"] == 24
    assert json.loads(json.dumps(summary)) == summary
