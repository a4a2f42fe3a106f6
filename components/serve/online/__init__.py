"""A model over HTTP: requests and answers, counters, the listener, and the champion followed."""
