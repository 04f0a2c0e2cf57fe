"""What exists only to be faster on a CPU. Without any of it the results are the same."""
