"""The dashboard's pages are made to need no network; a file that is not what a page demands is an error."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from benchmarks import selfcontained
from benchmarks.selfcontained import SelfContainedError, Source, make_self_contained, remaining

SCRIPT = b"window.sorted = true;"
STYLE = b'@font-face { src: url(../fonts/a.eot?#iefix), url("../fonts/a.woff") } p { background: url(data:,x) }'
PACKAGES = {
    ("sorter", "2.0.0"): {"package/sorter.js": SCRIPT},
    ("looks", "3.1.1"): {
        "package/css/looks.min.css": STYLE,
        "package/fonts/a.eot": b"eot",
        "package/fonts/a.woff": b"woff",
    },
}


def digest(content: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def archive(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return target.getvalue()


ARCHIVES = {key: archive(files) for key, files in PACKAGES.items()}
PAGE = f"""<html><head>
<script src="https://cdn.example/libs/sorter/1.0.1/sorter.min.js" integrity="sha512-other" crossorigin="anonymous"
  referrerpolicy="no-referrer" onerror="failed()"></script>
<script src='own.js'></script>
<link rel="stylesheet" href="//cdn.example/looks@3.1.1/looks.min.css" integrity="{digest(STYLE)}">
</head><body><a href="https://project.example/">a link is followed by whoever wants to</a></body></html>
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    sources = {
        "sorter.min.js": Source("sorter", "sorter.js", "2.0.0", digest(ARCHIVES["sorter", "2.0.0"])),
        "looks.min.css": Source("looks", "css/looks.min.css"),
    }
    monkeypatch.setattr(selfcontained, "SOURCES", sources)
    (tmp_path / "own.js").write_text("")
    (tmp_path / "index.html").write_text(PAGE)
    return tmp_path


def from_here(package: str, version: str, folder: Path) -> Path:
    place = folder / f"{package}-{version}.tgz"
    place.write_bytes(ARCHIVES[package, version])
    return place


def test_pages_read_the_files_of_their_own_folder(folder):
    added = make_self_contained(folder, from_here)
    text = (folder / "index.html").read_text()
    assert '<script src="packages/sorter-2.0.0/sorter.js" onerror="failed()">' in text
    assert '<link rel="stylesheet" href="packages/looks-3.1.1/css/looks.min.css">' in text
    assert '<a href="https://project.example/">' in text
    assert (folder / "packages/sorter-2.0.0/sorter.js").read_bytes() == SCRIPT
    assert (folder / "packages/looks-3.1.1/fonts/a.woff").read_bytes() == b"woff"
    assert [one.package for one in added] == ["sorter", "looks"]
    assert list(remaining(folder)) == []


def test_a_folder_that_is_self_contained_stays_as_it_is(folder):
    make_self_contained(folder, from_here)
    before = (folder / "index.html").read_text()
    assert make_self_contained(folder, from_here) == []
    assert (folder / "index.html").read_text() == before


@pytest.mark.parametrize("key", PACKAGES, ids=lambda key: key[0])
def test_a_file_that_is_not_the_expected_one_is_refused(folder, monkeypatch, key):
    changed = {name: content + b" " for name, content in PACKAGES[key].items()}
    monkeypatch.setitem(ARCHIVES, key, archive(changed))
    with pytest.raises(SelfContainedError, match=f"{key[0]} {key[1]}.*expected "):
        make_self_contained(folder, from_here)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('<script src="https://cdn.example/new-1.0.0.min.js"></script>', "no npm package is known"),
        ('<link href="https://cdn.example/3.1.1/looks.min.css">', "the page demands no digest"),
        ('<script src="missing.js"></script>', "missing.js is not in the folder"),
        ('<style>@import "https://fonts.example/a.css";</style>', "fonts.example"),
    ],
)
def test_what_cannot_be_had_or_is_left_is_an_error(folder, line, message):
    (folder / "index.html").write_text(PAGE + line)
    with pytest.raises(SelfContainedError, match=message):
        make_self_contained(folder, from_here)


def test_a_style_sheet_may_not_name_other_servers(folder):
    (folder / "own.css").write_text("@import url(https://fonts.example/a.css);")
    with pytest.raises(SelfContainedError, match=r"own\.css: https://fonts\.example/a\.css"):
        make_self_contained(folder, from_here)


def test_a_folder_without_pages_is_refused(tmp_path, capsys):
    assert selfcontained.main([str(tmp_path)]) == 1
    assert "has no pages" in capsys.readouterr().err


def test_without_npm_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SelfContainedError, match="npm is not installed"):
        selfcontained.fetch("jquery", "3.3.1", tmp_path)


def test_the_pages_of_the_installed_asv_are_known(tmp_path):
    """A new asv that asks for other libraries is noticed here, and not when a dashboard stays blank."""
    asv = pytest.importorskip("asv")
    page = (Path(asv.__file__).parent / "www" / "index.html").read_text(encoding="utf-8")
    text, wanted = selfcontained.rewritten(page)
    assert len(wanted) == 10
    assert {one.package for one in wanted} >= {"jquery", "flot", "bootstrap"}
    assert "integrity" not in text
