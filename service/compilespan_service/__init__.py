"""A service that warms up compiled models and says what it cost (extra ``service``)."""
