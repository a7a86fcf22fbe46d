"""The machine behind the pages: records, number chips, figures, fences, checks and the build.

Nothing here imports torch when the site is built: what an experiment needs is imported inside its
functions.
"""
