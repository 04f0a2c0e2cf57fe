"""Where weights lie: what is not there is named."""

import pytest

from dirnet import models


def test_weights_that_are_not_there_are_named(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="weights 'nowhere' do not exist; expected unsupervised, contours"):
        models.weights_file("nowhere")
    monkeypatch.setattr(models, "SHIPPED_WEIGHTS", tmp_path / "contours.pt")
    with pytest.raises(FileNotFoundError, match=r"weights '.*contours\.pt' do not exist"):
        models.weights_file()
