"""The `easel` command: a thin front end that sends the same invocations as a chat does."""
