"""Where an app runs. A target is two visible tuples of steps, DEPLOY and DELETE."""
