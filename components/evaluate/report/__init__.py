"""The report: one self-contained page of an evaluation."""
