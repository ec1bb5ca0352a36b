"""Makes a folder of `asv publish` independent of the internet: python -m benchmarks.selfcontained FOLDER

asv's pages load jQuery, flot, Bootstrap, an MD5 function and a table sorter from content networks. Here the same
versions are taken from npm's packages, put into FOLDER/packages, and the pages are made to read them there. What comes
is checked: by the digest that the page itself demands, or, where npm has another form of a file, by the digest of the
whole package written here. Nothing is left that a browser would fetch from elsewhere, or it is an error.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["SelfContainedError", "Wanted", "fetch", "make_self_contained", "remaining"]

PACKAGES = "packages"  # the folder inside FOLDER


class SelfContainedError(RuntimeError):
    """A page asks for something that cannot be had, or would still ask other servers."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where npm has a file that a page names.

    Attributes
    ----------
    package
        npm's name.
    path
        The file inside the package.
    version
        Of the package, if it is not the one that the page names.
    digest
        Of the package's archive, where the page's own digest is of another form of the file.
    """

    package: str
    path: str
    version: str | None = None
    digest: str | None = None


_FLOT = "sha512-xg2otcTJDvS+ERK+my4wxG/ASq90QURXtoM4LhacCq0jQW2jbyjdttbRNqU2cPykrpMvJ6b2uSp6SAgYAzj9tQ=="
_SORTER = "sha512-2Vk7XouQPxUQPRe9w0Fu7ZZ8kHLK7rDoLMsCgtKxRNJ7f4dSOGvW9CkHsq5wD6QsaEnWoyLBYH3xOEsrK3yWBg=="

SOURCES = {  # the last part of a page's reference, without a version
    "jquery.min.js": Source("jquery", "dist/jquery.min.js"),
    "jquery.flot.min.js": Source("flot", "jquery.flot.js", digest=_FLOT),  # npm's has no minified files
    "jquery.flot.time.min.js": Source("flot", "jquery.flot.time.js", digest=_FLOT),
    "jquery.flot.selection.min.js": Source("flot", "jquery.flot.selection.js", digest=_FLOT),
    "jquery.flot.categories.min.js": Source("flot", "jquery.flot.categories.js", digest=_FLOT),
    "jquery.flot.orderBars.js": Source("flot-orderbars", "js/jquery.flot.orderBars.js"),
    # npm has this one version; between 1.0.1 and it sorting of several columns was added
    "stupidtable.min.js": Source("stupid-table-plugin", "stupidtable.min.js", "1.1.3", _SORTER),
    "md5.min.js": Source("blueimp-md5", "js/md5.min.js"),
    "bootstrap.min.js": Source("bootstrap", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": Source("bootstrap", "dist/css/bootstrap.min.css"),
}

_ELEMENT = re.compile(r"<(?P<name>script|link|img|iframe|source|object|embed)\b(?P<attributes>[^>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?P<name>[\w-]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')""")
_ABSOLUTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_STYLE_REFERENCE = re.compile(r"""(?:@import\s+(?:url\(\s*)?|url\(\s*)["']?(?P<target>[^"')\s;]+)""", re.IGNORECASE)
_VERSION = re.compile(r"\d+(?:\.\d+){2}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of an npm package at a version; `digest` is of the file, or with `of_archive` of the whole package."""

    package: str
    version: str
    path: str
    digest: str
    of_archive: bool

    @property
    def folder(self) -> str:
        """Where the package's files are put."""
        return f"{PACKAGES}/{self.package}-{self.version}"


Fetch = Callable[[str, str, Path], Path]


def fetch(package: str, version: str, folder: Path) -> Path:
    """Download a package's archive into a folder, by the npm that is installed and as it is configured."""
    npm = shutil.which("npm")
    if npm is None:
        raise SelfContainedError("npm is not installed; the pages' libraries are taken from its packages")
    command = [npm, "pack", f"{package}@{version}", "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tgz"))
    if finished.returncode != 0 or len(archives) != 1:
        raise SelfContainedError(f"npm pack {package}@{version} failed: {finished.stderr.strip() or finished.stdout}")
    return archives[0]


def make_self_contained(folder: Path, fetch: Fetch = fetch) -> list[Wanted]:
    """Rewrite every page in a folder, add the files it asked other servers for, and return what was added.

    Raises
    ------
    SelfContainedError
        A page names a library that is not in `SOURCES`; a file is not the expected one; a reference is left.
    """
    pages = sorted(folder.glob("*.html"))
    if not pages:
        raise SelfContainedError(f"{folder} has no pages; `asv publish` writes them")
    added: dict[Wanted, None] = {}
    for page in pages:
        text, wanted = rewritten(page.read_text(encoding="utf-8"))
        added |= dict.fromkeys(wanted)
        page.write_text(text, encoding="utf-8")
    archives: dict[tuple[str, str], Path] = {}
    with tempfile.TemporaryDirectory() as work:
        for one in added:
            key = one.package, one.version
            if key not in archives:
                place = Path(work) / f"{len(archives)}"
                place.mkdir()
                archives[key] = fetch(*key, place)
            _unpack(one, archives[key], folder)
    left = list(remaining(folder))
    if left:
        raise SelfContainedError("a browser would still ask other servers, or find nothing:\n  " + "\n  ".join(left))
    return list(added)


def rewritten(text: str) -> tuple[str, list[Wanted]]:
    """Return a page that names files of its own folder, and the files."""
    wanted: list[Wanted] = []

    def replace(element: re.Match[str]) -> str:
        attributes = _attributes(element["attributes"])
        name = "href" if element["name"].lower() == "link" else "src"
        target = attributes.get(name, "")
        if not _ABSOLUTE.match(target):
            return element[0]
        wanted.append(_wanted(target, attributes.get("integrity")))
        kept = element["attributes"].replace(target, f"{wanted[-1].folder}/{wanted[-1].path}")
        # the first demands a digest that another form of the file does not have; a page opened as a file has no origin
        kept = re.sub(r"""\s*\b(?:integrity|crossorigin|referrerpolicy)\s*=\s*("[^"]*"|'[^']*')""", "", kept)
        return f"<{element['name']}{kept}>"

    return _ELEMENT.sub(replace, text), wanted


def _wanted(target: str, digest: str | None) -> Wanted:
    """Find what a page's reference stands for."""
    path = urlsplit(target).path
    version = _VERSION.search(path)
    name = re.sub(r"-\d+(?:\.\d+)+", "", posixpath.basename(path))
    source = SOURCES.get(name)
    if source is None or version is None:
        raise SelfContainedError(f"{target}: no npm package is known for it; add it to SOURCES in {__name__}")
    if source.digest is not None:
        return Wanted(source.package, source.version or version[0], source.path, source.digest, of_archive=True)
    if digest is None:
        raise SelfContainedError(f"{target}: the page demands no digest, and none is written in SOURCES in {__name__}")
    return Wanted(source.package, version[0], source.path, digest, of_archive=False)


def _unpack(wanted: Wanted, archive: Path, folder: Path) -> None:
    """Take a file out of its package, and with a style sheet the files that it names."""
    if wanted.of_archive:
        _check(archive.read_bytes(), wanted.digest, f"{wanted.package} {wanted.version}")
    with tarfile.open(archive) as packed:
        root = packed.getnames()[0].split("/")[0]

        def put(path: str) -> bytes:
            try:
                member = packed.extractfile(f"{root}/{path}")
            except KeyError:
                member = None
            if member is None:
                raise SelfContainedError(f"{wanted.package} {wanted.version} has no file {path}")
            content = member.read()
            place = folder / wanted.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            return content

        content = put(wanted.path)
        if not wanted.of_archive:
            _check(content, wanted.digest, f"{wanted.package} {wanted.version}: {wanted.path}")
        if wanted.path.endswith(".css"):
            for target in _style_targets(content.decode("utf-8")):
                put(posixpath.normpath(posixpath.join(posixpath.dirname(wanted.path), target)))


def _check(content: bytes, digest: str, name: str) -> None:
    algorithm, _, expected = digest.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, content).digest()).decode("ascii")
    if found != expected:
        raise SelfContainedError(f"{name} has the {algorithm} {found}, expected {expected}")


def remaining(folder: Path) -> Iterator[str]:
    """Name every script, style sheet, picture or frame that a page would fetch from elsewhere or not find."""
    for page in sorted(folder.glob("*.html")):
        text = page.read_text(encoding="utf-8")
        yield from (f"{page.name}: {target}" for target in _style_targets(text) if _ABSOLUTE.match(target))
        for element in _ELEMENT.finditer(text):
            attributes = _attributes(element["attributes"])
            for target in filter(None, (attributes.get(name) for name in ("src", "href", "data"))):
                if _ABSOLUTE.match(target):
                    yield f"{page.name}: {target}"
                elif element["name"].lower() == "script" and not (page.parent / target).is_file():
                    yield f"{page.name}: {target} is not in the folder"
    for sheet in sorted(folder.rglob("*.css")):
        for target in _style_targets(sheet.read_text(encoding="utf-8")):
            if _ABSOLUTE.match(target) or not (sheet.parent / target).is_file():
                yield f"{sheet.relative_to(folder)}: {target}"


def _attributes(text: str) -> dict[str, str]:
    return {found["name"].lower(): found["double"] or found["single"] or "" for found in _ATTRIBUTE.finditer(text)}


def _style_targets(text: str) -> list[str]:
    """Files that a style sheet names, without what comes after them; data inside the sheet itself is none."""
    found = (match["target"] for match in _STYLE_REFERENCE.finditer(text))
    targets = (target if _ABSOLUTE.match(target) else re.split(r"[?#]", target)[0] for target in found)
    return [target for target in dict.fromkeys(targets) if target and not target.startswith("data:")]


def main(arguments: list[str]) -> int:
    """Do so from the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.selfcontained", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where `asv publish` wrote the pages")
    folder = parser.parse_args(arguments).folder
    try:
        added = make_self_contained(folder)
    except SelfContainedError as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 1
    names = ", ".join(dict.fromkeys(f"{one.package} {one.version}" for one in added))
    print(f"{folder} needs no network" + (f"; added {names}" if added else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
