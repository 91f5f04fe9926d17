"""Files of one figure: the same bytes each time, fonts embedded, no date."""


from matplotlib.figure import Figure

from multirun_analysis import style


def image(name: str) -> bytes:
    with style.rc(name):
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4])
    return style.image(figure, name)


def test_paper_is_pdf_with_truetype_fonts_embedded_and_the_same_byte_for_byte() -> None:
    written = image("paper")
    assert written == image("paper")
    assert written.startswith(b"%PDF")
    assert b"/FontFile2" in written  # a TrueType font, whole; /FontFile3 or /Type3 would be none
    assert b"/Type3" not in written
    assert b"CreationDate" not in written


def test_screen_is_png_and_the_same_byte_for_byte() -> None:
    written = image("screen")
    assert written == image("screen")
    assert written.startswith(b"\x89PNG")
    assert b"matplotlib" not in written.lower()
