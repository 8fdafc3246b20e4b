// The inputs: each formats what is typed, and knows what is wrong with it.

/** @typedef {"number" | "expiry" | "cvc" | "postal" | "iban" | "name" | "email"} FieldName */
/** @typedef {"card" | "sepa_debit"} MethodType */
/** @typedef {{code: string, message: string} | undefined} Flaw */

/** @type {Record<FieldName, (value: string, number: string) => Flaw>} */
const FLAWS = {
  number(value) {
    const digits = digitsOf(value);
    if (digits.length < shortest(digits)) return { code: "incomplete_number", message: "Your card number is incomplete." };
    if (!hasValidCheckDigit(digits)) return { code: "invalid_number", message: "Your card number is invalid." };
  },
  expiry(value) {
    const digits = digitsOf(value);
    const month = Number(digits.slice(0, 2));
    if (digits.length < 4 || month < 1 || month > 12) return { code: "incomplete_expiry", message: "Your card’s expiration date is incomplete." };
    const now = new Date();
    const end = new Date(2000 + Number(digits.slice(2)), month, 1);
    if (end <= now) return { code: "invalid_expiry_year_past", message: "Your card’s expiration date is in the past." };
  },
  cvc(value, number) {
    const wanted = isAmex(digitsOf(number)) ? 4 : 3;
    if (digitsOf(value).length < wanted) return { code: "incomplete_cvc", message: "Your card’s security code is incomplete." };
  },
  postal(value) {
    if (value.trim().length < 3) return { code: "incomplete_zip", message: "Your postal code is incomplete." };
  },
  iban(value) {
    const iban = compact(value);
    if (iban.length < 15) return { code: "incomplete_iban", message: "Your IBAN is incomplete." };
    if (!hasValidIbanDigits(iban)) return { code: "invalid_iban", message: "Your IBAN is invalid." };
  },
  name(value) {
    if (!value.trim()) return { code: "incomplete_name", message: "Your name is incomplete." };
  },
  email(value) {
    if (!value.trim()) return { code: "incomplete_email", message: "Your email is incomplete." };
    if (!/^[^\s@]+@[^\s@]+$/.test(value.trim())) return { code: "invalid_email", message: "Your email is invalid." };
  },
};

// ---- Fields ----

const digitsOnly = (/** @type {(digits: string) => string} */ format) => (/** @type {string} */ typed) => format(digitsOf(typed));
const asTyped = (/** @type {string} */ typed) => typed;

/**
 * How a field looks. `stripe` is the name that Stripe gives the input inside its frame.
 * @typedef {object} Look
 * @property {string} label
 * @property {string} placeholder
 * @property {AutoFill} autocomplete
 * @property {(typed: string) => string} format
 * @property {string} [inputmode]
 * @property {string} [stripe]
 */
/** @type {Record<FieldName, Look>} */
const LOOKS = {
  number: { label: "Card number", placeholder: "1234 1234 1234 1234", autocomplete: "cc-number", format: digitsOnly(grouped), stripe: "cardNumber" },
  expiry: { label: "Expiration date", placeholder: "MM / YY", autocomplete: "cc-exp", format: expiry, stripe: "cardExpiry" },
  cvc: { label: "Security code", placeholder: "CVC", autocomplete: "cc-csc", format: digitsOnly((digits) => digits.slice(0, 4)), stripe: "cardCvc" },
  postal: { label: "Postal code", placeholder: "ZIP", autocomplete: "postal-code", format: asTyped, inputmode: "text", stripe: "postalCode" },
  iban: { label: "IBAN", placeholder: "DE00 0000 0000 0000 0000 00", autocomplete: "off", format: inFours, inputmode: "text", stripe: "iban" },
  name: { label: "Full name", placeholder: "First and last name", autocomplete: "name", format: asTyped, inputmode: "text" },
  email: { label: "Email", placeholder: "you@example.com", autocomplete: "email", format: asTyped, inputmode: "email" },
};

/** An input that formats what is typed and shows what is wrong with it. */
class Field {
  /**
   * @param {FieldName} name
   * @param {string} prefix of the ids; in the Payment Element they are those of Stripe's frames
   * @param {() => void} changed
   * @param {() => string} cardNumber decides how long the security code is
   */
  constructor(name, prefix, changed, cardNumber) {
    const { label, placeholder, autocomplete, format, inputmode = "numeric", stripe } = LOOKS[name];
    const id = `${prefix}-${name}Input`;
    this.name = name;
    this.cardNumber = cardNumber;
    this.error = make("p", { class: "error", id: `${prefix}-${name}Error` });
    // The input has no name: a form around it must not send a card number to the shop.
    this.input = make("input", {
      id,
      placeholder,
      autocomplete,
      inputmode,
      spellcheck: "false",
      "aria-required": "true",
      "aria-describedby": this.error.id,
      ...(stripe && { "data-elements-stable-field-name": stripe }),
    });
    this.label = make("label", { for: id }, label);
    this.box = make("div", {}, this.label, this.input, this.error);
    this.input.addEventListener("input", (event) => {
      // Deleting is left alone: what formatting adds could otherwise never be deleted.
      const deleting = event instanceof InputEvent && event.inputType.startsWith("delete");
      if (!deleting) this.#reformat(format);
      this.judge(false);
      changed();
    });
    this.input.addEventListener("blur", () => {
      if (!this.value) return;
      const before = this.error.textContent;
      this.judge(true);
      if (this.error.textContent !== before) changed();
    });
  }

  get value() {
    return this.input.value;
  }

  get flaw() {
    return FLAWS[this.name](this.value, this.cardNumber());
  }

  /** The flaw that the buyer sees. */
  get shownFlaw() {
    return this.error.textContent ? this.flaw : undefined;
  }

  /**
   * Formats what is typed and leaves the caret behind the letter or digit that it was behind.
   * @param {(typed: string) => string} format
   */
  #reformat(format) {
    const { input } = this;
    const atEnd = input.selectionStart === input.value.length;
    const formatted = format(input.value);
    if (formatted === input.value) return;
    let before = compact(input.value.slice(0, input.selectionStart ?? 0)).length;
    input.value = formatted;
    if (atEnd) return;
    let at = 0;
    for (; at < input.value.length && before > 0; at += 1) if (/\w/.test(input.value.charAt(at))) before -= 1;
    input.setSelectionRange(at, at);
  }

  /**
   * Shows what is wrong, or only takes away what is no longer wrong.
   * @param {boolean} show
   */
  judge(show) {
    const { flaw } = this;
    if (flaw && !show) return;
    this.error.textContent = flaw?.message ?? "";
    this.input.setAttribute("aria-invalid", String(Boolean(flaw)));
  }

  clear() {
    this.input.value = "";
    this.input.removeAttribute("aria-invalid");
    this.error.textContent = "";
  }
}

/**
 * The first flaw of some fields. The field gets the focus, and each shows its own flaw.
 * @param {Field[]} fields
 * @returns {StripeError | undefined}
 */
function validated(fields) {
  for (const field of fields) field.judge(true);
  for (const field of fields) {
    const { flaw } = field;
    if (!flaw) continue;
    field.input.focus();
    return { type: "validation_error", ...flaw };
  }
}

/**
 * What Stripe's API calls the details of a card.
 * @param {Field} number
 * @param {Field | undefined} expires
 * @param {Field | undefined} cvc
 */
function cardDetails(number, expires, cvc) {
  const digits = expires && digitsOf(expires.value);
  return {
    number: digitsOf(number.value),
    ...(digits !== undefined && { exp_month: String(Number(digits.slice(0, 2))), exp_year: `20${digits.slice(2)}` }),
    ...(cvc && { cvc: cvc.value }),
  };
}

/**
 * The test cards as buttons.
 * @param {TestCard[]} cards
 * @param {(number: string) => void} choose
 */
function cardButtons(cards, choose) {
  const box = make("div", { class: "cards" });
  for (const { number, then } of cards) {
    const button = make("button", { type: "button", "data-card": number }, make("span", {}, then), make("small", {}, grouped(number)));
    button.addEventListener("click", () => choose(number));
    box.append(button);
  }
  return box;
}

/**
 * The test accounts as buttons.
 * @param {TestAccount[]} accounts
 * @param {(iban: string) => void} choose
 */
function accountButtons(accounts, choose) {
  const box = make("div", { class: "cards" });
  for (const { iban, then } of accounts) {
    const button = make("button", { type: "button", "data-iban": iban }, make("span", {}, then), make("small", {}, inFours(iban)));
    button.addEventListener("click", () => choose(iban));
    box.append(button);
  }
  return box;
}

/** A date in the future, as a buyer types it. */
const validUntil = () => `12 / ${String((new Date().getFullYear() + 5) % 100).padStart(2, "0")}`;

/**
 * The fields of each way to pay, in their order.
 * @type {Record<MethodType, Exclude<FieldName, "postal">[]>}
 */
const FIELDS = { card: ["number", "expiry", "cvc"], sepa_debit: ["name", "email", "iban"] };
/** @type {Record<MethodType, string>} */
const METHOD_NAMES = { card: "Card", sepa_debit: "SEPA Debit" };
const isMethod = (/** @type {string} */ type) => type in FIELDS;
