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
  /** @typedef {{mode?: string, amount?: number, currency?: string, captureMethod?: string, paymentMethodTypes?: string[], clientSecret?: string, customerSessionClientSecret?: string, setupFutureUsage?: string | null, appearance?: Appearance}} ElementsOptions */
  /** @typedef {{return_url?: string, payment_method_data?: {allow_redisplay?: string}}} ConfirmParams */
  /** @typedef {{elements?: Elements, clientSecret?: string, confirmParams?: ConfirmParams, redirect?: "always" | "if_required"}} ConfirmOptions */
  /** @typedef {{number: string, then: string}} TestCard */
  /** @typedef {{iban: string, then: string}} TestAccount */

  const api = new URL(/** @type {HTMLScriptElement} */ (document.currentScript).src).origin;

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

  /** @typedef {"number" | "expiry" | "cvc" | "iban" | "name" | "email"} FieldName */
  /** @typedef {"card" | "sepa_debit"} MethodType */
  /** @typedef {{code: string, message: string} | undefined} Flaw */

  /** @type {Record<FieldName, (value: string, number: string) => Flaw>} */
  const FLAWS = {
    number(value) {
      const digits = digitsOf(value);
      if (digits.length < (isAmex(digits) ? 15 : 16)) return { code: "incomplete_number", message: "Your card number is incomplete." };
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

  /** What each way to pay asks for, in the order of its fields. @type {Record<MethodType, FieldName[]>} */
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
    /** The usage of one that is kept. Without it the intent names one. @type {string | undefined} */
    usage;
    root = make("fieldset", { class: "saved", "aria-label": "Saved payment methods", hidden: "" });

    /**
     * @param {string | undefined} secret
     * @param {string} key
     * @param {() => void} changed
     */
    constructor(secret, key, changed) {
      this.secret = secret;
      this.key = key;
      this.changed = changed;
    }

    async load() {
      if (!this.secret) return;
      const { answer } = await request("GET", "/v1/elements/saved_payment_methods", { key: this.key, client_secret: this.secret });
      if (!answer) return;
      const { payment_method_save, payment_method_save_usage, payment_method_remove } = answer.features;
      this.offersToSave = payment_method_save === "enabled";
      this.usage = this.offersToSave ? (payment_method_save_usage ?? undefined) : undefined;
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
          key: this.key,
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

  // ---- The Payment Element ----

  class PaymentElement {
    /** @type {Map<string, Set<(event: any) => void>>} */
    #handlers = new Map();
    #destroyed = false;
    #ready = false;
    #offered = "";
    /** The way to pay that is shown. @type {MethodType} */
    type = "card";

    /**
     * @param {() => Promise<string[]>} types the ways to pay that the payment takes
     * @param {() => void} forget
     * @param {{secret?: string | undefined, key: string, savedByIntent: () => Promise<boolean>}} session of the customer, if they are known
     */
    constructor(types, forget, session) {
      this.saved = new SavedMethods(session.secret, session.key, () => this.#chosen());
      this.keep = make("input", { type: "checkbox", id: "Field-saveInput" });
      this.keepBox = make("label", { class: "keep wide", for: "Field-saveInput", hidden: "" }, this.keep, "Save payment details for future purchases");
      this.types = types;
      this.forget = forget;
      this.savedByIntent = session.savedByIntent;
      const digitsOnly = (/** @type {(digits: string) => string} */ format) => (/** @type {string} */ typed) => format(digitsOf(typed));
      const asTyped = (/** @type {string} */ typed) => typed;
      this.fields = {
        number: this.#field("number", "Card number", "1234 1234 1234 1234", "cc-number", digitsOnly(grouped)),
        expiry: this.#field("expiry", "Expiration date", "MM / YY", "cc-exp", expiry),
        cvc: this.#field("cvc", "Security code", "CVC", "cc-csc", digitsOnly((digits) => digits.slice(0, 4))),
        iban: this.#field("iban", "IBAN", "DE00 0000 0000 0000 0000 00", "off", inFours, "text"),
        name: this.#field("name", "Full name", "First and last name", "name", asTyped, "text"),
        email: this.#field("email", "Email", "you@example.com", "email", asTyped, "email"),
      };
      const cards = make("details", {}, make("summary", {}, "More test cards"), this.#cards(MORE_CARDS));
      const accounts = make("details", {}, make("summary", {}, "More test accounts"), this.#accounts(MORE_ACCOUNTS));
      const warning = () => make("strong", {}, "Sandbox: no real money moves.");
      this.panels = {
        card: make(
          "fieldset",
          { id: "Panel-card", "aria-label": "Card, in a sandbox" },
          make(
            "div",
            { class: "notice wide" },
            make("p", {}, warning(), " Never type a real card here. Choose a test card:"),
            this.#cards(FIRST_CARDS),
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
            this.#accounts(FIRST_ACCOUNTS),
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
      this.root = make("div", { class: "StripeSandbox" }, this.saved.root, this.fieldset);
      this.#offer(["card"]);
      this.root.addEventListener("focusin", (event) => this.#crossed(event) && this.emit("focus"));
      this.root.addEventListener("focusout", (event) => this.#crossed(event) && this.emit("blur"));
      this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.emit("escape"));
    }

    /**
     * The ids are those inside Stripe's own frames.
     * @param {FieldName} name
     * @param {string} label
     * @param {string} placeholder
     * @param {AutoFill} autocomplete
     * @param {(typed: string) => string} format
     * @param {string} [inputmode]
     */
    #field(name, label, placeholder, autocomplete, format, inputmode = "numeric") {
      const id = `Field-${name}Input`;
      const error = make("p", { class: "error", id: `Field-${name}Error` });
      const input = make("input", {
        id,
        placeholder,
        autocomplete,
        inputmode,
        spellcheck: "false",
        "aria-required": "true",
        "aria-describedby": error.id,
      });
      input.addEventListener("input", (event) => {
        // Deleting is left alone: what formatting adds could otherwise never be deleted.
        const deleting = event instanceof InputEvent && event.inputType.startsWith("delete");
        if (!deleting) this.#reformat(input, format);
        this.#judge(name, false);
        this.#changed();
      });
      input.addEventListener("blur", () => input.value && this.#judge(name, true));
      return { input, error, box: make("div", {}, make("label", { for: id }, label), input, error) };
    }

    /**
     * Formats what is typed and leaves the caret behind the letter or digit that it was behind.
     * @param {HTMLInputElement} input
     * @param {(typed: string) => string} format
     */
    #reformat(input, format) {
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

    /** @param {TestCard[]} cards */
    #cards(cards) {
      const box = make("div", { class: "cards" });
      for (const card of cards) {
        const number = make("small", {}, grouped(card.number));
        const button = make("button", { type: "button", "data-card": card.number }, make("span", {}, card.then), number);
        button.addEventListener("click", () => this.#fill(card.number));
        box.append(button);
      }
      return box;
    }

    /** @param {string} number */
    #fill(number) {
      this.fields.number.input.value = grouped(number);
      this.fields.expiry.input.value = `12 / ${String((new Date().getFullYear() + 5) % 100).padStart(2, "0")}`;
      this.fields.cvc.input.value = isAmex(number) ? "1234" : "123";
      for (const name of this.#names()) this.#judge(name, true);
      this.#changed();
    }

    /** @param {TestAccount[]} accounts */
    #accounts(accounts) {
      const box = make("div", { class: "cards" });
      for (const { iban, then } of accounts) {
        const button = make("button", { type: "button", "data-iban": iban }, make("span", {}, then), make("small", {}, inFours(iban)));
        button.addEventListener("click", () => this.#fillAccount(iban));
        box.append(button);
      }
      return box;
    }

    /** What a buyer has typed already stays. @param {string} iban */
    #fillAccount(iban) {
      this.fields.iban.input.value = inFours(iban);
      this.fields.name.input.value ||= "Jenny Rosen";
      this.fields.email.input.value ||= "jenny@example.com";
      for (const name of this.#names()) this.#judge(name, true);
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
      this.#offer(await this.types());
    }

    #names() {
      return FIELDS[this.type];
    }

    /** @param {FieldName} name */
    #flaw(name) {
      return FLAWS[name](this.fields[name].input.value, this.fields.number.input.value);
    }

    /**
     * Shows what is wrong with a field, or only takes away what is no longer wrong.
     * @param {FieldName} name
     * @param {boolean} show
     */
    #judge(name, show) {
      const { input, error } = this.fields[name];
      const flaw = this.#flaw(name);
      if (flaw && !show) return;
      error.textContent = flaw?.message ?? "";
      input.setAttribute("aria-invalid", String(Boolean(flaw)));
    }

    #changed() {
      const names = this.#names();
      if (this.saved.chosen) {
        const value = { type: "card", payment_method: { id: this.saved.chosen, billing_details: {} } };
        return this.emit("change", { empty: false, complete: true, collapsed: false, value });
      }
      this.emit("change", {
        empty: names.every((name) => !this.fields[name].input.value),
        complete: names.every((name) => !this.#flaw(name)),
        collapsed: false,
        value: { type: this.type },
      });
    }

    /** Whether the focus came from outside, or goes there. @param {FocusEvent} event */
    #crossed(event) {
      return !(event.relatedTarget instanceof Node && this.root.contains(event.relatedTarget));
    }

    /**
     * The first flaw, which also gets the focus.
     * @returns {StripeError | undefined}
     */
    validate() {
      if (this.saved.chosen) return undefined;
      const names = this.#names();
      for (const name of names) this.#judge(name, true);
      for (const name of names) {
        const flaw = this.#flaw(name);
        if (!flaw) continue;
        this.fields[name].input.focus();
        return { type: "validation_error", ...flaw };
      }
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
          "payment_method_data[sepa_debit][iban]": compact(this.fields.iban.input.value),
          "payment_method_data[billing_details][name]": this.fields.name.input.value.trim(),
          "payment_method_data[billing_details][email]": this.fields.email.input.value.trim(),
        };
      }
      const expires = digitsOf(this.fields.expiry.input.value);
      return {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": digitsOf(this.fields.number.input.value),
        "payment_method_data[card][exp_month]": String(Number(expires.slice(0, 2))),
        "payment_method_data[card][exp_year]": `20${expires.slice(2)}`,
        "payment_method_data[card][cvc]": this.fields.cvc.input.value,
        ...(this.saved.offersToSave && this.keep.checked && { "payment_method_data[allow_redisplay]": "always", ...(this.saved.usage && { "payment_method_options[card][setup_future_usage]": this.saved.usage }) }),
      };
    }

    /** @param {string | HTMLElement} where */
    mount(where) {
      if (this.#destroyed) throw new IntegrationError("This Element has been destroyed. Please create a new one.");
      const container = typeof where === "string" ? document.querySelector(where) : where;
      if (!container) throw new IntegrationError(`The selector you specified (${where}) applies to no DOM elements that are currently on the page.`);
      container.replaceChildren(this.root);
      container.classList.add("StripeElement");
      queueMicrotask(() => this.emit("loaderstart"));
      setTimeout(async () => {
        await Promise.all([this.refresh(), this.saved.load()]);
        if (this.#destroyed || !this.root.isConnected) return;
        if (this.saved.usage && (await this.savedByIntent())) {
          const message =
            "The CustomerSession sets payment_method_save_usage, and setup_future_usage is set on the PaymentIntent or on Elements. Set only one of the two.";
          console.error(`IntegrationError: ${message}`);
          this.emit("loaderror", { error: { type: "invalid_request_error", message } });
          return;
        }
        this.#ready = true;
        this.emit("ready");
      });
    }

    get isMounted() {
      return this.#ready && this.root.isConnected;
    }

    unmount() {
      this.root.parentElement?.classList.remove("StripeElement");
      this.root.remove();
    }

    destroy() {
      this.unmount();
      this.#destroyed = true;
      this.forget();
    }

    clear() {
      for (const { input, error } of Object.values(this.fields)) {
        input.value = "";
        input.removeAttribute("aria-invalid");
        error.textContent = "";
      }
      this.#changed();
    }

    focus() {
      this.fields[this.#names()[0] ?? "number"].input.focus();
    }

    blur() {
      if (document.activeElement instanceof HTMLElement && this.root.contains(document.activeElement)) document.activeElement.blur();
    }

    collapse() {
      return this;
    }

    /** @param {{readOnly?: boolean}} options */
    update(options) {
      if (options.readOnly !== undefined) this.fieldset.disabled = this.saved.root.disabled = options.readOnly;
      return this;
    }

    /** @param {string} type @param {object} [details] */
    emit(type, details = {}) {
      for (const handler of [...(this.#handlers.get(type) ?? [])]) handler({ elementType: "payment", ...details });
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

  // ---- Elements ----

  /** Ways to pay that can be authorised first, and ways to pay that can be saved. */
  const AUTHORISABLE = ["card"];
  const SAVEABLE = ["card", "sepa_debit"];

  /**
   * Elements can exist before their intent. Stripe.js then refuses an intent with other values, in
   * this sentence.
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
    /** @type {Set<() => void>} */
    #updateEnd = new Set();
    /** Whether what is typed has been submitted since it last changed. */
    submitted = false;

    /**
     * @param {ElementsOptions} options
     * @param {string} key
     */
    constructor(options, key) {
      this.options = options;
      this.key = key;
      this.#check();
    }

    #check() {
      const { mode, amount, currency, clientSecret, captureMethod, setupFutureUsage } = this.options;
      if (clientSecret !== undefined) {
        if (mode !== undefined) throw new IntegrationError("Pass either mode or clientSecret to elements(), not both.");
        named(clientSecret);
        return;
      }
      if (captureMethod !== undefined && !["automatic", "automatic_async", "manual"].includes(captureMethod)) {
        throw new IntegrationError("elements(): captureMethod must be one of automatic, automatic_async, manual.");
      }
      if (![undefined, null, "off_session", "on_session"].includes(setupFutureUsage)) {
        throw new IntegrationError("elements(): setupFutureUsage must be one of off_session, on_session.");
      }
      if (mode === "setup") return;
      if (mode !== "payment") throw new IntegrationError('The sandbox has elements({clientSecret}) and elements({mode: "payment"}) or elements({mode: "setup"}) only.');
      if (!Number.isSafeInteger(amount) || Number(amount) <= 0) {
        throw new IntegrationError("elements(): amount must be a whole number of the currency's smallest unit, above zero.");
      }
      if (!/^[a-z]{3}$/.test(currency ?? "")) throw new IntegrationError("elements(): currency must be three lower-case letters.");
    }

    /** The ways to pay, as the PaymentIntent has them or will have them. */
    async #types() {
      const { mode, clientSecret, paymentMethodTypes, currency, captureMethod, setupFutureUsage } = this.options;
      if (clientSecret !== undefined) {
        const { intent } = await call("GET", named(clientSecret).path, { key: this.key, client_secret: clientSecret });
        return intent?.payment_method_types ?? ["card"];
      }
      const types = paymentMethodTypes ?? (mode === "payment" && currency === "eur" ? ["card", "sepa_debit"] : ["card"]);
      return types.filter((type) => (captureMethod !== "manual" || AUTHORISABLE.includes(type)) && ((mode !== "setup" && !setupFutureUsage) || SAVEABLE.includes(type)));
    }

    /** Whether the intent itself says that the payment method is saved. */
    async #savedByIntent() {
      const { clientSecret, setupFutureUsage } = this.options;
      if (clientSecret === undefined) return Boolean(setupFutureUsage);
      const { intent } = await call("GET", named(clientSecret).path, { key: this.key, client_secret: clientSecret });
      return Boolean(intent && "setup_future_usage" in intent && intent.setup_future_usage);
    }

    /** @param {string} type */
    create(type) {
      if (type !== "payment") throw new IntegrationError(`The sandbox has the Payment Element only, not "${type}".`);
      if (this.payment) throw new IntegrationError("Can only create one Element of type payment through the same Elements instance.");
      const payment = new PaymentElement(
        () => this.#types(),
        () => {
          this.payment = undefined;
        },
        { secret: this.options.customerSessionClientSecret, key: this.key, savedByIntent: () => this.#savedByIntent() },
      );
      payment.on("change", () => {
        this.submitted = false;
      });
      applyAppearance(payment.root, this.options.appearance);
      this.payment = payment;
      return payment;
    }

    /** @param {string} type */
    getElement(type) {
      return (type === "payment" && this.payment) || null;
    }

    /** @param {ElementsOptions} options */
    async update(options) {
      if ("clientSecret" in options) throw new IntegrationError("elements.update() cannot change the clientSecret.");
      Object.assign(this.options, options);
      this.#check();
      this.submitted = false;
      if (this.payment) applyAppearance(this.payment.root, this.options.appearance);
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
      this.#destroyed = true;
    }
  }

  // ---- Stripe ----

  class Stripe {
    #key;

    /** @param {string} key */
    constructor(key) {
      if (typeof key !== "string" || !key.startsWith("pk_")) throw new IntegrationError("Please call Stripe() with your publishable key: pk_test_….");
      if (key.startsWith("pk_live_")) throw new IntegrationError("This is a sandbox: it refuses live keys. Load Stripe.js from https://js.stripe.com.");
      this.#key = key;
    }

    /** @param {ElementsOptions} [options] */
    elements(options = {}) {
      return new Elements({ ...options }, this.#key);
    }

    /**
     * @param {ConfirmOptions} options
     * @returns {Promise<Result>}
     */
    async confirmPayment(options) {
      const { intent, error } = await this.#confirm("pi", options);
      return error ? { error } : { paymentIntent: /** @type {PaymentIntent} */ (intent) };
    }

    /**
     * @param {ConfirmOptions} options
     * @returns {Promise<SetupResult>}
     */
    async confirmSetup(options) {
      const { intent, error } = await this.#confirm("seti", options);
      return error ? { error } : { setupIntent: /** @type {SetupIntent} */ (intent) };
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
      if (!elements?.payment?.isMounted) throw new IntegrationError(`${method} needs elements with a Payment Element that is mounted.`);
      const auth = { key: this.#key, client_secret: String(secret) };

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
      const redisplay = confirmParams.payment_method_data?.allow_redisplay;
      if (redisplay && !params.payment_method) params["payment_method_data[allow_redisplay]"] = redisplay;
      if (returnUrl) params.return_url = returnUrl;
      let result = await call("POST", `${path}/confirm`, params);
      const action = result.intent?.status === "requires_action" ? result.intent.next_action : null;
      if (result.intent && action?.type === "redirect_to_url" && action.redirect_to_url?.url) {
        location.assign(action.redirect_to_url.url);
        return forever();
      }
      if (result.intent && action) {
        const outcome = await askForAuthentication(result.intent, elements.options.appearance);
        result = await call("POST", `/sandbox/3ds/${id}`, { client_secret: auth.client_secret, outcome });
      }

      const intent = result.intent;
      if (!intent) return result;
      if (intent.status === "requires_payment_method" || intent.status === "requires_action") {
        const last = "amount" in intent ? intent.last_payment_error : intent.last_setup_error;
        const message = last?.message ?? "We are unable to authenticate your payment method. Please choose a different payment method and try again.";
        const code = last?.code ?? `${name}_authentication_failure`;
        // The fields that a browser is told, and no others.
        const type = /** @type {StripeError["type"]} */ (last?.type ?? "invalid_request_error");
        return { error: { type, code, message, ...(last?.decline_code && { decline_code: last.decline_code }), [name]: intent } };
      }
      if (redirect === "always" && returnUrl) {
        const url = new URL(returnUrl);
        url.searchParams.set(name, intent.id);
        url.searchParams.set(`${name}_client_secret`, auth.client_secret);
        url.searchParams.set("redirect_status", intent.status === "processing" ? "pending" : "succeeded");
        location.assign(url);
        return forever();
      }
      return result;
    }

    /**
     * A Checkout Session in a frame of the page's.
     * @param {{clientSecret?: string, fetchClientSecret?: () => Promise<string>, onComplete?: () => void}} options
     */
    async createEmbeddedCheckoutPage({ clientSecret, fetchClientSecret, onComplete }) {
      if (!clientSecret === !fetchClientSecret) throw new IntegrationError("createEmbeddedCheckoutPage(): pass either clientSecret or fetchClientSecret.");
      const secret = clientSecret ?? (await fetchClientSecret?.());
      const id = typeof secret === "string" && /^(cs_test_\w+?)_secret_\w+$/.exec(secret)?.[1];
      if (!id) throw new IntegrationError("The client secret must be that of an embedded Checkout Session: cs_test_…_secret_….");
      return new EmbeddedCheckout(id, onComplete);
    }

    /** The name that it had before. @param {Parameters<Stripe["createEmbeddedCheckoutPage"]>[0]} options */
    initEmbeddedCheckout(options) {
      return this.createEmbeddedCheckoutPage(options);
    }

    /**
     * @param {string} clientSecret
     * @returns {Promise<Result>}
     */
    async retrievePaymentIntent(clientSecret) {
      const { intent, error } = await call("GET", named(clientSecret).path, { key: this.#key, client_secret: clientSecret });
      return error ? { error } : { paymentIntent: /** @type {PaymentIntent} */ (intent) };
    }

    /**
     * @param {string} clientSecret
     * @returns {Promise<SetupResult>}
     */
    async retrieveSetupIntent(clientSecret) {
      const { intent, error } = await call("GET", named(clientSecret).path, { key: this.#key, client_secret: clientSecret });
      return error ? { error } : { setupIntent: /** @type {SetupIntent} */ (intent) };
    }
  }

  /** The page is being left. @returns {Promise<never>} */
  function forever() {
    return new Promise(() => {});
  }

  // The stand-in has a part of Stripe's interface, which is why its type is not Stripe's.
  /** @type {any} */ (window).Stripe = Object.assign((/** @type {string} */ key) => new Stripe(key), { version: "sandbox" });
})();
