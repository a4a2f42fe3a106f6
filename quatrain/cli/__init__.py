"""The command line, one module for each verb or family of verbs."""
