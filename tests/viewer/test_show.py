import pytest

from microtomo import MicrotomoError, Reconstruction, Scan, show, write_scan


def test_show_is_a_page_for_a_notebook(rec, scan, tmp_path, external):
    for what in (rec, scan, Scan(scan.data, scan.energies_kev)):
        shown = show(what)
        assert shown._repr_html_().startswith('<iframe sandbox="allow-scripts" srcdoc=')
        assert external(shown.page) == []
    assert '"name": "Al"' in show(rec).page
    assert show(rec).save(tmp_path / "a.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    write_scan(tmp_path / "scan.h5", scan)
    assert '"name": "Al"' in show(tmp_path / "scan.h5").page
    with pytest.raises(MicrotomoError, match="cannot show list"):
        show([1])
    assert isinstance(rec, Reconstruction)
