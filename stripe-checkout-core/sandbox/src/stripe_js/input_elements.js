// The classic Elements, for a card or an account in the form of a shop.

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
