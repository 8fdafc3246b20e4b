// The billing details that the page keeps out of the Payment Element: `fields.billingDetails`.

/** The parts of an address, as the page and the API spell them. */
const ADDRESS_PARTS = { country: "country", postalCode: "postal_code", state: "state", city: "city", line1: "line1", line2: "line2" };

/**
 * The details that the form never asks for, as the API spells them: `name`, `address.line1`. A
 * whole address stands before its parts.
 * @param {Record<string, any> | undefined} fields
 * @returns {string[]}
 */
function neverAsked(fields) {
  const where = "elements.create('payment')";
  /** @param {string} name @param {unknown} option @param {...string} more */
  const isNever = (name, option, ...more) => {
    if (typeof option !== "object" || option === null) mustBeOneOf(where, name, option ?? "auto", ["auto", "never", ...more]);
    return option === "never";
  };
  const option = fields?.billingDetails;
  const all = isNever("fields.billingDetails", option);
  const never = ["name", "email", "phone"].filter((name) => isNever(`fields.billingDetails.${name}`, option?.[name], "always") || all);
  const address = all ? "never" : option?.address;
  const whole = isNever("fields.billingDetails.address", address, "if_required");
  const parts = Object.entries(ADDRESS_PARTS).filter(([name]) => isNever(`fields.billingDetails.address.${name}`, address?.[name]) || whole);
  return [...never, ...(whole ? ["address"] : []), ...parts.map(([, name]) => `address.${name}`)];
}

/**
 * The page must pass what the form does not ask for. An empty value and null are enough.
 * @param {string[]} never
 * @param {Record<string, any> | undefined} given the billing details of the call
 * @param {string} call
 * @param {string} where the call takes the details
 */
function mustBePassed(never, given, call, where) {
  const missing = never.find((path) => path.split(".").reduce((/** @type {any} */ part, name) => part?.[name], given) === undefined);
  if (!missing) return;
  throw new IntegrationError(
    `You specified "never" for fields.billing_details.${missing} when creating the payment Element, but did not pass ${where}.billing_details.${missing} when calling ${call}. ` +
      `If you opt out of collecting data via the payment Element using the fields option, the data must be passed in when calling ${call}.`,
  );
}
