"""A load test: plan, asking, measuring, report and picture."""
