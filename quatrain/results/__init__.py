"""The runs of a model, wherever they are: in folders here, in a bucket, and on Vertex AI."""
