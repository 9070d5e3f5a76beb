def handler(event):
    """Returns what it was called with."""
    return event
