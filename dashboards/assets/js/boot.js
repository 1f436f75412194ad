// Runs before anything is drawn, so that a dark room never sees a white flash.
const kept = localStorage.getItem('teknav-theme');
document.documentElement.dataset.theme = kept ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
