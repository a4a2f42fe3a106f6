"""The processes that train a system on one split: WORKER FOLDER SYSTEM PREDICTIONS [LIMIT].

Each runs in the environment of its libraries, which need not have anything of ours.
"""
