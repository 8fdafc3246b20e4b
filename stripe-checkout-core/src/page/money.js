// Formats amounts. It is in front of checkout.js and of complete.js, in the same file.

/**
 * Formats an amount as its currency is written. Digits move as text, never through a float.
 * @param {string} minor
 * @param {string} currency
 * @param {number} decimals as Stripe counts them; some currencies are written with fewer or more
 */
function money(minor, currency, decimals) {
  const digits = minor.padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals);
  const language = document.documentElement.lang || undefined;
  const usual = new Intl.NumberFormat(language, { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  // Show all decimals or none: "RSD 12.5" is not a price.
  const places = usual === 0 && /^0*$/.test(fraction) ? 0 : decimals;
  const format = new Intl.NumberFormat(language, { style: "currency", currency, minimumFractionDigits: places, maximumFractionDigits: places });
  return format.format(/** @type {Intl.StringNumericLiteral} */ (fraction ? `${whole}.${fraction}` : whole));
}
