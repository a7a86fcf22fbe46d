"""`python -m minimind_wiki` is the `minimind` command."""

from minimind_wiki.cli import leave, main

if __name__ == "__main__":
    leave(main())
