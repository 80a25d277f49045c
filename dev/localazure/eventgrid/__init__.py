"""Event Grid: filters, delivery to webhooks and functions, retries and dead-lettering."""
