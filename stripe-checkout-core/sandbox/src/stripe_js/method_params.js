// The parameters of a payment method: from an Element, or as the page describes it.

/**
 * The parameters of a payment method that the page describes.
 * @param {string} method
 * @param {string} type
 * @param {unknown} given
 * @returns {ParamsResult}
 */
function methodParams(method, type, given) {
  if (typeof given !== "object" || given === null) throw new IntegrationError(`Invalid value for ${method}: payment_method should be a string or an object.`);
  const { [type]: instrument, billing_details = {}, ...rest } = /** @type {Record<string, any>} */ (given);
  if (instrument === undefined) throw new IntegrationError(`Missing value for ${method}: ${type} should be an object or an Element.`);
  const { params, error } = instrumentParams(method, type, instrument);
  if (error) return { error };
  const postal = instrument instanceof InputElement && instrument.field("postal")?.value;
  // The details of the page go before those of the Element.
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
 * @returns {ParamsResult}
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
 * @returns {ParamsResult}
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
 * @returns {ParamsResult}
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
 * @returns {ParamsResult}
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
  group.payment.mustHave(params.billing_details, method, "params");
  const typed = group.payment.params();
  if (typed.payment_method) throw new IntegrationError("The sandbox does not make a new payment method of a saved one.");
  // Here the details stand alone, without what belongs to the payment.
  const own = Object.entries(typed).flatMap(([name, value]) => {
    const [, field, rest = ""] = /^payment_method_data\[(\w+)\](.*)$/.exec(name) ?? [];
    return field ? [[`${field}${rest}`, value]] : [];
  });
  return { params: { ...Object.fromEntries(own), ...flatten(params) } };
}
