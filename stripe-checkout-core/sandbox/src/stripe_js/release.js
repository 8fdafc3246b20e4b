// Where this script comes from, and the error that it throws.

const { origin: api, pathname } = new URL(/** @type {HTMLScriptElement} */ (document.currentScript).src);
/** The release that this script stands in for: Stripe's loader compares it with its own. */
const RELEASE = /^\/v3(\/|$)/.test(pathname) ? 3 : (/^\/([a-z]+)\/stripe\.js$/.exec(pathname)?.[1] ?? "endive");

/** Stripe.js throws this error when a page calls it wrongly. */
class IntegrationError extends Error {
  name = "IntegrationError";
}
