"""What operators see: the Panel pages and the app that serves them."""
