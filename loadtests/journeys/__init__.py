"""What real clients do, a thousand at a time: journeys by locust, and a verdict on what they were answered."""
