"""One training loop, its recipe, its batches and its resumable state."""
