"""What is served over HTTP: health."""
