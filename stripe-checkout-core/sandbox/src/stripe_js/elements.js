// A group of Elements: `stripe.elements()`.

/** The ways to pay that can be captured later, and those that can be saved. */
const AUTHORISABLE = ["card"];
const SAVEABLE = ["card", "sepa_debit"];

/**
 * Elements that exist before their intent promise how it will be. Stripe.js refuses to confirm a
 * different intent, in this sentence.
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
          ["on_behalf_of", ("on_behalf_of" in intent ? intent.on_behalf_of : null) ?? null, options.onBehalfOf ?? null],
        ]
      : [["usage", intent.usage, options.setupFutureUsage ?? "off_session"]];
  const different = pairs.find(([, provided, expected]) => provided !== expected);
  if (!different) return undefined;
  const [name, provided, expected] = different;
  const kind = "amount" in intent ? "Payment Intent" : "Setup Intent";
  return `The provided ${name} (${provided}) does not match the expected ${name} (${expected}). Try confirming with a ${kind} that is configured to use the same parameters as Stripe Elements.`;
}

/**
 * From the release clover on, Elements shows no form for an intent that cannot be confirmed again:
 * <https://docs.stripe.com/changelog/clover/2025-09-30/client-secret-reuse>.
 * @param {Intent} intent
 * @returns {StripeError | undefined}
 */
function finished(intent) {
  const { status } = intent;
  if ([3, "acacia", "basil"].includes(RELEASE) || !["succeeded", "canceled", "processing", "requires_capture"].includes(status)) return undefined;
  const [kind, name] = "amount" in intent ? ["PaymentIntent", "payment_intent"] : ["SetupIntent", "setup_intent"];
  const message = `The ${kind} of this client secret is ${status}, so Elements shows no form for it. Create another ${kind} and pass its client secret.`;
  return { type: "invalid_request_error", code: `${name}_unexpected_state`, message };
}

class Elements {
  /** @type {PaymentElement | undefined} */
  payment;
  /**
   * The other Elements, by their type; an address also by its mode.
   * @type {Map<string, InputElement | Placeholder>}
   */
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
    mustNotHave("elements", this.options, ABSENT_OPTIONS.elements);
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
   * @returns {Promise<Either<{types: string[]}>>}
   */
  async #types() {
    const { mode, clientSecret, currency, captureMethod, setupFutureUsage, excludedPaymentMethodTypes = [] } = this.options;
    if (clientSecret !== undefined) {
      const { intent, error } = await this.#intent();
      if (error) return { error };
      const over = finished(intent);
      return over ? { error: over } : { types: intent.payment_method_types };
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
    const element = type === "payment" ? this.#createPayment(options) : this.#createOther(type, options);
    applyAppearance(element.root, this.options.appearance);
    return element;
  }

  /** @param {Record<string, any>} options */
  #createPayment(options) {
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
      options,
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

  /**
   * The field of one of this group's Elements.
   * @param {"cardExpiry" | "cardCvc"} type
   * @param {FieldName} name
   */
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
function withoutAliases({ capture_method, setup_future_usage, payment_method_types, on_behalf_of, payment_method_configuration, payment_method_options, ...options }) {
  return {
    ...(capture_method !== undefined && { captureMethod: capture_method }),
    ...(setup_future_usage !== undefined && { setupFutureUsage: setup_future_usage }),
    ...(payment_method_types !== undefined && { paymentMethodTypes: payment_method_types }),
    ...(on_behalf_of !== undefined && { onBehalfOf: on_behalf_of }),
    ...(payment_method_configuration !== undefined && { paymentMethodConfiguration: payment_method_configuration }),
    ...(payment_method_options !== undefined && { paymentMethodOptions: payment_method_options }),
    ...options,
  };
}
