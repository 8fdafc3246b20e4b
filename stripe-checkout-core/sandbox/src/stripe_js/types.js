// The stand-in's own types. All others are Stripe's.

/** @typedef {import("@stripe/stripe-js").StripeError} StripeError */
/** @typedef {import("@stripe/stripe-js").Appearance} Appearance */
/** @typedef {import("@stripe/stripe-js").PaymentIntent} PaymentIntent */
/** @typedef {import("@stripe/stripe-js").SetupIntent} SetupIntent */
/** @typedef {PaymentIntent | SetupIntent} Intent */

/**
 * A value, or an error in its place.
 * @template T
 * @typedef {(T & {error?: undefined})
 *   | ({error: StripeError} & {[K in keyof T]?: undefined})} Either
 */
/** @typedef {Either<{intent: Intent}>} Told */
/** @typedef {Either<{paymentIntent: PaymentIntent}>} Result */
/** @typedef {Either<{setupIntent: SetupIntent}>} SetupResult */
/** @typedef {Either<{params: Record<string, any>}>} ParamsResult */

/**
 * @typedef {object} SavedMethod
 * @property {string} id
 * @property {{brand: string, last4: string, exp_month: number, exp_year: number}} [card]
 * @property {{last4: string}} [sepa_debit]
 */

/**
 * The options of `elements()`. The properties in Stripe's other spelling exist only until they are
 * read.
 * @typedef {object} ElementsOptions
 * @property {string} [mode]
 * @property {number} [amount]
 * @property {string} [currency]
 * @property {string} [captureMethod]
 * @property {string} [capture_method]
 * @property {string | null} [setupFutureUsage]
 * @property {string | null} [setup_future_usage]
 * @property {string} [clientSecret]
 * @property {string} [customerSessionClientSecret]
 * @property {string} [paymentMethodCreation]
 * @property {string[]} [paymentMethodTypes]
 * @property {string[]} [payment_method_types]
 * @property {string} [onBehalfOf]
 * @property {string} [on_behalf_of]
 * @property {string} [payment_method_configuration]
 * @property {object} [payment_method_options]
 * @property {string[]} [allowedPaymentMethodTypes]
 * @property {string[]} [excludedPaymentMethodTypes]
 * @property {Appearance} [appearance]
 */

/**
 * @typedef {object} ConfirmParams
 * @property {string} [return_url]
 * @property {string} [payment_method]
 * @property {Record<string, any>} [payment_method_data]
 * @property {object} [shipping]
 */

/**
 * @typedef {object} ConfirmOptions
 * @property {Elements} [elements]
 * @property {string} [clientSecret]
 * @property {ConfirmParams} [confirmParams]
 * @property {"always" | "if_required"} [redirect]
 */

/**
 * The data of `confirmCardPayment()` and its like.
 * @typedef {object} ClassicData
 * @property {unknown} [payment_method]
 * @property {{card?: Record<string, any>}} [payment_method_options]
 * @property {string} [return_url]
 */
/** @typedef {{handleActions?: boolean}} ClassicOptions */

/**
 * The key, and the connected account if there is one.
 * @typedef {{key: string, _stripe_account?: string}} Credentials
 */
/** @typedef {{number: string, then: string}} TestCard */
/** @typedef {{iban: string, then: string}} TestAccount */
