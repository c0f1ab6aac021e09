"""What a served model is: its versions in a folder, loading, warming up, batching and the limits of requests."""
