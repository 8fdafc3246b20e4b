// The payment methods that a customer saved.

/**
 * The payment methods of a customer session. The buyer chooses one, or types in another.
 */
class SavedMethods {
  /** The chosen one's id. @type {string | undefined} */
  chosen;
  /** Whether the buyer is asked to keep a new one. */
  offersToSave = false;
  /** The usage of one that is kept. Without it the intent says so. @type {string | undefined} */
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

  /**
   * A page that names no customer session has none; one that names a wrong one gets no form.
   * @returns {Promise<StripeError | undefined>}
   */
  async load() {
    if (this.secret === undefined) return undefined;
    const { answer, error } = await request("GET", "/v1/elements/saved_payment_methods", { ...this.credentials, client_secret: this.secret });
    if (error) return error;
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
    return undefined;
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
