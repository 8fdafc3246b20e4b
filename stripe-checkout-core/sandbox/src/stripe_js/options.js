// The options that Stripe.js knows. It warns of others and refuses wrong values.

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
 * The options that change which payment methods there are, or that Stripe compares with the
 * intent, and that the sandbox does not have. To ignore them would be more lenient than Stripe.
 */
const ABSENT_OPTIONS = {
  Stripe: ["betas"],
  elements: ["paymentMethodConfiguration", "paymentMethodOptions", "externalPaymentMethodTypes", "customPaymentMethods"],
};

/**
 * Refuses the options that the sandbox does not have.
 * @param {string} where
 * @param {Record<string, any>} options
 * @param {string[]} absent
 */
function mustNotHave(where, options, absent) {
  const isSet = (/** @type {any} */ value) => value !== undefined && value !== null && value.length !== 0;
  const name = absent.find((name) => isSet(options[name]));
  if (name) throw new IntegrationError(`The sandbox does not have the option ${name} of ${where}(). Test this with your own Stripe account in test mode.`);
}

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
