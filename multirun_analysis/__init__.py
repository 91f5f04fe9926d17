"""From the records of a study to its tables and figures: `python -m multirun_analysis multirun/<study>`.

`load` reads a study; `view` says what varies in it and where that goes in a figure; `curves` turns tables
into the tables that are drawn; each file of `figures` draws one kind of figure. Nothing here knows how cells
are trained.
"""
