"""What happens to a company, and what Groundswell makes of it by way of the fleet's state."""
