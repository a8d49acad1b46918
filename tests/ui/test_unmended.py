"""A notice goes when the file that it names is dropped again."""

from qviz.ui.uploads import unmended


def test_a_notice_goes_when_its_file_is_dropped_again() -> None:
    notices = (
        "a.jpg is damaged or cut short; copy it again.",
        "aa.jpg is empty.",
        "x.tflite.qviz.json belongs to x.tflite.",
    )
    assert unmended(notices, ["a.jpg"]) == notices[1:]
    assert unmended(notices, ["x.tflite"]) == notices[:2]
    assert unmended(notices, ["other.png"]) == notices
