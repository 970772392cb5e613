"""The models that Easel knows, and bringing their weights onto this machine."""
