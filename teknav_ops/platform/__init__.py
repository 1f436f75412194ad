"""What operators own on the platform: workflows, plugins and webhook endpoints, and their rules."""
