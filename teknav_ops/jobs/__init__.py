"""What a job is and what happened to it: the seam between running jobs and reading about them."""
