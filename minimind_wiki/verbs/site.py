"""`minimind site build | check | serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "build, check and serve the site"
EXAMPLE = "minimind site build --strict && minimind site serve --port 8000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the three jobs."""
    jobs = parser.add_subparsers(dest="job", required=True, metavar="build|check|serve")
    build = jobs.add_parser("build", help="build all pages into site/ and check them")
    build.add_argument("--strict", action="store_true", help="fail on warnings and stale records")
    build.add_argument("--drafts", action="store_true", help="also build draft modules")
    build.add_argument("--out", type=Path, default=None, help="folder of the built site (site/)")
    check = jobs.add_parser("check", help="check the sources and the pages that are built")
    check.add_argument("--site", type=Path, default=None, help="folder of the built site (site/)")
    serve = jobs.add_parser("serve", help="serve the built site on this machine")
    serve.add_argument("--port", type=int, default=8000, help="port; a busy one is skipped (8000)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--site", type=Path, default=None, help="folder of the built site (site/)")


def run(args: argparse.Namespace) -> int:
    """Do the job; 0 when everything is in order."""
    return {"build": _build, "check": _check, "serve": _serve}[args.job](args)


def _build(args: argparse.Namespace) -> int:
    from minimind_wiki.book.build import build

    out = args.out.resolve() if args.out else None
    build(strict=args.strict, drafts=args.drafts, out=out)
    return 0


def _check(args: argparse.Namespace) -> int:
    from minimind_wiki.book import build, checks, pages

    site = (args.site or pages.root() / "site").resolve()
    faults = build.source_problems()
    faults += checks.check(site, prefix=build.address_prefix())
    for fault in faults:
        print(fault)
    print(f"{len(faults)} fault{'s' * (len(faults) != 1)}" if faults else "no faults")
    return 1 if faults else 0


def _serve(args: argparse.Namespace) -> int:
    from minimind_wiki.book import pages
    from minimind_wiki.book.serve import start

    server, busy = start((args.site or pages.root() / "site").resolve(), args.port, args.host)
    port = server.server_address[1]
    for taken in busy:
        print(f"port {taken} is taken")
    print(f"the site is at http://{args.host}:{port}/en/ (stop with Ctrl-C)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nstopped")
    finally:
        server.server_close()
    return 0
