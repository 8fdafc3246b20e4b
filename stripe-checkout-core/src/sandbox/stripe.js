// The stand-in for Stripe.js.
