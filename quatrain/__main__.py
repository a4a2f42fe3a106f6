"""Runs the command line as `python -m quatrain`."""

import sys

# Python looks in the current folder first for `-m`, and a user may keep a queue.py or a yaml.py
# there. The path is made safe before anything is imported.
if not sys.flags.safe_path and __file__.rpartition("/")[0].rpartition("/")[0] != sys.path[0]:
    del sys.path[0]

from quatrain.cli import main

main()
