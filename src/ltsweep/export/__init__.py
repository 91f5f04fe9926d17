"""One ticket taken out of its study: described and checked, rebuilt, exported, timed. Loads nothing by itself."""
