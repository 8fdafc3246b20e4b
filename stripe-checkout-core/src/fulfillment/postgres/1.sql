-- What PostgresInbox keeps. It can be run again and again, and only ever adds.
-- Times are microseconds since 1970. Keys compare by their bytes: a unique index must not depend on the version of a locale.

CREATE TABLE IF NOT EXISTS stripe_checkout_migrations (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

-- Verified events, pending or dealt with.
CREATE TABLE IF NOT EXISTS stripe_checkout_events (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- Of two events about one payment the one that arrived later says whose it is.
    arrival bigint GENERATED ALWAYS AS IDENTITY,
    event_type text NOT NULL,
    payment text COLLATE "C",
    -- '' is the account of the keys themselves; without a reference there is no order.
    order_account text COLLATE "C" NOT NULL,
    order_reference text COLLATE "C",
    ours boolean NOT NULL,
    settles boolean NOT NULL,
    note text,
    -- Bytes: text refuses the character U+0000.
    body bytea NOT NULL,
    received bigint NOT NULL,
    state text NOT NULL,
    attempts bigint NOT NULL,
    due bigint NOT NULL,
    -- Somebody is at it until it is due again.
    taken boolean NOT NULL,
    -- Counts who took it, so that one who was away for long sees that it is not his any more.
    claim bigint NOT NULL,
    last_error text,
    PRIMARY KEY (application, mode, id)
);
CREATE INDEX IF NOT EXISTS stripe_checkout_events_due
    ON stripe_checkout_events (application, mode, due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS stripe_checkout_events_payment
    ON stripe_checkout_events (application, mode, payment) WHERE payment IS NOT NULL;
-- What somebody should look at: few, so that a list of them costs little.
CREATE INDEX IF NOT EXISTS stripe_checkout_events_open
    ON stripe_checkout_events (application, mode, state, received) WHERE state NOT IN ('done', 'superseded');
CREATE INDEX IF NOT EXISTS stripe_checkout_events_received
    ON stripe_checkout_events (application, mode, received);

-- How far each PaymentIntent's fulfilment is, kept for good.
CREATE TABLE IF NOT EXISTS stripe_checkout_payments (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    success text NOT NULL DEFAULT 'no',
    capturable boolean NOT NULL DEFAULT false,
    canceled boolean NOT NULL DEFAULT false,
    refunds text NOT NULL DEFAULT '{}',
    refunded_total bigint NOT NULL DEFAULT 0,
    received bigint NOT NULL DEFAULT 0,
    released bigint NOT NULL DEFAULT 0,
    disputes text NOT NULL DEFAULT '{}',
    -- What the hooks were told of its refunds and disputes.
    told text NOT NULL DEFAULT '{}',
    PRIMARY KEY (application, mode, id)
);

-- Orders that were paid twice, until something of it is refunded.
CREATE INDEX IF NOT EXISTS stripe_checkout_payments_duplicate
    ON stripe_checkout_payments (application, mode) WHERE success = 'duplicate';

-- The PaymentIntent that is open for an order, or paid it. A row of version 0 says nothing: it is there to be locked.
CREATE TABLE IF NOT EXISTS stripe_checkout_intents (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    attempt bigint NOT NULL DEFAULT 0,
    fingerprint text NOT NULL DEFAULT '',
    amount bigint NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT '',
    -- The amount that our own capture brings the payment to, in the same currency.
    capture bigint,
    payment text,
    secret_hash text,
    -- Whether Stripe has the parameters of the fingerprint.
    request text NOT NULL DEFAULT 'sent',
    state text NOT NULL DEFAULT 'creating',
    paid_by text,
    declines bigint NOT NULL DEFAULT 0,
    -- When the row was written.
    changed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (application, mode, account, reference)
);
-- Orders that may still be paid, in the order in which they are looked up at Stripe.
CREATE INDEX IF NOT EXISTS stripe_checkout_intents_open
    ON stripe_checkout_intents (application, mode, account, reference) WHERE state IN ('creating', 'open', 'processing');

-- The connected accounts whose lists of events are read.
CREATE INDEX IF NOT EXISTS stripe_checkout_intents_accounts
    ON stripe_checkout_intents (application, mode, account, changed) WHERE account <> '' AND version > 0;

-- Which order a PaymentIntent, also an earlier one, belongs to.
CREATE TABLE IF NOT EXISTS stripe_checkout_orders_of_payments (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    payment text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    PRIMARY KEY (application, mode, payment)
);

-- What was asked of Stripe under a reference of the merchant's own, kept for good. '' is the account of the keys themselves.
CREATE TABLE IF NOT EXISTS stripe_checkout_operations (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    attempt bigint NOT NULL,
    fingerprint text NOT NULL,
    subject text,
    amount bigint,
    currency text,
    state text NOT NULL,
    result text,
    -- When this attempt began.
    begun bigint NOT NULL,
    PRIMARY KEY (application, mode, account, kind, reference)
);

-- How far something was read.
CREATE TABLE IF NOT EXISTS stripe_checkout_bookmarks (
    application text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (application, mode, name)
);

INSERT INTO stripe_checkout_migrations (version) VALUES (1) ON CONFLICT DO NOTHING;
