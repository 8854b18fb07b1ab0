"""The reference marks are marks of what is here, and those of the STN paper are its table."""

from stn_core.datasets import list_datasets
from stn_core.models import list_models, model_info
from stn_core.report.published import PUBLISHED


def test_every_mark_belongs_to_a_cell():
    for dataset, model in PUBLISHED:
        assert dataset in list_datasets()
        assert model in list_models()
        assert model_info(model).suits(dataset)


def test_published_values_are_accuracies():
    values = [value for marks in PUBLISHED.values() for value in marks.values()]
    assert all(0.5 < value < 1 for value in values)


def test_the_papers_errors_are_by_column():
    # 0.5 % on RTS and 1.2 % on elastic distortions; the affine ST-CNN's row of table 1.
    assert PUBLISHED["mnist_rts", "st_cnn_affine"] == {"STN paper": 0.995}
    assert PUBLISHED["mnist_e", "st_cnn_affine"] == {"STN paper": 0.988}
    assert PUBLISHED["mnist_add", "paper_cnn"] == {"STN paper": 0.853}
