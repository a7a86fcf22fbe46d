"""`minimind new module SLUG`."""

from __future__ import annotations

import argparse

HELP = "write the skeleton of a new module"
EXAMPLE = "minimind new module attention"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments: what to begin, and its name in docs/curriculum.yaml."""
    parser.add_argument("kind", choices=["module"], help="what to begin")
    parser.add_argument("slug", help="its name in docs/curriculum.yaml, for example attention")


def run(args: argparse.Namespace) -> int:
    """Write the files and say what comes next."""
    from minimind_wiki.book import pages, skeleton

    slug = args.slug
    for file in skeleton.write(slug):
        print(f"  {file.relative_to(pages.root())}")
    print(
        f"""
The pages are drafts: the build leaves them out. Next:
  minimind experiment run {slug}/first --quick    the experiment, small
  minimind site build --drafts                    see the module at en/modules/{slug}/
  minimind exercise {slug}/write_it --start mine.py   the exercise, on this machine
To publish: replace every TODO, remove 'draft: true', add the pages to 'nav' in mkdocs.yml."""
    )
    return 0
