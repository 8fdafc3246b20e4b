//! The tables of both databases: each column is named once, here.

use crate::error::InboxError;

/// Refuses tables that a newer version of this crate made. It may read and write them by other
/// rules.
pub(in crate::fulfillment) fn tables_are_known(
    found: usize,
    known: usize,
) -> Result<(), InboxError> {
    match found > known {
        true => Err(InboxError::NewerTables { found, known }),
        false => Ok(()),
    }
}

/// Refuses tables that an older version of this crate made, or that are missing.
pub(in crate::fulfillment) fn tables_are_new_enough(
    found: usize,
    known: usize,
) -> Result<(), InboxError> {
    match found < known {
        true => Err(InboxError::OlderTables { found, known }),
        false => Ok(()),
    }
}

/// The statements that create the tables. They can run again and again, and only ever add.
///
/// A key begins with what differs most from row to row, and an index of all rows of a scope has a
/// condition. So one index fits each look-up, and PostgreSQL takes it although it has not counted
/// the rows yet.
///
/// Times are microseconds since 1970, amounts are minor units. The account of the keys themselves
/// is the empty text, because a part of a key cannot be NULL.
macro_rules! tables {
    (text: $text:literal, integer: $integer:literal, flag: $flag:literal, bytes: $bytes:literal, end: $end:literal, bodies: $bodies:literal, keyed: $keyed:literal,) => {
        concat!(
            "CREATE TABLE IF NOT EXISTS stripe_checkout_migrations (version ", $integer, " PRIMARY KEY)", $end, ";\n",

            "CREATE TABLE IF NOT EXISTS stripe_checkout_events (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                id ", $text, " NOT NULL,
                event_type ", $text, " NOT NULL,
                payment ", $text, ",
                order_account ", $text, " NOT NULL,
                order_reference ", $text, ",
                ours ", $flag, " NOT NULL,
                settles ", $flag, " NOT NULL,
                -- What must be known of the payment before the event's turn comes.
                note ", $text, ",
                -- Bytes: a text column of PostgreSQL refuses the character U+0000.
                body ", $bytes, " NOT NULL,
                received ", $integer, " NOT NULL,
                state ", $text, " NOT NULL,
                attempts ", $integer, " NOT NULL,
                due ", $integer, " NOT NULL,
                -- 1: a process has claimed it until it is due again. 2: and it has had all its attempts.
                taken ", $integer, " NOT NULL,
                -- Rises with each claim: a process that was away for long finds another number.
                claim ", $integer, " NOT NULL,
                last_error ", $text, ",
                PRIMARY KEY (id, application, mode)
            )", $bodies, ";
            CREATE INDEX IF NOT EXISTS stripe_checkout_events_due
                ON stripe_checkout_events (application, mode, due) WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS stripe_checkout_events_payment
                ON stripe_checkout_events (application, mode, payment) WHERE payment IS NOT NULL;
            -- Few events are open, so a list of them costs little.
            CREATE INDEX IF NOT EXISTS stripe_checkout_events_open
                ON stripe_checkout_events (application, mode, received) WHERE state NOT IN ('done', 'superseded');
            CREATE INDEX IF NOT EXISTS stripe_checkout_events_over
                ON stripe_checkout_events (application, mode, received) WHERE state IN ('done', 'superseded');\n",

            "CREATE TABLE IF NOT EXISTS stripe_checkout_payments (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                id ", $text, " NOT NULL,
                success ", $text, " NOT NULL DEFAULT 'no',
                capturable ", $flag, " NOT NULL DEFAULT FALSE,
                canceled ", $flag, " NOT NULL DEFAULT FALSE,
                refunds ", $text, " NOT NULL DEFAULT '{}',
                refunded_total ", $integer, " NOT NULL DEFAULT 0,
                received ", $integer, " NOT NULL DEFAULT 0,
                released ", $integer, " NOT NULL DEFAULT 0,
                disputes ", $text, " NOT NULL DEFAULT '{}',
                -- The statuses of its refunds and disputes that the handler received.
                notified ", $text, " NOT NULL DEFAULT '{}',
                PRIMARY KEY (id, application, mode)
            )", $keyed, ";
            -- Orders that were paid twice, until something of it is refunded.
            CREATE INDEX IF NOT EXISTS stripe_checkout_payments_duplicate
                ON stripe_checkout_payments (application, mode) WHERE success = 'duplicate';
            CREATE INDEX IF NOT EXISTS stripe_checkout_payments_refunded
                ON stripe_checkout_payments (application, mode, id) WHERE success = 'refunded';\n",

            "-- The open payment of an order, or the one that paid it. A row of version 0 is only there to be locked.
            CREATE TABLE IF NOT EXISTS stripe_checkout_intents (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                account ", $text, " NOT NULL,
                reference ", $text, " NOT NULL,
                version ", $integer, " NOT NULL DEFAULT 0,
                attempt ", $integer, " NOT NULL DEFAULT 0,
                fingerprint ", $text, " NOT NULL DEFAULT '',
                amount ", $integer, " NOT NULL DEFAULT 0,
                currency ", $text, " NOT NULL DEFAULT '',
                -- The amount that our own capture brings the payment to, in the same currency.
                capture ", $integer, ",
                payment ", $text, ",
                secret_hash ", $text, ",
                -- Whether Stripe has the parameters of the fingerprint.
                request ", $text, " NOT NULL DEFAULT 'sent',
                state ", $text, " NOT NULL DEFAULT '',
                paid_by ", $text, ",
                declines ", $integer, " NOT NULL DEFAULT 0,
                -- When the row was written.
                changed ", $integer, " NOT NULL DEFAULT 0,
                PRIMARY KEY (reference, application, mode, account)
            )", $keyed, ";
            -- Orders that may still be paid, in the order in which they are looked up at Stripe.
            CREATE INDEX IF NOT EXISTS stripe_checkout_intents_open
                ON stripe_checkout_intents (application, mode, account, reference) WHERE state IN ('creating', 'open', 'processing');
            -- The connected accounts whose lists of events are read.
            CREATE INDEX IF NOT EXISTS stripe_checkout_intents_accounts
                ON stripe_checkout_intents (application, mode, account, changed) WHERE account <> '' AND version > 0;\n",

            "-- The order of a payment: its present one, an earlier one, or one that an event named.
            CREATE TABLE IF NOT EXISTS stripe_checkout_orders_of_payments (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                payment ", $text, " NOT NULL,
                account ", $text, " NOT NULL,
                reference ", $text, " NOT NULL,
                PRIMARY KEY (payment, application, mode)
            )", $keyed, ";\n",

            "-- What was asked of Stripe under a reference of the merchant's own, kept for good.
            CREATE TABLE IF NOT EXISTS stripe_checkout_operations (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                account ", $text, " NOT NULL,
                kind ", $text, " NOT NULL,
                reference ", $text, " NOT NULL,
                version ", $integer, " NOT NULL,
                attempt ", $integer, " NOT NULL,
                fingerprint ", $text, " NOT NULL,
                subject ", $text, ",
                amount ", $integer, ",
                currency ", $text, ",
                state ", $text, " NOT NULL,
                result ", $text, ",
                -- When this attempt began.
                begun ", $integer, " NOT NULL,
                PRIMARY KEY (reference, application, mode, account, kind)
            )", $keyed, ";\n",

            "-- How far something was read.
            CREATE TABLE IF NOT EXISTS stripe_checkout_bookmarks (
                application ", $text, " NOT NULL,
                mode ", $text, " NOT NULL,
                name ", $text, " NOT NULL,
                value ", $text, " NOT NULL,
                PRIMARY KEY (name, application, mode)
            )", $keyed, ";

            INSERT INTO stripe_checkout_migrations (version) VALUES (1) ON CONFLICT DO NOTHING;"
        )
    };
}
pub(in crate::fulfillment) use tables;
