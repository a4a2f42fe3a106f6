"""The pipeline that is deployed, and the one file that it is compiled to."""
