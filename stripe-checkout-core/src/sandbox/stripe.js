// A stand-in for Stripe.js, served by the sandbox: the part of the interface that Stripe documents for the Payment Element, with a card form that says what it
// is. See https://docs.stripe.com/js. It keeps to a strict Content-Security-Policy as Stripe.js does: no inline style or script, and it talks to nobody but
// the sandbox that it came from.
//
// Where Stripe.js puts an iframe, this puts its fields into the page: there is nothing here to protect, and a learner can look at it.

(() => {
  "use strict";

  /** @typedef {import("@stripe/stripe-js").StripeError} StripeError */
  /** @typedef {import("@stripe/stripe-js").Appearance} Appearance */
  /** @typedef {import("@stripe/stripe-js").PaymentIntent} PaymentIntent */
  /** @typedef {{paymentIntent: PaymentIntent, error?: undefined} | {error: StripeError, paymentIntent?: undefined}} Result */
  /** @typedef {{mode?: string, amount?: number, currency?: string, clientSecret?: string, appearance?: Appearance}} ElementsOptions */
  /** @typedef {{number: string, then: string}} TestCard */

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
    { number: "4000000000003220", then: "3-D Secure 2" },
    { number: "4000000000000077", then: "Available at once" },
    { number: "4000000000000259", then: "Disputed later" },
    { number: "4000000000001000", then: "Stays processing" },
    { number: "5555555555554444", then: "Succeeds (Mastercard)" },
    { number: "378282246310005", then: "Succeeds (American Express)" },
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
    .StripeSandbox .wide { grid-column: 1 / -1; }
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

  /** @typedef {"number" | "expiry" | "cvc"} FieldName */
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
  };

  // ---- The Payment Element ----

  class PaymentElement {
    /** @type {Map<string, Set<(event: any) => void>>} */
    #handlers = new Map();
    #destroyed = false;
    #ready = false;

    /** @param {() => void} forget */
    constructor(forget) {
      this.forget = forget;
      this.fields = {
        number: this.#field("number", "Card number", "1234 1234 1234 1234", "cc-number", grouped),
        expiry: this.#field("expiry", "Expiration date", "MM / YY", "cc-exp", expiry),
        cvc: this.#field("cvc", "Security code", "CVC", "cc-csc", (typed) => typed.slice(0, 4)),
      };
      const more = make("details", {}, make("summary", {}, "More test cards"), this.#cards(MORE_CARDS));
      this.fieldset = make(
        "fieldset",
        { "aria-label": "Card, in a sandbox" },
        make(
          "div",
          { class: "notice wide" },
          make("p", {}, make("strong", {}, "Sandbox: no real money moves."), " Never type a real card here. Choose a test card:"),
          this.#cards(FIRST_CARDS),
          more,
        ),
        this.fields.number.box,
        this.fields.expiry.box,
        this.fields.cvc.box,
      );
      this.fields.number.box.classList.add("wide");
      this.root = make("div", { class: "StripeSandbox" }, this.fieldset);
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
     */
    #field(name, label, placeholder, autocomplete, format) {
      const id = `Field-${name}Input`;
      const error = make("p", { class: "error", id: `Field-${name}Error` });
      const input = make("input", {
        id,
        placeholder,
        autocomplete,
        inputmode: "numeric",
        spellcheck: "false",
        "aria-required": "true",
        "aria-describedby": error.id,
      });
      input.addEventListener("input", (event) => {
        // Deleting is left alone: what formatting adds could otherwise never be deleted.
        const deleting = event instanceof InputEvent && event.inputType.startsWith("delete");
        if (!deleting) this.#reformat(input, name === "expiry" ? format : (typed) => format(digitsOf(typed)));
        this.#judge(name, false);
        this.#changed();
      });
      input.addEventListener("blur", () => input.value && this.#judge(name, true));
      return { input, error, box: make("div", {}, make("label", { for: id }, label), input, error) };
    }

    /**
     * Formats what is typed and leaves the caret behind the digit that it was behind.
     * @param {HTMLInputElement} input
     * @param {(typed: string) => string} format
     */
    #reformat(input, format) {
      const atEnd = input.selectionStart === input.value.length;
      let before = digitsOf(input.value.slice(0, input.selectionStart ?? 0)).length;
      input.value = format(input.value);
      if (atEnd) return;
      let at = 0;
      for (; at < input.value.length && before > 0; at += 1) if (/\d/.test(input.value.charAt(at))) before -= 1;
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

    #names() {
      return /** @type {FieldName[]} */ (Object.keys(this.fields));
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
      this.emit("change", {
        empty: names.every((name) => !this.fields[name].input.value),
        complete: names.every((name) => !this.#flaw(name)),
        collapsed: false,
        value: { type: "card" },
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
      const names = this.#names();
      for (const name of names) this.#judge(name, true);
      for (const name of names) {
        const flaw = this.#flaw(name);
        if (!flaw) continue;
        this.fields[name].input.focus();
        return { type: "validation_error", ...flaw };
      }
    }

    /** The parameters of the PaymentMethod, as Stripe's API takes them. */
    params() {
      const expires = digitsOf(this.fields.expiry.input.value);
      return {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": digitsOf(this.fields.number.input.value),
        "payment_method_data[card][exp_month]": String(Number(expires.slice(0, 2))),
        "payment_method_data[card][exp_year]": `20${expires.slice(2)}`,
        "payment_method_data[card][cvc]": this.fields.cvc.input.value,
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
      setTimeout(() => {
        if (this.#destroyed || !this.root.isConnected) return;
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
      this.fields.number.input.focus();
    }

    blur() {
      if (document.activeElement instanceof HTMLElement && this.root.contains(document.activeElement)) document.activeElement.blur();
    }

    collapse() {
      return this;
    }

    /** @param {{readOnly?: boolean}} options */
    update(options) {
      if (options.readOnly !== undefined) this.fieldset.disabled = options.readOnly;
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

  class Elements {
    /** @type {PaymentElement | undefined} */
    payment;
    /** @type {Set<() => void>} */
    #updateEnd = new Set();
    /** Whether what is typed has been submitted since it last changed. */
    submitted = false;

    /** @param {ElementsOptions} options */
    constructor(options) {
      this.options = options;
      this.#check();
    }

    #check() {
      const { mode, amount, currency, clientSecret } = this.options;
      if (clientSecret !== undefined) {
        if (mode !== undefined) throw new IntegrationError("Pass either mode or clientSecret to elements(), not both.");
        intentId(clientSecret);
        return;
      }
      if (mode !== "payment") throw new IntegrationError('The sandbox has elements({clientSecret}) and elements({mode: "payment"}) only.');
      if (!Number.isSafeInteger(amount) || Number(amount) <= 0) {
        throw new IntegrationError("elements(): amount must be a whole number of the currency's smallest unit, above zero.");
      }
      if (!/^[a-z]{3}$/.test(currency ?? "")) throw new IntegrationError("elements(): currency must be three lower-case letters.");
    }

    /** @param {string} type */
    create(type) {
      if (type !== "payment") throw new IntegrationError(`The sandbox has the Payment Element only, not "${type}".`);
      if (this.payment) throw new IntegrationError("Can only create one Element of type payment through the same Elements instance.");
      const payment = new PaymentElement(() => {
        this.payment = undefined;
      });
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
      await undefined;
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
      return { selectedPaymentMethod: "card" };
    }
  }

  // ---- The API ----

  /** The id that a client secret begins with. @param {unknown} clientSecret */
  function intentId(clientSecret) {
    const id = typeof clientSecret === "string" && /^(pi_\w+?)_secret_\w+$/.exec(clientSecret)?.[1];
    if (!id) throw new IntegrationError("The client secret must be that of a PaymentIntent: pi_…_secret_….");
    return id;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Record<string, string>} params
   * @returns {Promise<Result>}
   */
  async function call(method, path, params) {
    const form = new URLSearchParams(params);
    try {
      const response = await fetch(`${api}${path}${method === "GET" ? `?${form}` : ""}`, {
        method,
        body: method === "GET" ? null : form,
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      const answer = await response.json();
      return response.ok ? { paymentIntent: answer } : { error: answer.error };
    } catch {
      return { error: { type: "api_connection_error", message: "We are experiencing issues connecting to our payments provider. Please try again." } };
    }
  }

  // ---- 3-D Secure ----

  /**
   * What the buyer's bank would show. Closing it is refusing.
   * @param {PaymentIntent} intent
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
        make("p", { class: "muted" }, `${intent.id}: ${intent.amount} ${intent.currency.toUpperCase()} in minor units`),
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
      return new Elements({ ...options });
    }

    /**
     * @param {{elements?: Elements, clientSecret?: string, confirmParams?: {return_url?: string}, redirect?: "always" | "if_required"}} options
     * @returns {Promise<Result>}
     */
    async confirmPayment({ elements, clientSecret, confirmParams = {}, redirect = "always" }) {
      const secret = clientSecret ?? elements?.options.clientSecret;
      const id = intentId(secret);
      const returnUrl = confirmParams.return_url;
      if (redirect === "always" && !returnUrl) throw new IntegrationError("confirmPayment(): confirmParams.return_url is required unless redirect is if_required.");
      if (returnUrl) new URL(returnUrl);
      if (!elements?.payment?.isMounted) throw new IntegrationError("confirmPayment() needs elements with a Payment Element that is mounted.");
      const auth = { key: this.#key, client_secret: String(secret) };

      if (elements.options.mode) {
        if (!elements.submitted) throw new IntegrationError("elements.submit() must be called before stripe.confirmPayment().");
        const { paymentIntent, error } = await call("GET", `/v1/payment_intents/${id}`, auth);
        if (error) return { error };
        if (paymentIntent.amount !== elements.options.amount || paymentIntent.currency !== elements.options.currency) {
          const message = "The amount or currency of Elements is not that of the PaymentIntent. Call elements.update() first.";
          return { error: { type: "invalid_request_error", message, payment_intent: paymentIntent } };
        }
      } else {
        const error = elements.payment.validate();
        if (error) return { error };
      }

      /** @type {Record<string, string>} */
      const params = { ...auth, ...elements.payment.params(), use_stripe_sdk: "true" };
      if (returnUrl) params.return_url = returnUrl;
      let result = await call("POST", `/v1/payment_intents/${id}/confirm`, params);
      const action = result.paymentIntent?.status === "requires_action" ? result.paymentIntent.next_action : null;
      if (result.paymentIntent && action?.type === "redirect_to_url" && action.redirect_to_url?.url) {
        location.assign(action.redirect_to_url.url);
        return forever();
      }
      if (result.paymentIntent && action) {
        const outcome = await askForAuthentication(result.paymentIntent, elements.options.appearance);
        result = await call("POST", `/sandbox/3ds/${id}`, { client_secret: auth.client_secret, outcome });
      }

      const intent = result.paymentIntent;
      if (!intent) return result;
      if (intent.status === "requires_payment_method" || intent.status === "requires_action") {
        const last = intent.last_payment_error;
        const message = last?.message ?? "We are unable to authenticate your payment method. Please choose a different payment method and try again.";
        const code = last?.code ?? "payment_intent_authentication_failure";
        // The fields that a browser is told, and no others.
        const type = /** @type {StripeError["type"]} */ (last?.type ?? "invalid_request_error");
        return { error: { type, code, message, ...(last?.decline_code && { decline_code: last.decline_code }), payment_intent: intent } };
      }
      if (redirect === "always" && returnUrl) {
        const url = new URL(returnUrl);
        url.searchParams.set("payment_intent", intent.id);
        url.searchParams.set("payment_intent_client_secret", auth.client_secret);
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

    /** @param {string} clientSecret */
    async retrievePaymentIntent(clientSecret) {
      const id = intentId(clientSecret);
      return call("GET", `/v1/payment_intents/${id}`, { key: this.#key, client_secret: clientSecret });
    }
  }

  /** The page is being left. @returns {Promise<never>} */
  function forever() {
    return new Promise(() => {});
  }

  // The stand-in has a part of Stripe's interface, which is why its type is not Stripe's.
  /** @type {any} */ (window).Stripe = Object.assign((/** @type {string} */ key) => new Stripe(key), { version: "sandbox" });
})();
