// The numbers of cards and bank accounts: how they are written, and their check digits.

const digitsOf = (/** @type {string} */ text) => text.replace(/\D/g, "");
const isAmex = (/** @type {string} */ digits) => /^3[47]/.test(digits);
/** The fewest digits that a number with this beginning has. @param {string} digits */
const shortest = (digits) => (isAmex(digits) ? 15 : /^3(0[0-5]|[689])/.test(digits) ? 14 : 16);

/** @param {string} digits */
function grouped(digits) {
  const groups = isAmex(digits) ? /^(\d{1,4})(\d{1,6})?(\d{1,5})?/ : /^(\d{1,4})(\d{1,4})?(\d{1,4})?(\d{1,4})?(\d{1,3})?/;
  return (groups.exec(digits) ?? []).slice(1).filter(Boolean).join(" ");
}

/** The check digit (Luhn). @param {string} digits */
function hasValidCheckDigit(digits) {
  let sum = 0;
  for (const [place, character] of [...digits].reverse().entries()) {
    const digit = Number(character) * (place % 2 === 1 ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
}

/** "12 / 34", from whatever is typed. @param {string} typed */
function expiry(typed) {
  const digits = digitsOf(/^\s*\d\s*\//.test(typed) || /^[2-9]/.test(typed) ? `0${typed}` : typed).slice(0, 4);
  return digits.length > 2 ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits;
}

// ---- Bank accounts ----

const compact = (/** @type {string} */ text) => text.replace(/[^0-9A-Za-z]/g, "").toUpperCase();
const inFours = (/** @type {string} */ text) => (compact(text).slice(0, 34).match(/.{1,4}/g) ?? []).join(" ");

/** The check digits (ISO 7064, modulo 97). @param {string} iban */
function hasValidIbanDigits(iban) {
  let remainder = 0;
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = parseInt(character, 36);
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97;
  }
  return remainder === 1;
}
