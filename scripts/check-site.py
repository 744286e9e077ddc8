#!/usr/bin/env python3
"""Checks a built site: check-site.py FOLDER

That no page, style or script loads anything from another host (a link that a person may follow is none), and that
everything that a page links to or loads from the site is there, the places within pages too.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself. Of `link` that is said by its `rel`.
LOADS = {
    "script": ["src"],
    "img": ["src", "srcset"],
    "source": ["src", "srcset"],
    "iframe": ["src"],
    "embed": ["src"],
    "object": ["data"],
    "video": ["src", "poster"],
    "audio": ["src"],
    "track": ["src"],
    "input": ["src"],
    "use": ["href"],
    "image": ["href"],
}
NOT_LOADED = {"canonical", "alternate", "author", "license", "next", "prev", "help", "search"}
STYLE_LOADS = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])\s*([^'")\s]+)""")
SCRIPT_LOADS = re.compile(
    r"""(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|getScript|getJSON)\s*\(\s*"""
    r"""|\.open\(\s*['"][A-Z]+['"]\s*,\s*|\.(?:src|href)\s*=\s*)['"`]((?:https?:|wss?:)?//[^'"`]+)"""
)


class Page(HTMLParser):
    """What a page loads, what it links to, and the places within it."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.places, self.inside = [], [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.places.update(named[key] for key in ("id", "name") if named.get(key))
        self.inside = tag
        for key in LOADS.get(tag, []):
            for one in (named.get(key) or "").split(",") if key == "srcset" else [named.get(key)]:
                if one and one.strip():
                    self.loads.append(one.split()[0])
        if tag == "link" and not set((named.get("rel") or "").lower().split()) & NOT_LOADED:
            self.loads.append(named.get("href") or "")
        if tag == "a" and named.get("href"):
            self.links.append(named["href"])
        if tag == "meta" and (named.get("http-equiv") or "").lower() == "refresh":
            self.loads.append((named.get("content") or "").partition("url=")[2])
        self.loads += STYLE_LOADS.findall(named.get("style") or "")

    def handle_data(self, text):
        if self.inside == "style":
            self.loads += STYLE_LOADS.findall(text)
        if self.inside == "script":
            self.loads += SCRIPT_LOADS.findall(text)

    def handle_endtag(self, tag):
        self.inside = None


def place(site, page, path):
    """The file that a path on a page means; one from the root is the site's."""
    path = unquote(path)
    return (site / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve()


def main():
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    if not pages:
        sys.exit(f"{site} has no page")
    loads = [(path, load) for path, page in pages.items() for load in page.loads]
    for path in site.rglob("*.css"):
        loads += [(path, load) for load in STYLE_LOADS.findall(path.read_text())]
    for path in site.rglob("*.js"):
        loads += [(path, load) for load in SCRIPT_LOADS.findall(path.read_text())]
    wrong = []
    for path, load in loads:
        parts = urlsplit(load)
        if parts.netloc or parts.scheme in ("http", "https", "ws", "wss"):
            wrong.append(f"{path.relative_to(site)} loads {load}")
        elif not parts.scheme and parts.path and not place(site, path, parts.path).exists():
            wrong.append(f"{path.relative_to(site)} loads {load}, which is not there")
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            to = place(site, path, parts.path) if parts.path else path
            if not to.exists():
                wrong.append(f"{path.relative_to(site)} links to {link}, which is not there")
            elif to in pages and parts.fragment and unquote(parts.fragment) not in pages[to].places:
                wrong.append(f"{path.relative_to(site)} links to {link}, a place that is not there")
    for one in wrong:
        print(one, file=sys.stderr)
    print(f"{len(pages)} pages, {len(loads)} files that they load: {len(wrong)} faults")
    sys.exit(bool(wrong))


main()
