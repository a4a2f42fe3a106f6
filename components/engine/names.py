"""The names of the engines that have a part of their own here, without an import of Beam."""

LOCAL, DATAFLOW, PORTABLE, PRISM = "local", "dataflow", "portable", "prism"
