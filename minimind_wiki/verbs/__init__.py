"""One module for each verb of the `minimind` command (see `minimind_wiki.cli`)."""
