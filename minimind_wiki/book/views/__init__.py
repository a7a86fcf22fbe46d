"""Views into a shipped model: what a page shows of them before, and without, JavaScript.

    trace      one pass of the package's model with everything kept, in torch
    recorded   what `scripts/record_views.py` keeps of it in snippets/views/
    draw       the recorded pictures and tables

The live views are web/src/views/. Both use one scale (`scale`) and the same names of measures.
"""

SHOWS = ("attention", "lens", "patch", "cache", "next", "tokens", "neurons")
"""What a `view` fence can show."""
