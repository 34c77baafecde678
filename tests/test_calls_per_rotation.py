"""A rotation calls AWS no more often than AWS's own template does, up to where that one ends."""

from __future__ import annotations

import pytest

from bench.calls_per_rotation import PIVOT, WHOLE, of_aws, page


@pytest.mark.real
def test_up_to_the_promotion_keyturn_calls_aws_no_more_often_than_the_template() -> None:
    counts, template = of_aws()
    shapes = [name for name in counts if name.endswith(PIVOT)]
    assert len(shapes) == 2
    for name in shapes:
        assert sum(counts[name].values()) <= sum(template.values()), name
        whole = counts[name.replace(PIVOT, WHOLE)]
        assert all(whole[operation] >= count for operation, count in counts[name].items())
    text = page({"calls_per_rotation": counts, "calls_of_the_aws_template": template})
    assert all(name in text for name in counts)
