"""What mkdocs needs to know of this repository; mkdocs.yml names this file.

Pages of docs/ link to pages beside it (../ARCHITECTURE.md, ../shaders/README.md), so that they work where the
repository itself is read, on its web view or in an editor. mkdocs knows only what lies in docs/. So the site gets these
pages, too (OUTER), and a link is looked up where it leads in the repository: to a page or picture of the site, or else
to a file that the site does not have, which is linked to on the web view where Cargo.toml names a `repository`, and is
plain text otherwise. A link to a file that is not there is a warning, and so fails a strict build.

Python-Markdown wants an empty line before a list or a table, four spaces before a list within a list, and no backslash
before a bar in a table's code, all unlike the web view, for which the pages are written: a page is mended while it is
read.
"""

import logging
import posixpath
import re
import tomllib
from pathlib import Path

from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.hooks.site")
ROOT = Path(__file__).resolve().parent.parent
# Pages outside docs/, and pictures on them, with their names on the site. `README.md` would be the site's first page.
OUTER = {
    "README.md": "overview.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "shaders/README.md": "kernels.md",
    "tests/README.md": "tests.md",
    "web/weights/README.md": "page-weights.md",
    "web/weights/examples.png": "page-weights-examples.png",
    "web/bench/README.md": "page-bench.md",
    "examples/photos/README.md": "photos.md",
}
IN_REPOSITORY = {site: repository for repository, site in OUTER.items()}
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:|#|/", re.IGNORECASE)
CODE = re.compile(r"`[^`]*`")
ITEM = re.compile(r"(?:[-*+]|\d+\.) ")


def on_config(config):
    """Replaces the repository's names of pages in the navigation."""
    config.nav = renamed(config.nav)
    return config


def renamed(nav):
    if isinstance(nav, list):
        return [renamed(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: renamed(entry) for title, entry in nav.items()}
    return OUTER.get(nav, nav)


def on_files(files, config):
    """Adds the pages outside docs/."""
    for repository, site in OUTER.items():
        made = File.generated(config, site, abs_src_path=str(ROOT / repository))
        files.append(made)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links round and makes the text one that Python-Markdown reads as the web view does."""
    here = page.file.src_uri
    repository = IN_REPOSITORY.get(here, "docs/" + here)
    # A link may go over two lines, so what lies between blocks of code is taken as a whole.
    parts = FENCE.split(markdown)
    parts[::2] = [mended(LINK.sub(lambda found: link(found, repository, here), part)) for part in parts[::2]]
    return "".join(parts)


def mended(text):
    lines = []
    for line in text.split("\n"):
        if begins_block(line, lines):
            lines.append("")
        if line.startswith("|"):
            line = CODE.sub(lambda found: found.group(0).replace("\\|", "|"), line)
        if line[:1] == " " and ITEM.match(line.lstrip(" ")):
            line = "    " + line.lstrip(" ")
        lines.append(line)
    return "\n".join(lines)


def begins_block(line, before):
    """Whether a list or table begins right below a paragraph."""
    if not before or not before[-1].strip():
        return False
    if line.startswith("|"):
        return not before[-1].startswith("|")
    if not ITEM.match(line):
        return False
    for earlier in reversed(before):
        if not earlier.strip():
            return True
        if ITEM.match(earlier):
            return False
    return True


def link(found, page, here):
    """A link of the page `page` of the repository, `here` on the site."""
    text, target = found.groups()
    if ELSEWHERE.match(target):
        return found.group(0)
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if not (ROOT / path).exists():
        log.warning("%s links to %s, which is not there", page, path)
        return found.group(0)
    if path in OUTER or path.startswith("docs/"):
        site = OUTER.get(path, path.removeprefix("docs/"))
        site = posixpath.relpath(site, posixpath.dirname(here) or ".")
        return f"{text}({site}{'#' if anchor else ''}{anchor})"
    view = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"].get("repository")
    return f"{text}({view.rstrip('/')}/blob/HEAD/{path})" if view else text[1:-1]
