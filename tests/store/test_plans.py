"""Plans are read back as they were written; what is no plan of the model's blocks is refused."""

from __future__ import annotations

import json

import pytest

from actsim.errors import DataError, UsageError
from actsim.store.plans import read_plan


def write(path, rows):
    path.write_text(json.dumps({"blocks": rows}), encoding="utf-8")
    return path


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    rows = [{"layer": 2, "sparsity": 0.7, "zeros": 3}, {"layer": 1, "sparsity": 0.3}]
    assert read_plan(write(tmp_path / "plan.json", rows), 2) == [0.3, 0.7]


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"blocks": [{"layer": 1}]}', '{"blocks": [[1, 0.5]]}'])
def test_what_is_no_plan_is_a_data_error(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"plan\.json: not a plan"):
        read_plan(path, 2)


@pytest.mark.parametrize("layers", [[1], [1, 1], [1, 3], [1, 2, 3], []])
def test_a_plan_of_other_layers_is_refused(tmp_path, layers):
    path = write(tmp_path / "plan.json", [{"layer": layer, "sparsity": 0.5} for layer in layers])
    with pytest.raises(UsageError, match="layers 1 to 2"):
        read_plan(path, 2)


def test_a_plan_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_plan(tmp_path / "plan.json", 2)
