"""What is deployed and how: the pipeline, the command line and the local run."""
