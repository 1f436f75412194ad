// The path below which this site lives on its host: all else speaks of paths as if the host were its own.

/** '' or a path such as '/teknav', as this module's own address shows it. */
const PREFIX = new URL(import.meta.url).pathname.replace(/\/assets\/[^/]+\/js\/site\.js$/, '');

/** A path of ours as the browser must ask for it; any other address as it is. */
export function at(address) {
  return /^\/(?!\/)/.test(address) ? PREFIX + address : address;
}

/** Links of ours in a piece of HTML, as `at`. */
export function linksAt(text) {
  return text.replaceAll(' href="/', ` href="${PREFIX}/`);
}
