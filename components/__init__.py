"""The four steps: preprocess, package, train, evaluate; one folder each."""
