//! The tables: how records are read from and written to their rows, and the order in which rows are locked.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio::time::Instant;

use super::transaction::{busy_or, durable, milliseconds, wait_for_locks};
use crate::amount::Amount;
use crate::error::InboxError;
use crate::fulfillment::inbox::{
    EventFilter, EventRecord, EventState, IntentRecord, NewEvent, OrderKey, PaymentRecord, Scope,
    Settled,
};
use crate::fulfillment::stored::{
    event_state, intent_state, mode, note, number, read_event_state, read_intent_state, read_mode,
    read_note, read_number, read_refunds, read_settled, read_time, read_told, refunds, settled,
    time, told, unavailable,
};

/// The server's clock, in microseconds: the clocks of several processes differ.
macro_rules! clock {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

macro_rules! event_columns {
    () => {
        event_columns!("body")
    };
    ($body:literal) => {
        concat!("application, mode, id, event_type, payment, order_account, order_reference, ours, settles, ", $body, ", received, state, attempts, due, claim, last_error, taken, \
         taken AND due > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS leased, pg_backend_pid() AS backend, txid_current_if_assigned() AS transaction")
    };
}

macro_rules! put_order_of {
    ($rows:literal) => {
        concat!(
            "INSERT INTO {}orders_of_payments AS o (application, mode, payment, account, reference) ",
            $rows,
            " ON CONFLICT (application, mode, payment) DO UPDATE SET account = excluded.account, reference = excluded.reference \
             WHERE (o.account, o.reference) <> (excluded.account, excluded.reference)"
        )
    };
}

macro_rules! intent_columns {
    () => {
        "version, attempt, fingerprint, amount, currency, capture, i.payment, secret_hash, state, paid_by, declines"
    };
}
pub(super) use intent_columns;

/// When an event is due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// As the row says.
    AsItIs,
    /// So long from now.
    For(Duration),
}

/// An event's row, with what is the inbox's own business.
pub(super) struct EventRow {
    pub(super) record: EventRecord,
    /// Who took it counts himself here.
    pub(super) claim: i64,
    /// Somebody took it, and has not put it down.
    pub(super) taken: bool,
    /// And may be about to run it.
    pub(super) leased: bool,
    /// The server's process behind this connection.
    backend: i32,
    /// The number of the transaction that read it, as soon as it has locked or written anything.
    transaction: Option<i64>,
}

impl EventRow {
    /// Whether an attempt failed between that look and this one. It was counted before the first look, if somebody was at it then.
    pub(super) fn failed_since(&self, seen: &Self) -> bool {
        let counted = seen.record.attempts + u32::from(!seen.taken);
        !self.taken && self.record.attempts >= counted
    }
}

/// What a step decides from, read under the locks.
pub(super) struct Locked {
    pub(super) record: EventRecord,
    pub(super) claim: i64,
    /// The payment's row as it is stored, if it has one.
    pub(super) row: Option<PaymentRecord>,
    /// What is known of the payment: its row, and what was noted since.
    pub(super) payment: PaymentRecord,
    pub(super) intent: Option<IntentRecord>,
    /// The server's process behind this connection.
    pub(super) backend: i32,
    /// The number of the transaction.
    pub(super) transaction: Option<i64>,
}

/// The names of the tables.
#[derive(Clone)]
pub(super) struct Tables {
    schema: Option<Arc<str>>,
    prefix: Arc<str>,
}

impl Tables {
    pub(super) fn new(schema: Option<&str>) -> Self {
        let schema = schema.map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        let dot = schema.as_ref().map(|schema| format!("{schema}."));
        Self {
            prefix: format!("{}stripe_checkout_", dot.unwrap_or_default()).into(),
            schema: schema.map(Into::into),
        }
    }

    pub(super) fn create_schema(&self) -> AssertSqlSafe<String> {
        let schema = self.schema.as_deref().unwrap_or_default();
        AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
    }

    pub(super) fn name(&self, table: &str) -> String {
        format!("{}{table}", self.prefix)
    }

    /// The statement with `{}` before each table replaced. Safe, because the only thing that is put in is the quoted schema.
    pub(super) fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statement.replace("{}", &self.prefix))
    }

    /// Stores the events whose ids are not known, in the order in which they came, and with them which orders their payments belong to; gives for each what it
    /// stored. In one statement: without a transaction around it, it is one of its own, of which the commit is durable, and in which a lock is waited for no longer
    /// than this.
    pub(super) async fn insert_events(
        &self,
        conn: &mut PgConnection,
        events: &[&NewEvent],
        wait: Duration,
    ) -> Result<Vec<Option<EventRecord>>, InboxError> {
        // An event is due at once; not later, if the clock of whoever received it is fast. Two may be of one payment: the later one says whose it is. The
        // body is not sent back: we have it, and an answer that is long could not be read by a process that stands still, which would keep its locks.
        let sql = concat!(
            "WITH settings AS (SELECT set_config('lock_timeout', $1, true), ",
            durable!(),
            "), new AS (INSERT INTO {}events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, note, body, received, state, attempts, due, taken, claim) ",
            "SELECT application, mode, id, event_type, payment, order_account, order_reference, ours, settles, note, body, received, 'pending', 0, LEAST(received, ",
            clock!(),
            "), false, 0 FROM settings, ",
            "UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], $10::boolean[], $11::text[], $12::bytea[], $13::bigint[]) WITH ORDINALITY ",
            "AS given (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, note, body, received, place) ORDER BY place ",
            "ON CONFLICT (application, mode, id) DO NOTHING RETURNING arrival, ",
            event_columns!("''::bytea AS body"),
            "), whose AS (",
            put_order_of!(
                "SELECT DISTINCT ON (application, mode, payment) application, mode, payment, order_account, order_reference FROM new \
                 WHERE payment IS NOT NULL AND order_reference IS NOT NULL ORDER BY application, mode, payment, arrival DESC"
            ),
            ") SELECT * FROM new ORDER BY arrival"
        );
        macro_rules! column {
            (|$event:ident| $value:expr) => {
                events.iter().map(|$event| $value).collect::<Vec<_>>()
            };
        }
        let rows = sqlx::query(self.sql(sql))
            .bind(milliseconds(wait).to_string())
            .bind(column!(|event| text(&event.scope.application)))
            .bind(column!(|event| mode(event.scope.mode)))
            .bind(column!(|event| text(&event.id)))
            .bind(column!(|event| text(&event.event_type)))
            .bind(column!(|event| event.payment.as_deref().map(text)))
            .bind(column!(|event| account(event.order.as_ref())))
            .bind(column!(|event| {
                event.order.as_ref().map(|order| text(&order.reference))
            }))
            .bind(column!(|event| event.ours))
            .bind(column!(|event| event.settles))
            .bind(column!(|event| event.note.as_ref().map(note)))
            .bind(column!(|event| &event.body[..]))
            .bind(column!(|event| time(event.received)))
            // All of it: the server says that it committed after the last row.
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        let stored: Result<Vec<_>, _> = rows.iter().map(read_event).collect();
        let mut stored = stored?.into_iter().map(|row| row.record).peekable();
        let new = events.iter().map(|event| {
            let its = |stored: &EventRecord| {
                stored.id == text(&event.id)
                    && stored.scope.application == text(&event.scope.application)
                    && stored.scope.mode == event.scope.mode
            };
            let mut record = stored.next_if(its)?;
            record.body = event.body.clone();
            Some(record)
        });
        Ok(new.collect())
    }

    /// Writes down which order a PaymentIntent belongs to.
    pub(super) async fn put_order_of(
        &self,
        conn: &mut PgConnection,
        payment: &str,
        order: &OrderKey,
    ) -> Result<(), sqlx::Error> {
        let sql = put_order_of!("VALUES ($1, $2, $3, $4, $5)");
        sqlx::query(self.sql(sql))
            .bind(text(&order.scope.application))
            .bind(mode(order.scope.mode))
            .bind(text(payment))
            .bind(account(Some(order)))
            .bind(text(&order.reference))
            .execute(conn)
            .await?;
        Ok(())
    }

    pub(super) async fn event(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<EventRecord>, InboxError> {
        let row = self.event_row(conn, scope, id).await?;
        Ok(row.map(|row| row.record))
    }

    pub(super) async fn event_row(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<EventRow>, InboxError> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM {}events WHERE application = $1 AND mode = $2 AND id = $3"
        );
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(id))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        row.map(|row| read_event(&row)).transpose()
    }

    pub(super) async fn events(
        &self,
        conn: &mut PgConnection,
        filter: &EventFilter,
    ) -> Result<Vec<EventRecord>, InboxError> {
        let scope = filter.scope.as_ref();
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM {}events WHERE ($1::text IS NULL OR application = $1) AND ($2::text IS NULL OR mode = $2) ",
            "AND ($3::text IS NULL OR payment = $3) AND ($4::text IS NULL OR state = $4) ORDER BY received DESC, id DESC LIMIT $5"
        );
        let rows = sqlx::query(self.sql(sql))
            .bind(scope.map(|scope| text(&scope.application)))
            .bind(scope.map(|scope| mode(scope.mode)))
            .bind(filter.payment.as_deref().map(text))
            .bind(filter.state.map(event_state))
            .bind(i64::try_from(filter.limit).unwrap_or(i64::MAX))
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        rows.iter().map(|row| Ok(read_event(row)?.record)).collect()
    }

    /// This event, locked.
    pub(super) async fn lock_event(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<EventRow>, InboxError> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM {}events WHERE application = $1 AND mode = $2 AND id = $3 FOR UPDATE"
        );
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(id))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        row.map(|row| read_event(&row)).transpose()
    }

    /// The event that has been due for the longest time and that nobody else is at, locked.
    pub(super) async fn lock_due_event(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
    ) -> Result<Option<EventRow>, InboxError> {
        // By the time of the statement, not the clock's, which no index can be searched for.
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM {}events WHERE application = $1 AND mode = $2 AND state = 'pending' ",
            "AND due <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint ",
            "ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED"
        );
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        row.map(|row| read_event(&row)).transpose()
    }

    /// Counts an attempt of an event that is locked, and leases it. Gives the claim.
    pub(super) async fn claim(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
        lease: Duration,
    ) -> Result<i64, sqlx::Error> {
        let sql = concat!(
            "UPDATE {}events SET attempts = attempts + 1, claim = claim + 1, taken = true, due = ",
            clock!(),
            " + $4 WHERE application = $1 AND mode = $2 AND id = $3 RETURNING claim"
        );
        sqlx::query_scalar(self.sql(sql))
            .bind(text(&event.scope.application))
            .bind(mode(event.scope.mode))
            .bind(text(&event.id))
            .bind(micros(lease))
            .fetch_one(conn)
            .await
    }

    /// Puts an event back that was taken, but not run: due as before, or after this time.
    pub(super) async fn give_back(
        &self,
        conn: &mut PgConnection,
        found: &EventRecord,
        claim: i64,
        again: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        let sql = concat!(
            "UPDATE {}events SET attempts = attempts - 1, taken = false, due = COALESCE(",
            clock!(),
            " + $6, $5) WHERE application = $1 AND mode = $2 AND id = $3 AND claim = $4 AND state = 'pending'"
        );
        sqlx::query(self.sql(sql))
            .bind(text(&found.scope.application))
            .bind(mode(found.scope.mode))
            .bind(text(&found.id))
            .bind(claim)
            .bind(time(found.due))
            .bind(again.map(micros))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Gives back the attempt of whoever took an event, which is locked, and finds that it is somebody else's now.
    pub(super) async fn uncount(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
    ) -> Result<(), sqlx::Error> {
        let sql = "UPDATE {}events SET attempts = GREATEST(attempts - 1, 0) WHERE application = $1 AND mode = $2 AND id = $3";
        sqlx::query(self.sql(sql))
            .bind(text(&event.scope.application))
            .bind(mode(event.scope.mode))
            .bind(text(&event.id))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Writes how an event stands, which is locked. Whoever had taken it has it no more.
    pub(super) async fn put_event(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
        wait: Wait,
    ) -> Result<(), sqlx::Error> {
        let over = matches!(
            event.state,
            EventState::Done | EventState::Superseded | EventState::Dropped
        );
        let wait = match wait {
            Wait::AsItIs => None,
            Wait::For(time) => Some(micros(time)),
        };
        let sql = concat!(
            "UPDATE {}events SET state = $4, attempts = $5, due = COALESCE(",
            clock!(),
            " + $6, due), last_error = $7, body = CASE WHEN $8 THEN ''::bytea ELSE body END, taken = false, claim = claim + 1 ",
            "WHERE application = $1 AND mode = $2 AND id = $3"
        );
        let done = sqlx::query(self.sql(sql))
            .bind(text(&event.scope.application))
            .bind(mode(event.scope.mode))
            .bind(text(&event.id))
            .bind(event_state(event.state))
            .bind(i64::from(event.attempts))
            .bind(wait)
            .bind(event.last_error.as_deref().map(text))
            .bind(over)
            .execute(conn)
            .await?;
        written(&done)
    }

    /// The states of the other event objects of this success; none if it is no success.
    pub(super) async fn other_copies(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
    ) -> Result<Vec<EventState>, InboxError> {
        if !event.settles {
            return Ok(Vec::new());
        }
        let sql = "SELECT DISTINCT state FROM {}events WHERE application = $1 AND mode = $2 AND payment = $3 AND settles AND id <> $4";
        let states: Vec<String> = sqlx::query_scalar(self.sql(sql))
            .bind(text(&event.scope.application))
            .bind(mode(event.scope.mode))
            .bind(event.payment.as_deref().map(text))
            .bind(text(&event.id))
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        states.iter().map(|state| read_event_state(state)).collect()
    }

    /// The payment's row, and what is known of the payment: also what its events noted since, and whether its success waits for its turn.
    pub(super) async fn payment(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        id: &str,
    ) -> Result<(Option<PaymentRecord>, PaymentRecord), InboxError> {
        // One statement, so that a step that commits meanwhile is seen as a whole or not at all.
        let sql = "SELECT p.success, p.capturable, p.canceled, p.refunds, p.refunded_total, p.received, p.released, p.disputed, p.told, \
            ARRAY(SELECT note FROM {}events WHERE application = $1 AND mode = $2 AND payment = $3 AND note IS NOT NULL ORDER BY arrival) AS notes, \
            EXISTS (SELECT FROM {}events WHERE application = $1 AND mode = $2 AND payment = $3 AND settles AND state = 'pending') AS settling \
            FROM (SELECT) AS one LEFT JOIN {}payments AS p ON p.application = $1 AND p.mode = $2 AND p.id = $3";
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(id))
            .fetch_one(conn)
            .await
            .map_err(busy_or)?;
        let stored = read_payment(&row)?;
        let mut record = stored.clone().unwrap_or_default();
        let notes: Vec<String> = get(&row, "notes")?;
        for note in &notes {
            record.note(&read_note(note)?);
        }
        if record.success == Settled::No && get(&row, "settling")? {
            record.success = Settled::Pending;
        }
        Ok((stored, record))
    }

    /// Writes what is known of an event's payment if its row, which is locked, says something else. With what was noted, so that the event may be forgotten.
    pub(super) async fn put_payment(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
        row: Option<&PaymentRecord>,
        record: &PaymentRecord,
    ) -> Result<(), sqlx::Error> {
        match event.payment.as_deref() {
            Some(payment) => {
                self.put_payment_row(conn, &event.scope, payment, row, record)
                    .await
            }
            None => Ok(()),
        }
    }

    /// As [`put_payment`](Self::put_payment), of a payment.
    pub(super) async fn put_payment_row(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        payment: &str,
        row: Option<&PaymentRecord>,
        record: &PaymentRecord,
    ) -> Result<(), sqlx::Error> {
        let mut record = record.clone();
        // That the success waits for its turn is told by its event.
        if record.success == Settled::Pending {
            record.success = Settled::No;
        }
        if row == Some(&record) {
            return Ok(());
        }
        let sql = "UPDATE {}payments SET success = $4, capturable = $5, canceled = $6, refunds = $7, refunded_total = $8, disputed = $9, told = $10, received = $11, released = $12 \
            WHERE application = $1 AND mode = $2 AND id = $3";
        let done = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(payment))
            .bind(settled(record.success))
            .bind(record.capturable)
            .bind(record.canceled)
            .bind(refunds(&record.refunds))
            .bind(number(record.refunded_total))
            .bind(record.disputed)
            .bind(told(&record.told))
            .bind(number(record.received))
            .bind(number(record.released))
            .execute(conn)
            .await?;
        written(&done)
    }

    pub(super) async fn intent(
        &self,
        conn: &mut PgConnection,
        order: &OrderKey,
    ) -> Result<Option<IntentRecord>, InboxError> {
        let sql = concat!(
            "SELECT ",
            intent_columns!(),
            " FROM {}intents AS i WHERE application = $1 AND mode = $2 AND account = $3 AND reference = $4 AND version > 0"
        );
        let row = sqlx::query(self.sql(sql))
            .bind(text(&order.scope.application))
            .bind(mode(order.scope.mode))
            .bind(account(Some(order)))
            .bind(text(&order.reference))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        row.map(|row| read_intent(&row)).transpose()
    }

    pub(super) async fn intent_of_payment(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
        let sql = concat!(
            "SELECT i.account, i.reference, ",
            intent_columns!(),
            " FROM {}orders_of_payments AS o JOIN {}intents AS i USING (application, mode, account, reference) ",
            "WHERE application = $1 AND mode = $2 AND o.payment = $3 AND version > 0"
        );
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(payment))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let order = OrderKey {
            scope: scope.clone(),
            account: read_account(get(&row, "account")?),
            reference: get(&row, "reference")?,
        };
        Ok(Some((order, read_intent(&row)?)))
    }

    /// Makes sure that the order has a row that can be locked.
    pub(super) async fn place_order(
        &self,
        conn: &mut PgConnection,
        order: &OrderKey,
    ) -> Result<(), sqlx::Error> {
        let sql = "INSERT INTO {}intents (application, mode, account, reference) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        sqlx::query(self.sql(sql))
            .bind(text(&order.scope.application))
            .bind(mode(order.scope.mode))
            .bind(account(Some(order)))
            .bind(text(&order.reference))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Writes the order's row if its version is still this one, and to which order its PaymentIntents belong. Says whether it did.
    pub(super) async fn put_intent(
        &self,
        conn: &mut PgConnection,
        order: &OrderKey,
        expected: u64,
        record: &IntentRecord,
    ) -> Result<bool, sqlx::Error> {
        let sql = "UPDATE {}intents SET version = $6, attempt = $7, fingerprint = $8, amount = $9, currency = $10, payment = $11, secret_hash = $12, state = $13, paid_by = $14, declines = $15, capture = $16, \
            changed = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
            WHERE application = $1 AND mode = $2 AND account = $3 AND reference = $4 AND version = $5";
        let done = sqlx::query(self.sql(sql))
            .bind(text(&order.scope.application))
            .bind(mode(order.scope.mode))
            .bind(account(Some(order)))
            .bind(text(&order.reference))
            .bind(number(expected))
            .bind(number(record.version))
            .bind(i64::from(record.attempt))
            .bind(text(&record.fingerprint))
            .bind(number(record.asked.minor()))
            .bind(record.asked.currency().code().to_owned())
            .bind(record.payment.as_deref().map(text))
            .bind(record.secret_hash.as_deref().map(text))
            .bind(intent_state(record.state))
            .bind(record.paid_by.as_deref().map(text))
            .bind(i64::from(record.declines))
            .bind(record.capture.map(number))
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for payment in [&record.payment, &record.paid_by].into_iter().flatten() {
            self.put_order_of(conn, payment, order).await?;
        }
        Ok(true)
    }

    /// Locks a payment's row, and makes it first if there is none.
    pub(super) async fn lock_payment(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        payment: &str,
        patience: &mut Patience,
    ) -> Result<(), InboxError> {
        let lock =
            "SELECT 1 FROM {}payments WHERE application = $1 AND mode = $2 AND id = $3 FOR UPDATE";
        let place = "INSERT INTO {}payments (application, mode, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        for sql in [lock, place, lock] {
            patience.set(conn).await?;
            let locked = sqlx::query(self.sql(sql))
                .bind(text(&scope.application))
                .bind(mode(scope.mode))
                .bind(text(payment))
                .fetch_optional(&mut *conn)
                .await
                .map_err(busy_or)?;
            if locked.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Locks the event's payment, its order and the event, in this order, each in a statement of its own, and then reads them: a statement that read before it
    /// waited would tell what was true before. All in all it waits until then.
    pub(super) async fn lock(
        &self,
        conn: &mut PgConnection,
        event: &EventRecord,
        until: Instant,
    ) -> Result<Locked, InboxError> {
        let scope = &event.scope;
        let mut patience = Patience::until(until);
        if let Some(payment) = event.payment.as_deref() {
            self.lock_payment(conn, scope, payment, &mut patience)
                .await?;
        }
        if let Some(order) = &event.order {
            // One without a row, too, has only one step at a time: so there has to be one.
            patience.set(conn).await?;
            self.place_order(conn, order).await.map_err(busy_or)?;
            patience.set(conn).await?;
            let lock = "SELECT 1 FROM {}intents WHERE application = $1 AND mode = $2 AND account = $3 AND reference = $4 FOR UPDATE";
            sqlx::query(self.sql(lock))
                .bind(text(&order.scope.application))
                .bind(mode(order.scope.mode))
                .bind(account(Some(order)))
                .bind(text(&order.reference))
                .execute(&mut *conn)
                .await
                .map_err(busy_or)?;
        }
        patience.set(conn).await?;
        let row = self.lock_event(conn, scope, &event.id).await?;
        let row = row.ok_or(InboxError::UnknownEvent)?;
        let (stored, payment) = match event.payment.as_deref() {
            Some(payment) => self.payment(conn, scope, payment).await?,
            None => Default::default(),
        };
        let intent = match &event.order {
            Some(order) => self.intent(conn, order).await?,
            None => None,
        };
        Ok(Locked {
            record: row.record,
            claim: row.claim,
            row: stored,
            payment,
            intent,
            backend: row.backend,
            transaction: row.transaction,
        })
    }
}

/// A mark that touched no row is no mark: row security by a setting of the handler's, or a trigger, must not let its work be committed without it.
fn written(done: &PgQueryResult) -> Result<(), sqlx::Error> {
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// How long locks are waited for, all in all: the server counts for each lock anew.
pub(super) struct Patience {
    until: Instant,
    /// When the server was told last.
    set: Option<Instant>,
}

impl Patience {
    pub(super) fn until(until: Instant) -> Self {
        Self { until, set: None }
    }

    /// What is left is all that the next lock may take. Where nothing is left, one that is free is still taken: it is others that are waited for, and a server that is far
    /// away or busy is none, or a worker with little patience would never come to a hook.
    async fn set(&mut self, conn: &mut PgConnection) -> Result<(), InboxError> {
        let now = Instant::now();
        let left = self.until.saturating_duration_since(now);
        // As long as no lock was waited for, what the server was told is still true.
        if self
            .set
            .is_none_or(|set| now - set > Duration::from_millis(20))
        {
            wait_for_locks(conn, left).await.map_err(busy_or)?;
            self.set = Some(now);
        }
        Ok(())
    }
}

/// The database's text has no U+0000. No id of Stripe's has one either, but an error message may.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn micros(time: Duration) -> i64 {
    time.as_micros().try_into().unwrap_or(i64::MAX / 2)
}

/// The account of the keys themselves is an empty column: a key cannot be NULL.
pub(super) fn account(order: Option<&OrderKey>) -> Cow<'_, str> {
    text(
        order
            .and_then(|order| order.account.as_deref())
            .unwrap_or_default(),
    )
}

pub(super) fn read_account(column: String) -> Option<String> {
    Some(column).filter(|account| !account.is_empty())
}

pub(super) fn get<'r, T>(row: &'r PgRow, column: &'static str) -> Result<T, InboxError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(unavailable)
}

pub(super) fn read_count(row: &PgRow, column: &'static str) -> Result<u32, InboxError> {
    Ok(read_number(get(row, column)?)
        .try_into()
        .unwrap_or(u32::MAX))
}

fn read_event(row: &PgRow) -> Result<EventRow, InboxError> {
    let scope = Scope {
        application: get(row, "application")?,
        mode: read_mode(get(row, "mode")?)?,
    };
    let reference: Option<String> = get(row, "order_reference")?;
    let account = read_account(get(row, "order_account")?);
    let record = EventRecord {
        order: reference.map(|reference| OrderKey {
            scope: scope.clone(),
            account,
            reference,
        }),
        scope,
        id: get(row, "id")?,
        event_type: get(row, "event_type")?,
        payment: get(row, "payment")?,
        ours: get(row, "ours")?,
        settles: get(row, "settles")?,
        body: Bytes::from(get::<Vec<u8>>(row, "body")?),
        received: read_time(get(row, "received")?),
        state: read_event_state(get(row, "state")?)?,
        attempts: read_count(row, "attempts")?,
        due: read_time(get(row, "due")?),
        last_error: get(row, "last_error")?,
    };
    Ok(EventRow {
        record,
        claim: get(row, "claim")?,
        taken: get(row, "taken")?,
        leased: get(row, "leased")?,
        backend: get(row, "backend")?,
        transaction: get(row, "transaction")?,
    })
}

fn read_payment(row: &PgRow) -> Result<Option<PaymentRecord>, InboxError> {
    let Some(success) = get::<Option<&str>>(row, "success")? else {
        return Ok(None);
    };
    Ok(Some(PaymentRecord {
        success: read_settled(success)?,
        capturable: get(row, "capturable")?,
        canceled: get(row, "canceled")?,
        refunds: read_refunds(get(row, "refunds")?)?,
        refunded_total: read_number(get(row, "refunded_total")?),
        received: read_number(get(row, "received")?),
        released: read_number(get(row, "released")?),
        disputed: get(row, "disputed")?,
        told: read_told(get(row, "told")?)?,
    }))
}

pub(super) fn read_intent(row: &PgRow) -> Result<IntentRecord, InboxError> {
    let currency = get::<&str>(row, "currency")?.parse().map_err(unavailable)?;
    Ok(IntentRecord {
        version: read_number(get(row, "version")?),
        attempt: read_count(row, "attempt")?,
        fingerprint: get(row, "fingerprint")?,
        asked: Amount::new(read_number(get(row, "amount")?), currency),
        capture: get::<Option<i64>>(row, "capture")?.map(read_number),
        payment: get(row, "payment")?,
        secret_hash: get(row, "secret_hash")?,
        state: read_intent_state(get(row, "state")?)?,
        paid_by: get(row, "paid_by")?,
        declines: read_count(row, "declines")?,
    })
}
