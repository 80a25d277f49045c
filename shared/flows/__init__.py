"""The use cases: what happens at an event, a queue message, a request or a timer, from decision to effect."""
