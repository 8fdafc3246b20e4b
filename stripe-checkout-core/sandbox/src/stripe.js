// A stand-in for Stripe.js, served by the sandbox: the part of the interface that Stripe documents for the Payment Element, with a form for cards and bank
// accounts that says what it is. See https://docs.stripe.com/js. It keeps to a strict Content-Security-Policy as Stripe.js does: no inline style or script, and it talks to nobody but
// the sandbox that it came from.
//
// Where Stripe.js puts an iframe, this puts its fields into the page: there is nothing here to protect, and a learner can look at it.

(() => {
  "use strict";

  /** @typedef {import("@stripe/stripe-js").StripeError} StripeError */
  /** @typedef {import("@stripe/stripe-js").Appearance} Appearance */
  /** @typedef {import("@stripe/stripe-js").PaymentIntent} PaymentIntent */
  /** @typedef {import("@stripe/stripe-js").SetupIntent} SetupIntent */
  /** @typedef {PaymentIntent | SetupIntent} Intent */
  /** @typedef {{intent: Intent, error?: undefined} | {error: StripeError, intent?: undefined}} Told */
  /** @typedef {{paymentIntent: PaymentIntent, error?: undefined} | {error: StripeError, paymentIntent?: undefined}} Result */
  /** @typedef {{setupIntent: SetupIntent, error?: undefined} | {error: StripeError, setupIntent?: undefined}} SetupResult */
  /** @typedef {{id: string, card?: {brand: string, last4: string, exp_month: number, exp_year: number}, sepa_debit?: {last4: string}}} SavedMethod */
  /** @typedef {{mode?: string, amount?: number, currency?: string, captureMethod?: string, clientSecret?: string, customerSessionClientSecret?: string, setupFutureUsage?: string | null, appearance?: Appearance}} CommonOptions */
  /** @typedef {{paymentMethodCreation?: string, paymentMethodTypes?: string[], allowedPaymentMethodTypes?: string[], excludedPaymentMethodTypes?: string[]}} MethodOptions */
  /** @typedef {{capture_method?: string, setup_future_usage?: string | null, payment_method_types?: string[]}} OptionAliases */
  /** @typedef {CommonOptions & MethodOptions & OptionAliases} ElementsOptions */
  /** @typedef {{return_url?: string, payment_method?: string, payment_method_data?: Record<string, any>, shipping?: object}} ConfirmParams */
  /** @typedef {{elements?: Elements, clientSecret?: string, confirmParams?: ConfirmParams, redirect?: "always" | "if_required"}} ConfirmOptions */
  /** @typedef {{payment_method?: unknown, payment_method_options?: {card?: Record<string, any>}, return_url?: string}} ClassicData */
  /** @typedef {{handleActions?: boolean}} ClassicOptions */
  /** The key, and the connected account if there is one. @typedef {{key: string, _stripe_account?: string}} Credentials */
  /** @typedef {{number: string, then: string}} TestCard */
  /** @typedef {{iban: string, then: string}} TestAccount */

  const { origin: api, pathname } = new URL(/** @type {HTMLScriptElement} */ (document.currentScript).src);
  /** The release that this script stands in for: Stripe's loader compares it with its own. */
  const RELEASE = /^\/v3(\/|$)/.test(pathname) ? 3 : (/^\/([a-z]+)\/stripe\.js$/.exec(pathname)?.[1] ?? "endive");

  /** @type {TestCard[]} */
  const FIRST_CARDS = [
    { number: "4242424242424242", then: "Succeeds" },
    { number: "4000000000000002", then: "Is declined" },
    { number: "4000002500003155", then: "3-D Secure" },
  ];
  /** @type {TestCard[]} */
  const MORE_CARDS = [
    { number: "4000000000009995", then: "Insufficient funds" },
    { number: "4000000000000069", then: "Expired card" },
    { number: "4000000000000127", then: "Wrong CVC" },
    { number: "4000000000000119", then: "Processing error" },
    { number: "4000002760003184", then: "3-D Secure each time" },
    { number: "4000000000003220", then: "3-D Secure 2" },
    { number: "4000000000000341", then: "Can be saved, then declined" },
    { number: "4000000000000077", then: "Available at once" },
    { number: "4000000000000259", then: "Disputed later" },
    { number: "4000000000001976", then: "The bank asks later" },
    { number: "4000000000007726", then: "Refunds are pending" },
    { number: "4000000000005126", then: "Refunds come back" },
    { number: "4000000000001000", then: "Stays processing" },
    { number: "5555555555554444", then: "Succeeds (Mastercard)" },
    { number: "378282246310005", then: "Succeeds (American Express)" },
  ];

  /** @type {TestAccount[]} */
  const FIRST_ACCOUNTS = [
    { iban: "DE89370400440532013000", then: "Succeeds after a while" },
    { iban: "DE62370400440532013001", then: "Fails after a while" },
    { iban: "DE35370400440532013002", then: "Disputed later" },
  ];
  /** @type {TestAccount[]} */
  const MORE_ACCOUNTS = [
    { iban: "DE08370400440532013003", then: "Succeeds in three minutes" },
    { iban: "DE78370400440532013004", then: "Fails in three minutes" },
    { iban: "DE65370400440002222227", then: "Insufficient funds" },
    { iban: "FR1420041010050500013M02606", then: "Succeeds (France)" },
  ];

  /** What Stripe.js throws when it is called wrongly. */
  class IntegrationError extends Error {
    name = "IntegrationError";
  }

  // ---- The look: the appearance that the page asks for, as custom properties ----

  const STYLE = `
    .StripeSandbox, .StripeSandbox-dialog {
      --ss-primary: #0570de; --ss-ground: #ffffff; --ss-text: #30313d; --ss-muted: #5f6270; --ss-placeholder: #6d7080;
      --ss-danger: #b3202c; --ss-line: #8a91a0; --ss-radius: 5px; --ss-font: system-ui, sans-serif;
      color: var(--ss-text); font: 400 16px/1.5 var(--ss-font); text-align: start;
    }
    .StripeSandbox.night, .StripeSandbox-dialog.night {
      --ss-primary: #85d996; --ss-ground: #30313d; --ss-text: #ffffff; --ss-muted: #b8bac4; --ss-placeholder: #9a9ca8; --ss-danger: #fe8592;
    }
    .StripeSandbox *, .StripeSandbox-dialog * { box-sizing: border-box; }
    .StripeSandbox fieldset { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; min-width: 0; margin: 0; padding: 0; border: 0; }
    .StripeSandbox fieldset.all { display: block; }
    .StripeSandbox .wide { grid-column: 1 / -1; }
    .StripeSandbox [role="tablist"] { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; margin-bottom: 12px; }
    .StripeSandbox [role="tab"] {
      min-height: 48px; padding: 6px 12px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
      background: var(--ss-ground); color: inherit; font: inherit; font-weight: 500; text-align: start; cursor: pointer;
    }
    .StripeSandbox [role="tab"]:hover { border-color: var(--ss-primary); }
    .StripeSandbox [role="tab"][aria-selected="true"] { border-color: var(--ss-primary); box-shadow: 0 0 0 1px var(--ss-primary); color: var(--ss-primary); }
    .StripeSandbox [hidden] { display: none !important; }
    .StripeSandbox .mandate { margin: 0; color: var(--ss-muted); font-size: 13px; }
    .StripeSandbox .notice { padding: 10px 12px; border: 1px dashed var(--ss-line); border-radius: var(--ss-radius); font-size: 14px; }
    .StripeSandbox .notice p { margin: 0; }
    .StripeSandbox .cards { display: grid; gap: 6px; margin-top: 8px; }
    .StripeSandbox .cards button, .StripeSandbox-dialog button {
      min-height: 44px; padding: 6px 10px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
      background: var(--ss-ground); color: inherit; font: inherit; text-align: start; cursor: pointer;
    }
    .StripeSandbox .cards button {
      display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 12px; font-size: 14px; line-height: 1.35;
    }
    .StripeSandbox .cards button:hover, .StripeSandbox-dialog button:hover { border-color: var(--ss-primary); }
    .StripeSandbox .cards small { color: var(--ss-muted); font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
    .StripeSandbox summary { display: flex; align-items: center; min-height: 44px; width: fit-content; color: var(--ss-muted); cursor: pointer; }
    .StripeSandbox summary::before { content: "+"; width: 1.1em; font-weight: 600; }
    .StripeSandbox details[open] summary::before { content: "–"; }
    .StripeSandbox summary::-webkit-details-marker { display: none; }
    .StripeSandbox details { margin-bottom: -6px; }
    .StripeSandbox details .cards { margin: 0 0 6px; }
    .StripeSandbox label { display: block; margin-bottom: 4px; font-size: 14px; font-weight: 500; }
    .StripeSandbox input {
      display: block; width: 100%; min-height: 48px; padding: 10px 12px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
      background: var(--ss-ground); color: inherit; font: inherit; font-variant-numeric: tabular-nums;
    }
    .StripeSandbox input::placeholder { color: var(--ss-placeholder); opacity: 1; }
    .StripeSandbox input[aria-invalid="true"] { border-color: var(--ss-danger); box-shadow: 0 0 0 1px var(--ss-danger); }
    .StripeSandbox input:disabled { opacity: .6; }
    .StripeSandbox .saved { display: grid; grid-template-columns: 1fr; gap: 6px; margin: 0 0 12px; }
    .StripeSandbox .saved .row { display: flex; align-items: center; border: 1px solid var(--ss-line); border-radius: var(--ss-radius); background: var(--ss-ground); }
    .StripeSandbox .saved .row:has(:checked) { border-color: var(--ss-primary); box-shadow: 0 0 0 1px var(--ss-primary); }
    .StripeSandbox .saved label {
      display: flex; flex: 1; flex-wrap: wrap; align-items: center; gap: 0 12px; min-height: 48px; margin: 0; padding: 6px 12px; font-size: 16px; cursor: pointer;
    }
    .StripeSandbox .saved small { color: var(--ss-muted); font-size: 14px; font-weight: 400; font-variant-numeric: tabular-nums; }
    .StripeSandbox .saved button {
      min-width: 48px; min-height: 48px; padding: 6px 12px; border: 0; border-radius: var(--ss-radius); background: none; color: var(--ss-muted); font: inherit; font-size: 14px; cursor: pointer;
    }
    .StripeSandbox .saved button:hover { color: var(--ss-danger); text-decoration: underline; }
    .StripeSandbox .keep { display: flex; align-items: center; gap: 12px; min-height: 44px; margin: 0; font-weight: 400; cursor: pointer; }
    .StripeSandbox input[type="radio"], .StripeSandbox input[type="checkbox"] {
      flex: none; width: 20px; min-height: 20px; height: 20px; margin: 0; padding: 0; accent-color: var(--ss-primary);
    }
    .StripeSandbox .error { margin: 4px 0 0; color: var(--ss-danger); font-size: 14px; }
    .StripeSandbox .error:empty { display: none; }
    .StripeSandbox :focus-visible, .StripeSandbox-dialog :focus-visible { outline: 3px solid var(--ss-primary); outline-offset: 1px; }
    .StripeSandbox.inline { font-size: inherit; line-height: 1.4; }
    .StripeSandbox .line { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
    .StripeSandbox .line input { flex: 1 1 4.5rem; width: auto; min-width: 0; min-height: 28px; padding: 0; border: 0; background: none; }
    .StripeSandbox .line input.number, .StripeSandbox .line input.iban { flex: 4 1 13rem; }
    .StripeSandbox .line input[aria-invalid="true"] { box-shadow: none; color: var(--ss-danger); }
    .StripeSandbox .hint { margin: 4px 0 0; font-size: 13px; }
    .StripeSandbox .hint summary { min-height: 28px; }
    .StripeSandbox .hint .cards { max-height: 15rem; overflow-y: auto; }
    .StripeSandbox .placeholder strong { font-weight: 600; }
    .StripeSandbox .placeholder { color: var(--ss-muted); }
    .StripeSandbox-dialog {
      width: min(30rem, calc(100vw - 32px)); margin: auto; padding: 24px; border: 1px solid var(--ss-line); border-radius: calc(var(--ss-radius) * 2);
      background: var(--ss-ground);
    }
    .StripeSandbox-dialog::backdrop { background: rgb(0 0 0 / .6); }
    .StripeSandbox-dialog h2 { margin: 0 0 8px; font-size: 20px; line-height: 1.3; }
    .StripeSandbox-dialog p { margin: 0 0 8px; }
    .StripeSandbox-dialog .muted { color: var(--ss-muted); font-size: 14px; }
    .StripeSandbox-dialog .choice { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 20px; }
    .StripeSandbox-dialog .choice button { flex: 1 1 10rem; font-weight: 600; text-align: center; }
    .StripeSandbox-dialog .choice .yes { border-color: var(--ss-primary); background: var(--ss-primary); color: var(--ss-ground); }
    .StripeSandbox-dialog button:disabled { opacity: .5; cursor: progress; }
  `;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets.push(sheet);

  /**
   * @param {HTMLElement} root
   * @param {Appearance | undefined} appearance
   */
  function applyAppearance(root, appearance) {
    root.classList.toggle("night", appearance?.theme === "night");
    const variables = appearance?.variables ?? {};
    for (const [property, value] of [
      ["--ss-primary", variables.colorPrimary],
      ["--ss-ground", variables.colorBackground],
      ["--ss-text", variables.colorText],
      ["--ss-muted", variables.colorTextSecondary],
      ["--ss-placeholder", variables.colorTextPlaceholder],
      ["--ss-danger", variables.colorDanger],
      ["--ss-radius", variables.borderRadius],
      ["--ss-font", variables.fontFamily],
    ]) {
      if (!property) continue;
      if (value) root.style.setProperty(property, value);
      else root.style.removeProperty(property);
    }
  }

  /**
   * An element with attributes and children.
   * @template {keyof HTMLElementTagNameMap} K
   * @param {K} tag
   * @param {Record<string, string>} [attributes]
   * @param {(Node | string)[]} children
   * @returns {HTMLElementTagNameMap[K]}
   */
  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // ---- Card numbers ----

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
   * How each field looks: `stripe` is the name that Stripe gives the input inside its frame.
   * @type {Record<FieldName, {label: string, placeholder: string, autocomplete: AutoFill, format: (typed: string) => string, inputmode?: string, stripe?: string}>}
   */
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
     * @param {string} prefix of the ids; those of the Payment Element are the ids inside Stripe's own frames
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

  /** The test cards as buttons. @param {TestCard[]} cards @param {(number: string) => void} choose */
  function cardButtons(cards, choose) {
    const box = make("div", { class: "cards" });
    for (const { number, then } of cards) {
      const button = make("button", { type: "button", "data-card": number }, make("span", {}, then), make("small", {}, grouped(number)));
      button.addEventListener("click", () => choose(number));
      box.append(button);
    }
    return box;
  }

  /** The test accounts as buttons. @param {TestAccount[]} accounts @param {(iban: string) => void} choose */
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

  /** What each way to pay asks for, in the order of its fields. @type {Record<MethodType, Exclude<FieldName, "postal">[]>} */
  const FIELDS = { card: ["number", "expiry", "cvc"], sepa_debit: ["name", "email", "iban"] };
  /** @type {Record<MethodType, string>} */
  const METHOD_NAMES = { card: "Card", sepa_debit: "SEPA Debit" };
  const isMethod = (/** @type {string} */ type) => type in FIELDS;

  // ---- What the customer saved ----

  /** The payment methods of a customer session: one of them is chosen, or none, and then another one is typed in. */
  class SavedMethods {
    /** The chosen one's id. @type {string | undefined} */
    chosen;
    /** Whether the buyer is asked to keep a new one. */
    offersToSave = false;
    /** What one that is kept will be used for. Without it the intent says so. @type {string | undefined} */
    usage;
    root = make("fieldset", { class: "saved", "aria-label": "Saved payment methods", hidden: "" });

    /**
     * @param {string | undefined} secret
     * @param {Credentials} credentials
     * @param {() => void} changed
     */
    constructor(secret, credentials, changed) {
      this.secret = secret;
      this.credentials = credentials;
      this.changed = changed;
    }

    async load() {
      if (!this.secret) return;
      const { answer } = await request("GET", "/v1/elements/saved_payment_methods", { ...this.credentials, client_secret: this.secret });
      if (!answer) return;
      const { payment_method_save, payment_method_save_usage, payment_method_remove } = answer.features;
      this.offersToSave = payment_method_save === "enabled";
      this.usage = payment_method_save_usage ?? undefined;
      /** @type {SavedMethod[]} */
      const methods = answer.payment_methods;
      this.root.hidden = methods.length === 0;
      this.chosen = methods[0]?.id;
      const rows = methods.map((method) => this.#row(method, payment_method_remove === "enabled"));
      this.root.replaceChildren(...rows, make("div", { class: "row" }, this.#choice(undefined, "Another payment method")));
      this.changed();
    }

    /**
     * @param {string | undefined} id
     * @param {...(Node | string)} words
     */
    #choice(id, ...words) {
      const input = make("input", { type: "radio", name: "StripeSandbox-saved", value: id ?? "" });
      input.checked = id === this.chosen;
      input.addEventListener("change", () => {
        this.chosen = id;
        this.changed();
      });
      return make("label", {}, input, make("span", {}, ...words));
    }

    /**
     * @param {SavedMethod} method
     * @param {boolean} removable
     */
    #row(method, removable) {
      const brand = method.card ? method.card.brand.charAt(0).toUpperCase() + method.card.brand.slice(1) : "Bank account";
      const name = `${brand} •••• ${(method.card ?? method.sepa_debit)?.last4 ?? ""}`;
      const until = method.card ? ` ${String(method.card.exp_month).padStart(2, "0")} / ${method.card.exp_year % 100}` : "";
      const row = make("div", { class: "row", "data-saved": method.id }, this.#choice(method.id, name, make("small", {}, until)));
      if (!removable) return row;
      const remove = make("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
      remove.addEventListener("click", async () => {
        // A slip of the finger is not enough: a card that is removed cannot be brought back.
        if (remove.textContent !== "Really?") {
          remove.textContent = "Really?";
          return;
        }
        remove.disabled = true;
        const { error } = await request("POST", "/v1/elements/saved_payment_methods", {
          ...this.credentials,
          client_secret: String(this.secret),
          payment_method: method.id,
        });
        if (error) {
          remove.disabled = false;
          remove.textContent = "Remove";
        } else await this.load();
      });
      row.append(remove);
      return row;
    }
  }

  // ---- What every Element does ----

  class ElementBase {
    /** @type {Map<string, Set<(event: any) => void>>} */
    #handlers = new Map();
    #destroyed = false;
    #ready = false;
    /** @type {Element | undefined} */
    #container;
    root = make("div", { class: "StripeSandbox" });

    /**
     * @param {string} elementType
     * @param {() => void} forget lets go of the Element when it is destroyed
     */
    constructor(elementType, forget) {
      this.elementType = elementType;
      this.forget = forget;
      this.root.addEventListener("focusin", (event) => this.#crossed(event) && this.emit("focus"));
      this.root.addEventListener("focusout", (event) => this.#crossed(event) && this.emit("blur"));
      this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.emit("escape"));
    }

    /** Whether the focus came from outside, or goes there. @param {FocusEvent} event */
    #crossed(event) {
      return !(event.relatedTarget instanceof Node && this.root.contains(event.relatedTarget));
    }

    /**
     * What must be there before the Element is ready.
     * @returns {Promise<StripeError | undefined>}
     */
    async load() {
      return undefined;
    }

    /** What the event `ready` says besides. @returns {object} */
    readyDetails() {
      return {};
    }

    get container() {
      return this.#container;
    }

    /** @param {string | HTMLElement} where */
    mount(where) {
      if (this.#destroyed) throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
      const container = typeof where === "string" ? document.querySelector(where) : where;
      if (!(container instanceof Element)) {
        if (typeof where !== "string") throw new IntegrationError("Invalid DOM element. Make sure to call mount() with a valid DOM element or selector.");
        throw new IntegrationError(
          `The selector you specified (${where}) applies to no DOM elements that are currently on the page.\nMake sure the element exists on the page before calling mount().`,
        );
      }
      if (this.#container && this.root.isConnected) {
        if (this.#container === container) return;
        throw new IntegrationError("This Element is already mounted. Use `unmount()` to unmount the Element before re-mounting.");
      }
      this.#container = container;
      container.replaceChildren(this.root);
      container.classList.add("StripeElement");
      this.mounted(container);
      queueMicrotask(() => this.emit("loaderstart"));
      setTimeout(async () => {
        const error = await this.load();
        if (this.#destroyed || !this.root.isConnected) return;
        if (error) {
          this.emit("loaderror", { error });
          return;
        }
        this.#ready = true;
        this.emit("ready", this.readyDetails());
      });
    }

    /** @param {Element} _container */
    mounted(_container) {}

    get isMounted() {
      return this.#ready && this.root.isConnected;
    }

    unmount() {
      this.#container?.classList.remove("StripeElement");
      this.#container = undefined;
      this.#ready = false;
      this.root.remove();
    }

    destroy() {
      if (this.#destroyed) throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
      this.unmount();
      this.#destroyed = true;
      this.forget();
    }

    clear() {}

    focus() {
      /** @type {HTMLElement | null} */ (this.root.querySelector("input, button"))?.focus();
    }

    blur() {
      if (document.activeElement instanceof HTMLElement && this.root.contains(document.activeElement)) document.activeElement.blur();
    }

    /** @param {Record<string, any>} options */
    update(options) {
      warnOfUnknown("update", options, OPTIONS[this.elementType]);
      return this;
    }

    /** @param {string} type @param {object} [details] */
    emit(type, details = {}) {
      for (const handler of [...(this.#handlers.get(type) ?? [])]) handler({ elementType: this.elementType, ...details });
    }

    /** @param {string} type @param {(event: any) => void} handler */
    on(type, handler) {
      if (typeof handler !== "function") throw new IntegrationError("You must provide a function as an event handler.");
      this.#handlers.set(type, (this.#handlers.get(type) ?? new Set()).add(handler));
      return this;
    }

    /** @param {string} type @param {(event: any) => void} handler */
    once(type, handler) {
      const once = (/** @type {any} */ event) => {
        this.off(type, once);
        handler(event);
      };
      return this.on(type, once);
    }

    /** @param {string} type @param {(event: any) => void} [handler] */
    off(type, handler) {
      if (handler) this.#handlers.get(type)?.delete(handler);
      else this.#handlers.delete(type);
      return this;
    }
  }

  // ---- The Payment Element ----

  class PaymentElement extends ElementBase {
    #offered = "";
    /** The way to pay that is shown. @type {MethodType} */
    type = "card";
    /** The group that it belongs to. @type {Elements | undefined} */
    group;

    /**
     * @param {() => Promise<{types: string[], error?: undefined} | {error: StripeError}>} types the ways to pay that the payment takes
     * @param {() => void} forget
     * @param {{secret?: string | undefined, credentials: Credentials, savedByIntent: () => Promise<boolean>}} session of the customer, if known
     */
    constructor(types, forget, session) {
      super("payment", forget);
      this.saved = new SavedMethods(session.secret, session.credentials, () => this.#chosen());
      this.savedByIntent = session.savedByIntent;
      this.keep = make("input", { type: "checkbox", id: "Field-saveInput" });
      this.keepBox = make("label", { class: "keep wide", for: "Field-saveInput", hidden: "" }, this.keep, "Save payment details for future purchases");
      this.types = types;
      /** @type {(name: FieldName) => Field} */
      const field = (name) => new Field(name, "Field", () => this.#changed(), () => this.fields.number.value);
      this.fields = {
        number: field("number"),
        expiry: field("expiry"),
        cvc: field("cvc"),
        iban: field("iban"),
        name: field("name"),
        email: field("email"),
      };
      const fill = (/** @type {string} */ number) => this.#fill(number);
      const fillAccount = (/** @type {string} */ iban) => this.#fillAccount(iban);
      const cards = make("details", {}, make("summary", {}, "More test cards"), cardButtons(MORE_CARDS, fill));
      const accounts = make("details", {}, make("summary", {}, "More test accounts"), accountButtons(MORE_ACCOUNTS, fillAccount));
      const warning = () => make("strong", {}, "Sandbox: no real money moves.");
      this.panels = {
        card: make(
          "fieldset",
          { id: "Panel-card", "aria-label": "Card, in a sandbox" },
          make(
            "div",
            { class: "notice wide" },
            make("p", {}, warning(), " Never type a real card here. Choose a test card:"),
            cardButtons(FIRST_CARDS, fill),
            cards,
          ),
          this.fields.number.box,
          this.fields.expiry.box,
          this.fields.cvc.box,
          this.keepBox,
        ),
        sepa_debit: make(
          "fieldset",
          { id: "Panel-sepa_debit", "aria-label": "Bank account, in a sandbox" },
          make(
            "div",
            { class: "notice wide" },
            make("p", {}, warning(), " Never type a real account here. Choose a test account:"),
            accountButtons(FIRST_ACCOUNTS, fillAccount),
            accounts,
          ),
          this.fields.name.box,
          this.fields.email.box,
          this.fields.iban.box,
          make(
            "p",
            { class: "mandate wide" },
            "By providing your IBAN and confirming this payment, you authorise the shop and its payment service provider to send instructions to your bank to debit " +
              "your account. A real debit takes days to settle.",
          ),
        ),
      };
      for (const name of /** @type {const} */ (["number", "iban"])) this.fields[name].box.classList.add("wide");
      this.tabs = make("div", { role: "tablist", "aria-label": "How to pay" });
      this.fieldset = make("fieldset", { class: "all" }, this.tabs, this.panels.card, this.panels.sepa_debit);
      this.root.append(this.saved.root, this.fieldset);
      this.#offer(["card"]);
    }

    /** @param {string} number */
    #fill(number) {
      this.fields.number.input.value = grouped(number);
      this.fields.expiry.input.value = validUntil();
      this.fields.cvc.input.value = isAmex(number) ? "1234" : "123";
      for (const field of this.#shown()) field.judge(true);
      this.#changed();
    }

    /** What a buyer has typed already stays. @param {string} iban */
    #fillAccount(iban) {
      this.fields.iban.input.value = inFours(iban);
      this.fields.name.input.value ||= "Jenny Rosen";
      this.fields.email.input.value ||= "jenny@example.com";
      for (const field of this.#shown()) field.judge(true);
      this.#changed();
    }

    /** Shows a tab for each way to pay, if there is more than one. @param {string[]} types */
    #offer(types) {
      const offered = /** @type {MethodType[]} */ (types.filter(isMethod));
      if (this.#offered === offered.join()) return;
      this.#offered = offered.join();
      if (!offered.includes(this.type)) this.type = offered[0] ?? "card";
      this.tabs.replaceChildren(
        ...offered.map((type) => {
          const tab = make("button", { type: "button", role: "tab", id: `Tab-${type}`, "data-method": type, "aria-controls": `Panel-${type}` }, METHOD_NAMES[type]);
          tab.addEventListener("click", () => this.#select(type));
          tab.addEventListener("keydown", ({ key }) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
            const next = step && offered[(offered.indexOf(type) + step + offered.length) % offered.length];
            if (!next) return;
            this.#select(next);
            /** @type {HTMLElement | null} */ (this.root.querySelector(`#Tab-${next}`))?.focus();
          });
          return tab;
        }),
      );
      const several = offered.length > 1;
      this.tabs.hidden = !several;
      for (const [type, panel] of Object.entries(this.panels)) {
        if (several) {
          panel.setAttribute("role", "tabpanel");
          panel.setAttribute("aria-labelledby", `Tab-${type}`);
        } else {
          panel.removeAttribute("role");
          panel.removeAttribute("aria-labelledby");
        }
      }
      this.#show();
    }

    #show() {
      for (const [type, panel] of Object.entries(this.panels)) panel.hidden = type !== this.type;
      for (const tab of this.tabs.children) {
        const selected = tab.id === `Tab-${this.type}`;
        tab.setAttribute("aria-selected", String(selected));
        tab.setAttribute("tabindex", selected ? "0" : "-1");
      }
    }

    /** @param {MethodType} type */
    #select(type) {
      if (type === this.type) return;
      this.type = type;
      this.#show();
      this.#changed();
    }

    /** Another saved payment method was chosen, or none. */
    #chosen() {
      this.fieldset.hidden = this.saved.chosen !== undefined;
      this.keepBox.hidden = !this.saved.offersToSave;
      this.#changed();
    }

    /** Asks again which ways to pay there are. */
    async refresh() {
      const told = await this.types();
      if (told.error) return told.error;
      this.#offer(told.types);
      return undefined;
    }

    #shown() {
      return FIELDS[this.type].map((name) => this.fields[name]);
    }

    #changed() {
      const fields = this.#shown();
      if (this.saved.chosen) {
        const value = { type: "card", payment_method: { id: this.saved.chosen, billing_details: {} } };
        return this.emit("change", { empty: false, complete: true, collapsed: false, value });
      }
      this.emit("change", {
        empty: fields.every((field) => !field.value),
        complete: fields.every((field) => !field.flaw),
        collapsed: false,
        value: { type: this.type },
      });
    }

    /**
     * The first flaw, which also gets the focus.
     * @returns {StripeError | undefined}
     */
    validate() {
      return this.saved.chosen ? undefined : validated(this.#shown());
    }

    /**
     * The parameters of the PaymentMethod, as Stripe's API takes them.
     * @returns {Record<string, string>}
     */
    params() {
      if (this.saved.chosen) return { payment_method: this.saved.chosen };
      if (this.type === "sepa_debit") {
        return {
          "payment_method_data[type]": "sepa_debit",
          "payment_method_data[sepa_debit][iban]": compact(this.fields.iban.value),
          "payment_method_data[billing_details][name]": this.fields.name.value.trim(),
          "payment_method_data[billing_details][email]": this.fields.email.value.trim(),
        };
      }
      const { number, expiry, cvc } = this.fields;
      return {
        "payment_method_data[type]": "card",
        ...flatten(cardDetails(number, expiry, cvc), "payment_method_data[card]"),
        ...(this.saved.offersToSave &&
          this.keep.checked && { "payment_method_data[allow_redisplay]": "always", ...(this.saved.usage && { "payment_method_options[card][setup_future_usage]": this.saved.usage }) }),
      };
    }

    async load() {
      const [error] = await Promise.all([this.refresh(), this.saved.load()]);
      if (error) return error;
      if (this.saved.usage && (await this.savedByIntent())) {
        const conflict = new IntegrationError(
          "The CustomerSession sets payment_method_save_usage, and setup_future_usage is set on the PaymentIntent or on Elements. Set only one of the two.",
        );
        this.root.replaceChildren();
        reportError(conflict);
        return { type: /** @type {const} */ ("invalid_request_error"), message: conflict.message };
      }
      return undefined;
    }

    clear() {
      for (const field of Object.values(this.fields)) field.clear();
      this.#changed();
    }

    focus() {
      this.#shown()[0]?.input.focus();
    }

    collapse() {
      return this;
    }

    /** @param {{readOnly?: boolean}} options */
    update(options) {
      if (options.readOnly !== undefined) this.fieldset.disabled = this.saved.root.disabled = options.readOnly;
      return super.update(options);
    }
  }

  // ---- The Elements for a card or an account in the shop's own form ----

  /** @typedef {"card" | "cardNumber" | "cardExpiry" | "cardCvc" | "iban"} InputType */

  /** The fields of each Element. @type {Record<InputType, FieldName[]>} */
  const INPUTS = { card: ["number", "expiry", "cvc", "postal"], cardNumber: ["number"], cardExpiry: ["expiry"], cardCvc: ["cvc"], iban: ["iban"] };
  const isInput = (/** @type {string} */ type) => Object.hasOwn(INPUTS, type);

  /** The beginnings of card numbers. @type {[string, RegExp][]} */
  const BRANDS = [
    ["visa", /^4/],
    ["mastercard", /^(5[1-5]|2[2-7])/],
    ["amex", /^3[47]/],
    ["discover", /^(6011|64[4-9]|65)/],
    ["diners", /^3(0[0-5]|[689])/],
    ["jcb", /^35/],
    ["unionpay", /^62/],
  ];
  const brandOf = (/** @type {string} */ digits) => BRANDS.find(([, begins]) => begins.test(digits))?.[0] ?? "unknown";

  class InputElement extends ElementBase {
    #state = "";

    /**
     * @param {InputType} type
     * @param {Record<string, any>} options
     * @param {Elements} group
     */
    constructor(type, options, group) {
      super(type, () => group.forget(type));
      this.group = group;
      this.options = { ...options };
      const prefix = `Sandbox-${type}`;
      /** @type {Field[]} */
      this.fields = INPUTS[type].map((name) => new Field(name, prefix, () => this.#changed(), () => group.cardNumber()));
      this.line = make("div", { class: "line" });
      for (const { input, name } of this.fields) {
        input.setAttribute("aria-label", LOOKS[name].label);
        input.removeAttribute("aria-describedby");
        input.classList.add(name);
        this.line.append(input);
      }
      this.root.classList.add("inline");
      this.root.append(this.line);
      if (type === "card" || type === "cardNumber") this.root.append(this.#testCards());
      if (type === "iban") this.root.append(this.#hint("test accounts", accountButtons([...FIRST_ACCOUNTS, ...MORE_ACCOUNTS], (iban) => this.#fill({ iban: inFours(iban) }))));
      this.#apply();
    }

    #testCards() {
      const choose = (/** @type {string} */ number) => {
        this.#fill({ number: grouped(number), expiry: validUntil(), cvc: isAmex(number) ? "1234" : "123", postal: "12345" });
        // The other fields may be Elements of their own.
        if (this.elementType === "cardNumber") this.group.fillBeside(number);
      };
      return this.#hint("test cards", cardButtons([...FIRST_CARDS, ...MORE_CARDS], choose));
    }

    /** @param {string} what @param {HTMLElement} buttons */
    #hint(what, buttons) {
      return make("details", { class: "hint" }, make("summary", {}, `Sandbox: never type real details. Show ${what}`), buttons);
    }

    /** @param {Partial<Record<FieldName, string>>} values */
    fill(values) {
      this.#fill(values);
    }

    /** @param {Partial<Record<FieldName, string>>} values */
    #fill(values) {
      for (const field of this.fields) {
        const value = values[field.name];
        if (value === undefined) continue;
        field.input.value = value;
        field.judge(true);
      }
      this.#changed();
    }

    /** What the page's options change. */
    #apply() {
      const { style, disabled = false, placeholder, hidePostalCode = false, value } = this.options;
      const base = style?.base ?? {};
      for (const [property, wanted] of [
        ["color", base.color],
        ["font-family", base.fontFamily],
        ["font-size", base.fontSize],
        ["--ss-placeholder", base["::placeholder"]?.color],
        ["--ss-danger", style?.invalid?.color],
      ]) {
        if (wanted) this.root.style.setProperty(property, String(wanted));
      }
      for (const field of this.fields) {
        field.input.disabled = disabled;
        if (placeholder) field.input.placeholder = placeholder;
        if (field.name !== "postal") continue;
        field.input.hidden = hidePostalCode;
        if (value?.postalCode) field.input.value = value.postalCode;
      }
    }

    /** The fields that the buyer sees. @returns {Field[]} */
    get asked() {
      return this.fields.filter((field) => !field.input.hidden);
    }

    /** @param {FieldName} name */
    field(name) {
      return this.asked.find((field) => field.name === name);
    }

    #changed() {
      const { asked } = this;
      const empty = asked.every((field) => !field.value);
      const complete = asked.every((field) => !field.flaw);
      const flaw = asked.map((field) => field.shownFlaw).find(Boolean);
      this.#mark(flaw ? "invalid" : complete ? "complete" : empty ? "empty" : "");
      const number = this.field("number");
      this.emit("change", {
        empty,
        complete,
        error: flaw && { type: "validation_error", ...flaw },
        ...(number && { brand: brandOf(digitsOf(number.value)) }),
        ...(this.elementType === "card" && { value: { postalCode: this.field("postal")?.value ?? "" } }),
      });
    }

    /** The container says in a class how far the buyer is. @param {string} state */
    #mark(state) {
      const { classes = {} } = this.options;
      const name = (/** @type {string} */ each) => String(classes[each] ?? `StripeElement--${each}`).split(" ");
      if (this.#state) this.container?.classList.remove(...name(this.#state));
      if (state) this.container?.classList.add(...name(state));
      this.#state = state;
    }

    /** @param {Element} container */
    mounted(container) {
      if (this.options.classes?.base) container.classList.add(...String(this.options.classes.base).split(" "));
      this.#state = "";
      this.#mark(this.asked.every((field) => !field.value) ? "empty" : "");
    }

    unmount() {
      this.#mark("");
      super.unmount();
    }

    clear() {
      for (const field of this.fields) field.clear();
      this.#changed();
    }

    /** @param {Record<string, any>} options */
    update(options) {
      Object.assign(this.options, options);
      this.#apply();
      return super.update(options);
    }
  }

  // ---- Elements that the sandbox does not have ----

  /** Elements with a placeholder, and how each is called. @type {Record<string, string>} */
  const PLACEHOLDERS = {
    address: "Address Element",
    auBankAccount: "Australia Bank Account Element",
    contactDetails: "Contact Details Element",
    currencySelector: "Currency Selector Element",
    expressCheckout: "Express Checkout Element",
    issuingAddToWalletButton: "Issuing Add to Wallet Button Element",
    issuingCardCopyButton: "Issuing Card Copy Button Element",
    issuingCardCvcDisplay: "Issuing Card CVC Display Element",
    issuingCardExpiryDisplay: "Issuing Card Expiry Display Element",
    issuingCardNumberDisplay: "Issuing Card Number Display Element",
    issuingCardPinDisplay: "Issuing Card PIN Display Element",
    linkAuthentication: "Link Authentication Element",
    linkSignup: "Link Signup Element",
    paymentForm: "Payment Form Element",
    paymentMethodMessaging: "Payment Method Messaging Element",
    shippingAddress: "Shipping Address Element",
    taxId: "Tax ID Element",
    terms: "Terms Element",
    // Only the older Stripe.js has it.
    ...(RELEASE === 3 && { paymentRequestButton: "Payment Request Button Element" }),
  };

  const SAMPLE_ADDRESS = { line1: "510 Townsend St", line2: null, city: "San Francisco", state: "CA", postal_code: "94103", country: "US" };

  /**
   * The value that a placeholder gives the page: the page's own default values, completed by a sample.
   * @param {string} type
   * @param {Record<string, any>} [defaults]
   * @returns {Record<string, any> | undefined}
   */
  function sampleValue(type, defaults = {}) {
    switch (type) {
      case "address":
      case "shippingAddress":
        return {
          name: defaults.name ?? "Jenny Rosen",
          // The parts of two addresses make no address.
          address: defaults.address?.line1 ? { ...SAMPLE_ADDRESS, line1: null, state: null, ...defaults.address } : { ...SAMPLE_ADDRESS },
          ...(defaults.phone && { phone: defaults.phone }),
        };
      case "linkAuthentication":
      case "contactDetails":
        return { email: defaults.email ?? "jenny@example.com" };
      case "taxId":
        return {
          businessName: defaults.businessName ?? "",
          taxId: defaults.taxId ?? "",
          taxIdType: defaults.taxIdType ?? "eu_vat",
          externalTaxIdType: defaults.taxIdType ?? "eu_vat",
        };
      default:
        return undefined;
    }
  }

  class Placeholder extends ElementBase {
    /**
     * @param {string} type
     * @param {Record<string, any>} options
     * @param {() => void} forget
     */
    constructor(type, options, forget) {
      super(type, forget);
      this.options = { ...options };
      this.value = sampleValue(type, options.defaultValues);
      const { address, name, email } = this.value ?? {};
      const shown = address ? [name, address.line1, address.city, address.postal_code, address.country].filter(Boolean).join(", ") : email;
      this.root.append(
        make(
          "div",
          { class: "notice placeholder", "data-placeholder": type },
          make("p", {}, make("strong", {}, PLACEHOLDERS[type] ?? type)),
          make("p", {}, shown ? "Placeholder of the sandbox. It gives the page this sample:" : "Placeholder of the sandbox, which does not have this Element."),
          ...(shown ? [make("p", {}, shown)] : []),
        ),
      );
    }

    #state() {
      return {
        ...(this.elementType === "address" && { elementMode: this.options.mode, isNewAddress: true }),
        empty: false,
        complete: true,
        value: this.value,
      };
    }

    async load() {
      // Stripe's Elements tell a value that they already have, too.
      if (this.value) setTimeout(() => this.isMounted && this.emit("change", this.#state()));
      return undefined;
    }

    /** No wallet: a page hides its button then. */
    readyDetails() {
      return this.elementType === "expressCheckout" ? { availablePaymentMethods: undefined } : {};
    }

    async getValue() {
      return this.#state();
    }

    async setView() {}
  }

  // ---- Elements ----

  /** The options that Stripe.js knows, by what takes them. @type {Record<string, string[]>} */
  const OPTIONS = {
    Stripe: ["stripeAccount", "apiVersion", "locale", "betas", "developerTools"],
    elements: [
      ...["fonts", "locale", "appearance", "loader", "customerOptions", "customerSessionClientSecret", "customPaymentMethods", "syncAddressCheckbox", "paymentMethodCreation"],
      ...["clientSecret", "mode", "currency", "amount", "setupFutureUsage", "setup_future_usage", "captureMethod", "capture_method", "onBehalfOf", "on_behalf_of"],
      ...["excludedPaymentMethodTypes", "allowedPaymentMethodTypes", "paymentMethodConfiguration", "payment_method_configuration", "paymentMethodOptions"],
      ...["payment_method_options", "externalPaymentMethodTypes", "adaptivePricing"],
      // Only the older Stripe.js has them.
      ...(RELEASE === 3 ? ["paymentMethodTypes", "payment_method_types"] : []),
    ],
    embeddedCheckout: ["clientSecret", "fetchClientSecret", "onComplete", "onShippingDetailsChange", "onLineItemsChange", "onAnalyticsEvent"],
    address: ["mode", "allowedCountries", "autocomplete", "blockPoBox", "contacts", "defaultValues", "fields", "validation", "display"],
    auBankAccount: ["classes", "style", "iconStyle", "hideIcon", "disabled"],
    card: ["classes", "style", "value", "hidePostalCode", "iconStyle", "hideIcon", "disabled", "disableLink", "preferredNetwork"],
    cardNumber: ["classes", "style", "placeholder", "disabled", "showIcon", "iconStyle", "disableLink", "preferredNetwork"],
    cardExpiry: ["classes", "style", "placeholder", "disabled"],
    cardCvc: ["classes", "style", "placeholder", "disabled"],
    contactDetails: ["defaultValues"],
    currencySelector: [],
    expressCheckout: [
      ...["allowedShippingCountries", "applePay", "billingAddressRequired", "business", "buttonHeight", "buttonTheme", "buttonType", "emailRequired", "layout"],
      ...["lineItems", "paymentMethodOrder", "paymentMethods", "phoneNumberRequired", "shippingAddressRequired", "shippingRates", "wallets"],
    ],
    iban: ["classes", "style", "supportedCountries", "placeholderCountry", "iconStyle", "hideIcon", "disabled"],
    issuingAddToWalletButton: ["issuingCard", "ephemeralKeySecret", "nonce", "wallet", "buttonHeight"],
    issuingCardCopyButton: ["toCopy", "style"],
    issuingCardCvcDisplay: ["issuingCard", "ephemeralKeySecret", "nonce", "style"],
    issuingCardExpiryDisplay: ["issuingCard", "ephemeralKeySecret", "nonce", "style"],
    issuingCardNumberDisplay: ["issuingCard", "ephemeralKeySecret", "nonce", "style"],
    issuingCardPinDisplay: ["issuingCard", "ephemeralKeySecret", "nonce", "style"],
    linkAuthentication: ["defaultValues"],
    linkSignup: ["defaultValues"],
    payment: ["defaultValues", "business", "paymentMethodOrder", "fields", "readOnly", "terms", "wallets", "walletOptions", "layout", "applePay"],
    paymentMethodMessaging: ["amount", "currency", "paymentMethodTypes", "paymentMethodOrder", "paymentMethods", "countryCode", "logoColor", "metaData"],
    shippingAddress: ["allowedCountries", "blockPoBox", "defaultValues", "fields", "validation"],
    taxId: ["visibility", "fields", "validation", "verification", "defaultValues"],
    terms: [],
  };

  /**
   * Stripe.js warns of an option that it does not know.
   * @param {string} where
   * @param {object} options
   * @param {string[] | undefined} known
   */
  function warnOfUnknown(where, options, known) {
    for (const name of Object.keys(options)) {
      if (!known || known.includes(name)) continue;
      console.warn(`[Stripe.js] Unrecognized ${where}() parameter: ${name} is not a recognized parameter. This may cause issues with your integration in the future.`);
    }
  }

  /**
   * @param {string} where
   * @param {string} name
   * @param {unknown} value
   * @param {string[]} allowed
   */
  function mustBeOneOf(where, name, value, allowed) {
    if (value === undefined || value === null || (typeof value === "string" && allowed.includes(value))) return;
    throw new IntegrationError(`Invalid value for ${where}: ${name} should be one of the following strings: ${allowed.join(", ")}. You specified: ${String(value)}.`);
  }

  /** The ways to pay that can be authorised first and captured later, and those that can be saved. */
  const AUTHORISABLE = ["card"];
  const SAVEABLE = ["card", "sepa_debit"];

  /**
   * Elements that exist before their intent promise how it will be. Stripe.js refuses to confirm an intent that is different, in this sentence.
   * @param {ElementsOptions} options
   * @param {Intent} intent
   * @returns {string | undefined}
   */
  function mismatch(options, intent) {
    /** @type {[string, unknown, unknown][]} */
    const pairs =
      "amount" in intent
        ? [
            ["amount", intent.amount, options.amount],
            ["currency", intent.currency, options.currency],
            // Two names of one thing, as far as Elements are concerned.
            ["capture_method", intent.capture_method.replace("automatic_async", "automatic"), (options.captureMethod ?? "automatic").replace("automatic_async", "automatic")],
            ["setup_future_usage", intent.setup_future_usage ?? null, options.setupFutureUsage ?? null],
          ]
        : [["usage", intent.usage, options.setupFutureUsage ?? "off_session"]];
    const different = pairs.find(([, provided, expected]) => provided !== expected);
    if (!different) return undefined;
    const [name, provided, expected] = different;
    const kind = "amount" in intent ? "Payment Intent" : "Setup Intent";
    return `The provided ${name} (${provided}) does not match the expected ${name} (${expected}). Try confirming with a ${kind} that is configured to use the same parameters as Stripe Elements.`;
  }

  class Elements {
    /** @type {PaymentElement | undefined} */
    payment;
    /** The other Elements, by their type; an address also by its mode. @type {Map<string, InputElement | Placeholder>} */
    #others = new Map();
    /** @type {Set<() => void>} */
    #updateEnd = new Set();
    /** Whether what is typed has been submitted since it last changed. */
    submitted = false;

    /**
     * @param {ElementsOptions} options
     * @param {Credentials} credentials
     */
    constructor(options, credentials) {
      warnOfUnknown("elements", options, OPTIONS.elements);
      this.options = withoutAliases(options);
      this.credentials = credentials;
      this.#check();
    }

    #check() {
      const { mode, amount, currency, clientSecret, captureMethod, setupFutureUsage, paymentMethodCreation } = this.options;
      if (clientSecret !== undefined) {
        if (mode !== undefined) throw new IntegrationError("Pass either mode or clientSecret to elements(), not both.");
        named(clientSecret);
        return;
      }
      mustBeOneOf("elements()", "mode", mode, ["payment", "setup", "subscription"]);
      mustBeOneOf("elements()", "captureMethod", captureMethod, ["manual", "automatic", "automatic_async"]);
      mustBeOneOf("elements()", "setupFutureUsage", setupFutureUsage, ["off_session", "on_session"]);
      mustBeOneOf("elements()", "paymentMethodCreation", paymentMethodCreation, ["manual"]);
      // The classic Elements need no options.
      if (mode === undefined || mode === "setup") return;
      if (mode !== "payment") throw new IntegrationError('The sandbox has elements({clientSecret}) and elements({mode: "payment"}) or elements({mode: "setup"}) only.');
      if (!Number.isSafeInteger(amount) || Number(amount) <= 0) {
        throw new IntegrationError("elements(): amount must be a whole number of the currency's smallest unit, above zero.");
      }
      if (!/^[a-z]{3}$/.test(currency ?? "")) throw new IntegrationError("elements(): currency must be three lower-case letters.");
    }

    /**
     * The ways to pay, as the PaymentIntent has them or will have them.
     * @returns {Promise<{types: string[], error?: undefined} | {error: StripeError}>}
     */
    async #types() {
      const { mode, clientSecret, currency, captureMethod, setupFutureUsage, excludedPaymentMethodTypes = [] } = this.options;
      if (clientSecret !== undefined) {
        const { intent, error } = await this.#intent();
        return error ? { error } : { types: intent.payment_method_types };
      }
      const usual = mode === "payment" && currency === "eur" ? ["card", "sepa_debit"] : ["card"];
      const types = (this.options.paymentMethodTypes ?? this.options.allowedPaymentMethodTypes ?? usual).filter(
        (type) =>
          !excludedPaymentMethodTypes.includes(type) &&
          (captureMethod !== "manual" || AUTHORISABLE.includes(type)) &&
          ((mode !== "setup" && !setupFutureUsage) || SAVEABLE.includes(type)),
      );
      return { types };
    }

    /** The intent that the client secret names. */
    #intent() {
      const { clientSecret } = this.options;
      return call("GET", named(clientSecret).path, { ...this.credentials, client_secret: String(clientSecret) });
    }

    /** Whether the intent itself says that the payment method is saved. */
    async #savedByIntent() {
      if (this.options.clientSecret === undefined) return Boolean(this.options.setupFutureUsage);
      const { intent } = await this.#intent();
      return Boolean(intent && "setup_future_usage" in intent && intent.setup_future_usage);
    }

    /** @param {string} type @param {Record<string, any>} [options] */
    create(type, options = {}) {
      const known = ["payment", ...Object.keys(INPUTS), ...Object.keys(PLACEHOLDERS)];
      if (!known.includes(type)) {
        throw new IntegrationError(`A valid Element name must be provided. Valid Elements are:\n  ${known.sort().join(", ")}; you passed: ${String(type)}.`);
      }
      if (typeof options !== "object" || options === null) throw new IntegrationError(`Invalid value for elements.create('${type}'): options should be an object.`);
      warnOfUnknown("create", options, OPTIONS[type]);
      const element = type === "payment" ? this.#createPayment() : this.#createOther(type, options);
      applyAppearance(element.root, this.options.appearance);
      return element;
    }

    #createPayment() {
      const { clientSecret, mode, customerSessionClientSecret } = this.options;
      if (clientSecret === undefined && mode === undefined) {
        throw new IntegrationError(
          "In order to create a payment element, you must pass a valid PaymentIntent or SetupIntent client secret when creating the Elements group.\n\n" +
            'e.g. stripe.elements({clientSecret: "{{CLIENT_SECRET}}"})',
        );
      }
      if (this.payment) throw new IntegrationError("Can only create one Element of type payment through the same Elements instance.");
      const payment = new PaymentElement(
        () => this.#types(),
        () => {
          this.payment = undefined;
        },
        { secret: customerSessionClientSecret, credentials: this.credentials, savedByIntent: () => this.#savedByIntent() },
      );
      payment.on("change", () => {
        this.submitted = false;
      });
      payment.group = this;
      this.payment = payment;
      return payment;
    }

    /** @param {string} type @param {Record<string, any>} options */
    #createOther(type, options) {
      if (type === "address" && !["shipping", "billing"].includes(options.mode)) {
        throw new IntegrationError("Invalid value for elements.create('address'): mode should be one of the following strings: shipping, billing.");
      }
      const name = type === "address" ? `address, ${options.mode}` : type;
      const alone = ["card", "cardNumber"].find((other) => other !== type && ["card", "cardNumber"].includes(type) && this.#others.has(other));
      if (this.#others.has(name) || alone) throw new IntegrationError(`Can only create one Element of type ${alone ?? type} through the same Elements instance.`);
      const element = isInput(type)
        ? new InputElement(/** @type {InputType} */ (type), options, this)
        : new Placeholder(type, options, () => this.forget(name));
      this.#others.set(name, element);
      return element;
    }

    /** @param {string} name */
    forget(name) {
      this.#others.delete(name);
    }

    /**
     * @param {string | {__elementType: string}} named a type, or a component of the React wrapper
     * @param {{mode?: string}} [options]
     */
    getElement(named, options = {}) {
      const type = typeof named === "string" ? named : named?.__elementType;
      if (type === "payment") return this.payment ?? null;
      if (type !== "address") return this.#others.get(type) ?? null;
      return ["shipping", "billing"].filter((mode) => !options.mode || options.mode === mode).map((mode) => this.#others.get(`address, ${mode}`)).find(Boolean) ?? null;
    }

    /** The field of one of this group's Elements. @param {"cardExpiry" | "cardCvc"} type @param {FieldName} name */
    fieldOf(type, name) {
      const element = this.#others.get(type);
      return element instanceof InputElement && element.isMounted ? element.field(name) : undefined;
    }

    /** The number that the security code belongs to. @returns {string} */
    cardNumber() {
      const element = this.#others.get("card") ?? this.#others.get("cardNumber");
      return element instanceof InputElement ? (element.field("number")?.value ?? "") : "";
    }

    /** Fills in the date and the code of a test card. @param {string} number */
    fillBeside(number) {
      for (const type of ["cardExpiry", "cardCvc"]) {
        const element = this.#others.get(type);
        if (element instanceof InputElement) element.fill({ expiry: validUntil(), cvc: isAmex(number) ? "1234" : "123" });
      }
    }

    /**
     * The names and addresses of the other Elements: they are confirmed with the payment.
     * @param {"pi" | "seti"} kind
     */
    contact(kind) {
      const valueOf = (/** @type {string} */ name) => {
        const element = this.#others.get(name);
        return element instanceof Placeholder && element.isMounted ? element.value : undefined;
      };
      const { name, address, phone } = valueOf("address, billing") ?? {};
      const email = (valueOf("linkAuthentication") ?? valueOf("contactDetails"))?.email;
      return {
        billing_details: { name, address, phone, email },
        // A SetupIntent has no shipping address.
        shipping: kind === "pi" ? (valueOf("address, shipping") ?? valueOf("shippingAddress")) : undefined,
      };
    }

    /** @param {ElementsOptions} options */
    async update(options) {
      if ("clientSecret" in options) throw new IntegrationError("elements.update() cannot change the clientSecret.");
      warnOfUnknown("update", options, OPTIONS.elements);
      Object.assign(this.options, withoutAliases(options));
      this.#check();
      this.submitted = false;
      for (const element of [this.payment, ...this.#others.values()]) if (element) applyAppearance(element.root, this.options.appearance);
      await this.payment?.refresh();
      for (const handler of this.#updateEnd) handler();
    }

    /** @param {"update-end"} _type @param {() => void} handler */
    on(_type, handler) {
      this.#updateEnd.add(handler);
    }

    async fetchUpdates() {
      return {};
    }

    async submit() {
      if (!this.payment?.isMounted) throw new IntegrationError("elements.submit() needs a Payment Element that is mounted and ready.");
      const error = this.payment.validate();
      if (error) return { error };
      this.submitted = true;
      return { selectedPaymentMethod: this.payment.type };
    }
  }

  /** Some options have two names. @param {ElementsOptions} options @returns {ElementsOptions} */
  function withoutAliases({ capture_method, setup_future_usage, payment_method_types, ...options }) {
    return {
      ...(capture_method !== undefined && { captureMethod: capture_method }),
      ...(setup_future_usage !== undefined && { setupFutureUsage: setup_future_usage }),
      ...(payment_method_types !== undefined && { paymentMethodTypes: payment_method_types }),
      ...options,
    };
  }

  // ---- The API ----

  /**
   * What a client secret names, and where it is.
   * @param {unknown} clientSecret
   */
  function named(clientSecret) {
    const [, id, kind] = (typeof clientSecret === "string" && /^((pi|seti)_\w+?)_secret_\w+$/.exec(clientSecret)) || [];
    if (!id) throw new IntegrationError("The client secret must be that of a PaymentIntent, pi_…_secret_…, or of a SetupIntent, seti_…_secret_….");
    return kind === "pi" ? { id, name: "payment_intent", path: `/v1/payment_intents/${id}` } : { id, name: "setup_intent", path: `/v1/setup_intents/${id}` };
  }

  /**
   * Nested values as Stripe's API takes them in a form: `a[b][0]=c`.
   * @param {unknown} value
   * @param {string} [prefix]
   * @returns {Record<string, string>}
   */
  function flatten(value, prefix = "") {
    if (value === undefined || value === null) return {};
    if (value instanceof ElementBase) throw new IntegrationError(`An Element cannot stand in ${prefix}.`);
    if (typeof value !== "object") return { [prefix]: String(value) };
    const parts = Object.entries(value).map(([name, part]) => flatten(part, prefix ? `${prefix}[${name}]` : name));
    return Object.assign({}, ...parts);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Record<string, string>} params
   * @returns {Promise<{answer: any, error?: undefined} | {error: StripeError, answer?: undefined}>}
   */
  async function request(method, path, params) {
    const form = new URLSearchParams(params);
    try {
      const response = await fetch(`${api}${path}${method === "GET" ? `?${form}` : ""}`, {
        method,
        body: method === "GET" ? null : form,
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      const answer = await response.json();
      return response.ok ? { answer } : { error: answer.error };
    } catch {
      return { error: { type: "api_connection_error", message: "We are experiencing issues connecting to our payments provider. Please try again." } };
    }
  }

  /**
   * A request whose answer is the intent.
   * @param {string} method
   * @param {string} path
   * @param {Record<string, string>} params
   * @returns {Promise<Told>}
   */
  async function call(method, path, params) {
    const { answer, error } = await request(method, path, params);
    return error ? { error } : { intent: answer };
  }

  // ---- 3-D Secure ----

  /**
   * What the buyer's bank would show. Closing it is refusing.
   * @param {Intent} intent
   * @param {Appearance | undefined} appearance
   * @returns {Promise<"succeed" | "fail">}
   */
  function askForAuthentication(intent, appearance) {
    return new Promise((resolve) => {
      const yes = make("button", { type: "button", id: "test-source-authorize-3ds", class: "yes" }, "Complete authentication");
      const no = make("button", { type: "button", id: "test-source-fail-3ds" }, "Fail authentication");
      const dialog = make(
        "dialog",
        { class: "StripeSandbox-dialog", "aria-labelledby": "sandbox-3ds-title", "aria-describedby": "sandbox-3ds-text" },
        make("h2", { id: "sandbox-3ds-title" }, "3-D Secure, in a sandbox"),
        make("p", { id: "sandbox-3ds-text" }, "Here the buyer’s bank would ask for a code or a confirmation in its application. What should it answer?"),
        make("p", { class: "muted" }, "amount" in intent ? `${intent.id}: ${intent.amount} ${intent.currency.toUpperCase()} in minor units` : `${intent.id}: the card is only saved`),
        make("div", { class: "choice" }, yes, no),
      );
      applyAppearance(dialog, appearance);
      /** @type {"succeed" | "fail"} */
      let outcome = "fail";
      yes.addEventListener("click", () => {
        outcome = "succeed";
        dialog.close();
      });
      no.addEventListener("click", () => dialog.close());
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(outcome);
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  // ---- Embedded Checkout ----

  class EmbeddedCheckout {
    /** Stripe.js has one at a time. */
    static current = false;
    #frame;
    #destroyed = false;
    /** @param {MessageEvent} event */
    #heard = (event) => {
      if (event.origin !== api || event.source !== this.#frame.contentWindow || event.data?.sandboxCheckout !== this.id) return;
      const { height, go, complete } = event.data;
      if (typeof height === "number") this.#frame.height = String(height);
      if (typeof go === "string" && /^https?:/.test(go)) location.assign(go);
      if (complete) this.onComplete?.();
    };

    /** @param {string} id @param {(() => void) | undefined} onComplete */
    constructor(id, onComplete) {
      this.id = id;
      this.onComplete = onComplete;
      this.#frame = make("iframe", { src: `${api}/sandbox/checkout/${id}`, title: "Checkout (sandbox)", width: "100%", height: "900", frameborder: "0" });
    }

    /** @param {string | HTMLElement} where */
    mount(where) {
      if (this.#destroyed) throw new IntegrationError("This embedded Checkout has been destroyed. Please create a new one.");
      const container = typeof where === "string" ? document.querySelector(where) : where;
      if (!container) throw new IntegrationError(`The selector you specified (${where}) applies to no DOM elements that are currently on the page.`);
      window.addEventListener("message", this.#heard);
      container.replaceChildren(this.#frame);
    }

    unmount() {
      window.removeEventListener("message", this.#heard);
      this.#frame.remove();
    }

    destroy() {
      this.unmount();
      if (!this.#destroyed) EmbeddedCheckout.current = false;
      this.#destroyed = true;
    }
  }

  // ---- Stripe ----

  /** What the sandbox does not have. @param {string} method */
  const absent = (method) =>
    new IntegrationError(`The sandbox does not have stripe.${method}(): it simulates cards, and payments by SEPA Direct Debit. Test this with your own Stripe account in test mode.`);

  /** The methods of Stripe.js that give a promise, and that the sandbox does not have. */
  const ABSENT = [
    ...["AcssDebit", "AffirmPayment", "AfterpayClearpayPayment", "AlipayPayment", "AuBecsDebit", "BancontactPayment", "BilliePayment", "BlikPayment", "BoletoPayment"],
    ...["CashappPayment", "CustomerBalancePayment", "EpsPayment", "FpxPayment", "GiropayPayment", "GrabPayPayment", "IdealPayment", "KlarnaPayment", "KonbiniPayment"],
    ...["MobilepayPayment", "MultibancoPayment", "OxxoPayment", "P24Payment", "PayByBankPayment", "PayNowPayment", "PayPalPayment", "PixPayment", "PromptPayPayment"],
    ...["SofortPayment", "TwintPayment", "UsBankAccount", "WechatPayPayment"],
    ...["AmazonPaySetup", "BacsDebitSetup", "BancontactSetup", "BlikSetup", "CashappSetup", "IdealSetup", "PayPalSetup", "SepaDebitSetup", "SofortSetup"],
  ]
    // These two name a debit for both kinds of intents.
    .flatMap((name) => (/(Payment|Setup)$/.test(name) ? [`confirm${name}`] : [`confirm${name}Payment`, `confirm${name}Setup`]))
    .concat(
      ...["verifyMicrodepositsForPayment", "verifyMicrodepositsForSetup", "collectBankAccountForPayment", "collectBankAccountForSetup", "createRadarSession"],
      ...["createConfirmationToken", "processOrder", "retrieveOrder", "verifyIdentity", "collectFinancialConnectionsAccounts", "collectBankAccountToken"],
      ...["createEphemeralKeyNonce", "initializePricing", "createFinancialAccountDisclosure", "createIssuingDisclosure"],
      // Of the older Stripe.js.
      ...["handleCardPayment", "handleCardSetup", "handleFpxPayment", "confirmPaymentIntent", "confirmSetupIntent", "createSource", "retrieveSource", "redirectToCheckout"],
    );

  class Stripe {
    /** @type {Credentials} */
    #credentials;

    /** @param {unknown} key @param {Record<string, any>} [options] */
    constructor(key, options = {}) {
      if (typeof key !== "string") throw new IntegrationError("Missing value for Stripe(): apiKey should be a string.");
      if (/^[sr]k_/.test(key)) throw new IntegrationError("You should not use your secret key with Stripe.js.\n\nPlease pass a publishable key instead.");
      if (!key.startsWith("pk_")) throw new IntegrationError("Please call Stripe() with your publishable key: pk_test_….");
      if (key.startsWith("pk_live_")) throw new IntegrationError("This is a sandbox: it refuses live keys. Load Stripe.js from https://js.stripe.com.");
      warnOfUnknown("Stripe", options, OPTIONS.Stripe);
      const { stripeAccount } = options;
      if (stripeAccount !== undefined && (typeof stripeAccount !== "string" || !stripeAccount)) {
        throw new IntegrationError(`Invalid value for Stripe(): stripeAccount should be a string. You specified: ${String(stripeAccount)}.`);
      }
      this.#credentials = { key, ...(stripeAccount && { _stripe_account: stripeAccount }) };
    }

    /** The React wrapper and the loader say that they are there. @param {{name: string}} _wrapper */
    _registerWrapper(_wrapper) {}

    /** @param {{name?: unknown}} info */
    registerAppInfo(info) {
      if (typeof info?.name !== "string") throw new IntegrationError("Invalid value for stripe.registerAppInfo(): name should be a string.");
    }

    /** @param {ElementsOptions} [options] */
    elements(options = {}) {
      return new Elements({ ...options }, this.#credentials);
    }

    /**
     * @param {ConfirmOptions} options
     * @returns {Promise<Result>}
     */
    async confirmPayment(options) {
      return asPayment(await this.#confirm("pi", options));
    }

    /**
     * @param {ConfirmOptions} options
     * @returns {Promise<SetupResult>}
     */
    async confirmSetup(options) {
      return asSetup(await this.#confirm("seti", options));
    }

    /**
     * @param {"pi" | "seti"} kind
     * @param {ConfirmOptions} options
     * @returns {Promise<Told>}
     */
    async #confirm(kind, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
      const [method, mode] = kind === "pi" ? ["confirmPayment()", "payment"] : ["confirmSetup()", "setup"];
      const secret = clientSecret ?? elements?.options.clientSecret;
      const { id, name, path } = named(secret);
      if (!id.startsWith(`${kind}_`)) throw new IntegrationError(`${method} takes the client secret of another kind of intent: ${kind}_…_secret_….`);
      const returnUrl = confirmParams.return_url;
      if (redirect === "always" && !returnUrl) throw new IntegrationError(`${method}: confirmParams.return_url is required unless redirect is if_required.`);
      if (returnUrl) new URL(returnUrl);
      if (elements && !elements.payment?.isMounted) {
        throw new IntegrationError(`Invalid value for stripe.${method}: elements should have a mounted Payment Element or Express Checkout Element.`);
      }
      if (!elements?.payment) return this.#confirmItself(path, String(secret), confirmParams, redirect);
      const auth = { ...this.#credentials, client_secret: String(secret) };

      if (elements.options.mode) {
        if (elements.options.mode !== mode) throw new IntegrationError(`${method} needs elements({mode: "${mode}"}).`);
        if (!elements.submitted) throw new IntegrationError(`elements.submit() must be called before stripe.${method}.`);
        const { intent, error } = await call("GET", path, auth);
        if (error) return { error };
        const message = mismatch(elements.options, intent);
        if (message) return { error: { type: "invalid_request_error", message, [name]: intent } };
      } else {
        const error = elements.payment.validate();
        if (error) return { error };
      }

      /** @type {Record<string, string>} */
      const params = { ...auth, ...elements.payment.params(), use_stripe_sdk: "true" };
      const { payment_method_data, ...others } = confirmParams;
      const { billing_details, shipping } = elements.contact(kind);
      Object.assign(params, flatten({ shipping, ...others }));
      if (!params.payment_method) Object.assign(params, flatten({ billing_details, ...payment_method_data }, "payment_method_data"));
      const confirmed = await call("POST", `${path}/confirm`, params);
      return arrived(failed(await followed(confirmed, auth, elements.options.appearance)), redirect, returnUrl);
    }

    /**
     * Confirms without a form: the page names the payment method, or the intent has one.
     * @param {string} path
     * @param {string} secret
     * @param {ConfirmParams} confirmParams
     * @param {"always" | "if_required"} redirect
     */
    async #confirmItself(path, secret, confirmParams, redirect) {
      const auth = { ...this.#credentials, client_secret: secret };
      const confirmed = await call("POST", `${path}/confirm`, { ...auth, ...flatten(confirmParams), use_stripe_sdk: "true" });
      return arrived(failed(await followed(confirmed, auth)), redirect, confirmParams.return_url);
    }

    // ---- The classic Elements ----

    /** @param {string} clientSecret @param {ClassicData} [data] @param {ClassicOptions} [options] */
    async confirmCardPayment(clientSecret, data, options) {
      return asPayment(await this.#confirmClassic("confirmCardPayment", "pi", "card", clientSecret, data, options));
    }

    /** @param {string} clientSecret @param {ClassicData} [data] @param {ClassicOptions} [options] */
    async confirmCardSetup(clientSecret, data, options) {
      return asSetup(await this.#confirmClassic("confirmCardSetup", "seti", "card", clientSecret, data, options));
    }

    /** @param {string} clientSecret @param {ClassicData} [data] */
    async confirmSepaDebitPayment(clientSecret, data) {
      return asPayment(await this.#confirmClassic("confirmSepaDebitPayment", "pi", "sepa_debit", clientSecret, data));
    }

    /**
     * @param {string} method
     * @param {"pi" | "seti"} kind
     * @param {MethodType} type
     * @param {string} clientSecret
     * @param {ClassicData} [data]
     * @param {ClassicOptions} [options]
     * @returns {Promise<Told>}
     */
    async #confirmClassic(method, kind, type, clientSecret, data = {}, { handleActions = true } = {}) {
      const { path } = secretOf(`stripe.${method}`, kind, clientSecret);
      const { payment_method: given, payment_method_options, ...rest } = data;
      const auth = { ...this.#credentials, client_secret: clientSecret };
      /** @type {Record<string, string>} */
      let chosen = {};
      if (typeof given === "string") chosen = { payment_method: given };
      else if (given !== undefined) {
        const { params, error } = methodParams(`stripe.${method}()`, type, given);
        if (error) return { error };
        chosen = flatten(params, "payment_method_data");
      }
      const { cvc, ...cardOptions } = payment_method_options?.card ?? {};
      if (cvc !== undefined) {
        const { params, error } = instrumentParams(`stripe.${method}()`, "cardCvc", cvc);
        if (error) return { error };
        Object.assign(cardOptions, params);
      }
      const methodOptions = payment_method_options && { ...payment_method_options, ...(payment_method_options.card && { card: cardOptions }) };
      const params = {
        ...auth,
        ...chosen,
        ...flatten(methodOptions ?? {}, "payment_method_options"),
        ...flatten(rest),
        // Without it the page would have to send the buyer to the bank itself.
        ...((handleActions || !rest.return_url) && { use_stripe_sdk: "true" }),
      };
      const confirmed = await call("POST", `${path}/confirm`, params);
      if (!handleActions && confirmed.intent?.status === "requires_action") return confirmed;
      return failed(await followed(confirmed, auth));
    }

    /** @param {string} clientSecret */
    async handleCardAction(clientSecret) {
      return asPayment(await this.#handle("stripe.handleCardAction", "pi", clientSecret));
    }

    /** @param {{clientSecret?: string, hashedValue?: string}} options */
    async handleNextAction(options) {
      if (options?.hashedValue !== undefined) throw absent("handleNextAction");
      const told = await this.#handle("stripe.handleNextAction", undefined, options?.clientSecret);
      if (told.error) return { error: told.error };
      return "amount" in told.intent ? { paymentIntent: told.intent } : { setupIntent: told.intent };
    }

    /**
     * @param {string} method
     * @param {"pi" | "seti" | undefined} kind
     * @param {unknown} clientSecret
     */
    async #handle(method, kind, clientSecret) {
      const { path, name } = secretOf(method, kind, clientSecret);
      const auth = { ...this.#credentials, client_secret: String(clientSecret) };
      const told = await call("GET", path, auth);
      if (told.intent && told.intent.status !== "requires_action") {
        const what = name === "payment_intent" ? "PaymentIntent" : "SetupIntent";
        throw new IntegrationError(`${method.replace("stripe.", "")}: The ${what} supplied is not in the requires_action state.`);
      }
      return failed(await followed(told, auth));
    }

    /**
     * The payment method of what was typed in: `createPaymentMethod({type, card})` or `createPaymentMethod({elements, params})`.
     * @param {Record<string, any>} data
     * @returns {Promise<{paymentMethod: any, error?: undefined} | {error: StripeError, paymentMethod?: undefined}>}
     */
    async createPaymentMethod(data) {
      const method = "stripe.createPaymentMethod()";
      if (typeof data !== "object" || data === null) throw new IntegrationError(`Invalid value for ${method}: data should be an object. You specified: ${String(data)}.`);
      const given = data.elements || data.element ? fromElements(method, data) : fromData(method, data);
      if (given.error) return { error: given.error };
      const { answer, error } = await request("POST", "/v1/payment_methods", { ...this.#credentials, ...given.params });
      return error ? { error } : { paymentMethod: answer };
    }

    /**
     * @param {unknown} element
     * @param {Record<string, any>} [data]
     * @returns {Promise<{token: any, error?: undefined} | {error: StripeError, token?: undefined}>}
     */
    async createToken(element, data = {}) {
      if (typeof element === "string") throw new IntegrationError(`The sandbox does not have stripe.createToken("${element}"): it makes tokens of cards only.`);
      if (element instanceof InputElement && element.elementType === "iban") throw new IntegrationError("The sandbox does not have tokens of bank accounts: stripe.createToken() takes a card Element.");
      const { params, error: flaw } = instrumentParams("stripe.createToken()", "card", element);
      if (flaw) return { error: flaw };
      const postal = element instanceof InputElement && element.field("postal");
      const { answer, error } = await request("POST", "/v1/tokens", {
        ...this.#credentials,
        ...flatten({ ...params, ...(postal && { address_zip: postal.value }), ...data }, "card"),
      });
      return error ? { error } : { token: answer };
    }

    /**
     * A Checkout Session in a frame of the page's.
     * @param {{clientSecret?: string, fetchClientSecret?: () => Promise<string>, onComplete?: () => void}} options
     */
    async createEmbeddedCheckoutPage(options) {
      warnOfUnknown("createEmbeddedCheckoutPage", options, OPTIONS.embeddedCheckout);
      const { clientSecret, fetchClientSecret, onComplete } = options;
      if (!clientSecret === !fetchClientSecret) throw new IntegrationError("createEmbeddedCheckoutPage(): pass either clientSecret or fetchClientSecret.");
      if (EmbeddedCheckout.current) throw new IntegrationError("You cannot have multiple Embedded Checkout objects.");
      EmbeddedCheckout.current = true;
      try {
        const secret = clientSecret ?? (await fetchClientSecret?.());
        const id = typeof secret === "string" && /^(cs_test_\w+?)_secret_\w+$/.exec(secret)?.[1];
        if (!id) throw new IntegrationError("The client secret must be that of an embedded Checkout Session: cs_test_…_secret_….");
        return new EmbeddedCheckout(id, onComplete);
      } catch (error) {
        EmbeddedCheckout.current = false;
        throw error;
      }
    }

    /** The name that it had before. @param {Parameters<Stripe["createEmbeddedCheckoutPage"]>[0]} options */
    initEmbeddedCheckout(options) {
      return this.createEmbeddedCheckoutPage(options);
    }

    /** @returns {never} */
    initCheckoutElementsSdk() {
      throw absent("initCheckoutElementsSdk");
    }

    /** @returns {never} */
    initCheckoutFormSdk() {
      throw absent("initCheckoutFormSdk");
    }

    /** The browser of a sandbox has no wallet: a page then hides its button. @param {Record<string, any>} options */
    paymentRequest(options) {
      for (const name of ["country", "currency", "total"]) {
        if (!options?.[name]) throw new IntegrationError(`Missing value for stripe.paymentRequest(): ${name} should be given.`);
      }
      const request = {
        canMakePayment: async () => null,
        show() {
          throw new IntegrationError("The sandbox has no wallet, so stripe.paymentRequest() cannot show one: canMakePayment() gives null.");
        },
        abort() {},
        isShowing: () => false,
        update() {},
        on: () => request,
        once: () => request,
        off: () => request,
      };
      return request;
    }

    /**
     * @param {string} clientSecret
     * @returns {Promise<Result>}
     */
    async retrievePaymentIntent(clientSecret) {
      const { path } = secretOf("stripe.retrievePaymentIntent", "pi", clientSecret);
      return asPayment(await call("GET", path, { ...this.#credentials, client_secret: clientSecret }));
    }

    /**
     * @param {string} clientSecret
     * @returns {Promise<SetupResult>}
     */
    async retrieveSetupIntent(clientSecret) {
      const { path } = secretOf("stripe.retrieveSetupIntent", "seti", clientSecret);
      return asSetup(await call("GET", path, { ...this.#credentials, client_secret: clientSecret }));
    }
  }

  for (const method of ABSENT) {
    Object.defineProperty(Stripe.prototype, method, {
      configurable: true,
      value: async () => {
        throw absent(method);
      },
    });
  }

  /** @param {Told} told @returns {Result} */
  function asPayment({ intent, error }) {
    return error ? { error } : { paymentIntent: /** @type {PaymentIntent} */ (intent) };
  }

  /** @param {Told} told @returns {SetupResult} */
  function asSetup({ intent, error }) {
    return error ? { error } : { setupIntent: /** @type {SetupIntent} */ (intent) };
  }

  /**
   * What the client secret names, if it is of the right kind.
   * @param {string} method
   * @param {"pi" | "seti" | undefined} kind
   * @param {unknown} clientSecret
   */
  function secretOf(method, kind, clientSecret) {
    const fine = typeof clientSecret === "string" && /^(pi|seti)_\w+?_secret_\w+$/.test(clientSecret) && clientSecret.startsWith(kind ?? "");
    if (fine) return named(clientSecret);
    const begin = clientSecret === undefined || clientSecret === null ? "Missing" : "Invalid";
    // The secret itself is not repeated: this sentence goes to the console, and from there to logs.
    throw new IntegrationError(`${begin} value for ${method} intent secret: value should be a client secret of the form \${id}_secret_\${secret}.`);
  }

  /**
   * Does what the intent asks the buyer to do next.
   * @param {Told} told
   * @param {Credentials & {client_secret: string}} auth
   * @param {Appearance} [appearance]
   * @returns {Promise<Told>}
   */
  async function followed(told, { client_secret }, appearance) {
    const { intent } = told;
    const action = intent?.status === "requires_action" ? intent.next_action : null;
    if (!intent || !action) return told;
    if (action.type === "redirect_to_url" && action.redirect_to_url?.url) {
      location.assign(action.redirect_to_url.url);
      return forever();
    }
    const outcome = await askForAuthentication(intent, appearance);
    return call("POST", `/sandbox/3ds/${intent.id}`, { client_secret, outcome });
  }

  /**
   * An intent that needs another payment method is an error.
   * @param {Told} told
   * @returns {Told}
   */
  function failed(told) {
    const { intent } = told;
    if (!intent || (intent.status !== "requires_payment_method" && intent.status !== "requires_action")) return told;
    const isPayment = "amount" in intent;
    const name = isPayment ? "payment_intent" : "setup_intent";
    const last = isPayment ? intent.last_payment_error : intent.last_setup_error;
    const message = last?.message ?? "We are unable to authenticate your payment method. Please choose a different payment method and try again.";
    const code = last?.code ?? `${name}_authentication_failure`;
    // The fields that a browser is told, and no others.
    const type = /** @type {StripeError["type"]} */ (last?.type ?? "invalid_request_error");
    return { error: { type, code, message, ...(last?.decline_code && { decline_code: last.decline_code }), [name]: intent } };
  }

  /**
   * Sends the buyer to the page that the confirmation names, if all went well.
   * @param {Told} told
   * @param {"always" | "if_required"} redirect
   * @param {string | undefined} returnUrl
   * @returns {Promise<Told>}
   */
  async function arrived(told, redirect, returnUrl) {
    const { intent } = told;
    if (!intent || redirect !== "always" || !returnUrl) return told;
    const name = "amount" in intent ? "payment_intent" : "setup_intent";
    const url = new URL(returnUrl);
    url.searchParams.set(name, intent.id);
    url.searchParams.set(`${name}_client_secret`, String(intent.client_secret));
    url.searchParams.set("redirect_status", intent.status === "processing" ? "pending" : "succeeded");
    location.assign(url);
    return forever();
  }

  /**
   * The parameters of a payment method that the page describes.
   * @param {string} method
   * @param {string} type
   * @param {unknown} given
   * @returns {{params: Record<string, any>, error?: undefined} | {error: StripeError, params?: undefined}}
   */
  function methodParams(method, type, given) {
    if (typeof given !== "object" || given === null) throw new IntegrationError(`Invalid value for ${method}: payment_method should be a string or an object.`);
    const { [type]: instrument, billing_details = {}, ...rest } = /** @type {Record<string, any>} */ (given);
    if (instrument === undefined) throw new IntegrationError(`Missing value for ${method}: ${type} should be an object or an Element.`);
    const { params, error } = instrumentParams(method, type, instrument);
    if (error) return { error };
    const postal = instrument instanceof InputElement && instrument.field("postal")?.value;
    // What the page says goes before what the Element collects.
    const address = { ...(postal && { postal_code: postal }), ...billing_details.address };
    return { params: { type, [type]: params, billing_details: { ...billing_details, address }, ...rest } };
  }

  /** The Elements that each instrument can be typed into. @type {Record<string, string[]>} */
  const TYPED_INTO = { card: ["card", "cardNumber"], sepa_debit: ["iban"], cardCvc: ["cardCvc"] };

  /**
   * The card or the account: typed into an Element, or named by the page.
   * @param {string} method
   * @param {string} type
   * @param {unknown} instrument
   * @returns {{params: Record<string, any>, error?: undefined} | {error: StripeError, params?: undefined}}
   */
  function instrumentParams(method, type, instrument) {
    if (instrument instanceof ElementBase) {
      if (!(instrument instanceof InputElement) || !TYPED_INTO[type]?.includes(instrument.elementType)) {
        throw new IntegrationError(`Invalid value for ${method}: ${type} should be a ${TYPED_INTO[type]?.join(" or ")} Element. You specified: ${instrument.elementType}.`);
      }
      return typedInto(method, instrument);
    }
    if (type === "card" && /** @type {any} */ (instrument)?.token) return { params: { token: String(/** @type {any} */ (instrument).token) } };
    if (type === "sepa_debit" && typeof (/** @type {any} */ (instrument)?.iban) === "string") return { params: { iban: /** @type {any} */ (instrument).iban } };
    const allowed = { card: "a card Element or an object with a token", sepa_debit: "an iban Element or an object with an iban" }[type] ?? "an Element";
    throw new IntegrationError(`Invalid value for ${method}: ${type} should be ${allowed}.`);
  }

  /**
   * @param {string} method
   * @param {InputElement} element
   * @returns {{params: Record<string, any>, error?: undefined} | {error: StripeError, params?: undefined}}
   */
  function typedInto(method, element) {
    if (!element.isMounted) {
      throw new IntegrationError(
        `Invalid value for ${method}: We could not retrieve data from the specified Element.\nPlease make sure the Element you are attempting to use is still mounted.`,
      );
    }
    const number = element.field("number");
    const beside = element.elementType === "cardNumber";
    const expires = beside ? element.group.fieldOf("cardExpiry", "expiry") : element.field("expiry");
    const cvc = beside ? element.group.fieldOf("cardCvc", "cvc") : element.field("cvc");
    const fields = new Set([...element.asked, expires, cvc].filter((field) => field !== undefined));
    const error = validated([...fields]);
    if (error) return { error };
    const iban = element.field("iban");
    if (iban) return { params: { iban: compact(iban.value) } };
    return { params: number ? cardDetails(number, expires, cvc) : { cvc: cvc?.value } };
  }

  /**
   * @param {string} method
   * @param {Record<string, any>} data
   * @returns {{params: Record<string, string>, error?: undefined} | {error: StripeError, params?: undefined}}
   */
  function fromData(method, data) {
    const { type } = data;
    if (typeof type !== "string") throw new IntegrationError(`Invalid value for ${method}: type should be a string. You specified: ${String(type)}.`);
    if (!isMethod(type)) throw new IntegrationError(`The sandbox does not have ${method} with the type "${type}": it simulates cards and SEPA Direct Debit.`);
    const { type: _, ...given } = data;
    const { params, error } = methodParams(method, type, given);
    return error ? { error } : { params: flatten(params) };
  }

  /**
   * @param {string} method
   * @param {Record<string, any>} data
   * @returns {{params: Record<string, string>, error?: undefined} | {error: StripeError, params?: undefined}}
   */
  function fromElements(method, { elements, element, params = {} }) {
    if (element !== undefined) {
      if (elements !== undefined) throw new IntegrationError(`Invalid value for ${method}: pass either elements or element, not both.`);
      if (element instanceof InputElement) {
        const type = element.elementType === "iban" ? "sepa_debit" : "card";
        return fromData(method, { ...params, type, [type]: element });
      }
    }
    const group = elements ?? (element instanceof PaymentElement && element.group);
    if (!(group instanceof Elements) || !group.payment?.isMounted) throw new IntegrationError(`Invalid value for ${method}: elements should have a mounted Payment Element.`);
    if (group.options.paymentMethodCreation !== "manual") throw new IntegrationError(`${method} needs elements({paymentMethodCreation: "manual"}).`);
    if (!group.submitted) throw new IntegrationError(`elements.submit() must be called before ${method}.`);
    const typed = group.payment.params();
    if (typed.payment_method) throw new IntegrationError("The sandbox does not make a new payment method of a saved one.");
    // Here the details stand alone, without what belongs to the payment.
    const own = Object.entries(typed).flatMap(([name, value]) => {
      const [, field, rest = ""] = /^payment_method_data\[(\w+)\](.*)$/.exec(name) ?? [];
      return field ? [[`${field}${rest}`, value]] : [];
    });
    return { params: { ...Object.fromEntries(own), ...flatten(params) } };
  }

  /** The page is being left. @returns {Promise<never>} */
  function forever() {
    return new Promise(() => {});
  }

  /** @param {string} key @param {Record<string, any>} [options] */
  function create(key, options) {
    return new Stripe(key, options);
  }

  // The stand-in has a part of Stripe’s interface, which is why its type is not Stripe’s. Tests hold the names of the options against the types.
  /** @type {any} */ (window).Stripe = Object.assign(create, { version: RELEASE, sandbox: { options: OPTIONS } });
})();
