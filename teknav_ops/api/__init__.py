"""HTTP in; JSON, SSE or WebSocket out. No decisions here."""
