// The Payment Element.

class PaymentElement extends ElementBase {
  #offered = "";
  /** The way to pay that is shown. @type {MethodType} */
  type = "card";
  /** The group that it belongs to. @type {Elements | undefined} */
  group;

  /**
   * @param {() => Promise<Either<{types: string[]}>>} types the ways to pay
   * @param {() => void} forget
   * @param {object} session of the customer, if known
   * @param {string | undefined} session.secret
   * @param {Credentials} session.credentials
   * @param {() => Promise<boolean>} session.savedByIntent
   * @param {Record<string, any>} options
   */
  constructor(types, forget, session, options) {
    super("payment", forget);
    this.never = neverAsked(options.fields);
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
    const { name, email } = options.defaultValues?.billingDetails ?? {};
    this.fields.name.input.value = name ?? "";
    this.fields.email.input.value = email ?? "";
    this.#offer(["card"]);
    this.#obey(options);
  }

  /** @param {Record<string, any>} options */
  #obey({ fields, readOnly }) {
    if (readOnly !== undefined) this.fieldset.disabled = this.saved.root.disabled = readOnly;
    if (fields !== undefined) this.never = neverAsked(fields);
    for (const name of /** @type {const} */ (["name", "email"])) this.fields[name].box.hidden = this.never.includes(name);
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
    return FIELDS[this.type].filter((name) => !this.never.includes(name)).map((name) => this.fields[name]);
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
        ...(!this.never.includes("name") && { "payment_method_data[billing_details][name]": this.fields.name.value.trim() }),
        ...(!this.never.includes("email") && { "payment_method_data[billing_details][email]": this.fields.email.value.trim() }),
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
    const [types, saved] = await Promise.all([this.refresh(), this.saved.load()]);
    const error = types ?? saved;
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

  /**
   * Refuses to confirm without what the form never asks for. A saved payment method has its own.
   * @param {Record<string, any> | undefined} given
   * @param {string} call
   * @param {string} where
   */
  mustHave(given, call, where) {
    if (!this.saved.chosen) mustBePassed(this.never, given, call, where);
  }

  /** @param {Record<string, any>} options */
  update(options) {
    this.#obey(options);
    return super.update(options);
  }
}
