import pytest

from dirnet.cine.body import body_surface_area
from dirnet.errors import InputError


def test_by_mosteller():
    assert body_surface_area(180, 80) == pytest.approx(2.0)
    assert body_surface_area(160, 56.25) == pytest.approx(2.5**0.5)
    assert body_surface_area(None, 80) is None
    assert body_surface_area(180, None) is None
    with pytest.raises(InputError, match=r"height: expected 30 to 250 cm, got 1\.8"):
        body_surface_area(1.8, 80)
