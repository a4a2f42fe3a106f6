"""The functions of `import quatrain`, on which the command line is a thin layer."""
