//! The rows, and the statements that read and write them. Each reads by one statement, so that what it gives was true at one moment.

use std::time::SystemTime;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::super::inbox::{
    EventFilter, EventRecord, EventState, IntentRecord, NewEvent, OrderKey, PaymentRecord, Scope,
    Settled,
};
use super::super::stored::{
    event_state, intent_state, mode, note, number, read_event_state, read_intent_state, read_mode,
    read_note, read_number, read_refunds, read_settled, read_time, read_told, refunds, settled,
    time, told, unavailable,
};
use crate::amount::Amount;
use crate::error::InboxError;

/// The database is locked by somebody else, or something is wrong with it.
pub(super) fn failed(error: sqlx::Error) -> InboxError {
    if is_locked(&error) {
        InboxError::Busy
    } else {
        unavailable(error)
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY and SQLITE_LOCKED, and all that are derived from them.
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// An event, and what only this inbox knows of it.
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) claim: i64,
    pub(super) taken: bool,
    pub(super) record: EventRecord,
}

impl Stored {
    /// Whether an attempt failed between that look and this one. It was counted before the first look, if somebody was at it then.
    pub(super) fn failed_since(&self, seen: &Self) -> bool {
        let counted = seen.record.attempts + u32::from(!seen.taken);
        !self.taken && self.record.attempts >= counted
    }
}

macro_rules! select_events {
    ($where:literal) => {
        concat!(
            "SELECT seq, application, mode, id, type, payment, account, order_reference, ours, settles, body, received, state, attempts, due, claim, taken, last_error \
             FROM stripe_checkout_events ",
            $where
        )
    };
}

fn read_event(row: &SqliteRow) -> Result<Stored, InboxError> {
    let scope = Scope {
        application: row.try_get("application").map_err(failed)?,
        mode: read_mode(row.try_get("mode").map_err(failed)?)?,
    };
    let order: Option<String> = row.try_get("order_reference").map_err(failed)?;
    let account = row.try_get("account").map_err(failed)?;
    let body: Vec<u8> = row.try_get("body").map_err(failed)?;
    Ok(Stored {
        seq: row.try_get("seq").map_err(failed)?,
        claim: row.try_get("claim").map_err(failed)?,
        taken: row.try_get("taken").map_err(failed)?,
        record: EventRecord {
            id: row.try_get("id").map_err(failed)?,
            event_type: row.try_get("type").map_err(failed)?,
            payment: row.try_get("payment").map_err(failed)?,
            order: order.map(|reference| OrderKey {
                scope: scope.clone(),
                account,
                reference,
            }),
            scope,
            ours: row.try_get("ours").map_err(failed)?,
            settles: row.try_get("settles").map_err(failed)?,
            body: body.into(),
            received: read_time(row.try_get("received").map_err(failed)?),
            state: read_event_state(row.try_get("state").map_err(failed)?)?,
            attempts: row.try_get("attempts").map_err(failed)?,
            due: read_time(row.try_get("due").map_err(failed)?),
            last_error: row.try_get("last_error").map_err(failed)?,
        },
    })
}

pub(super) async fn event(
    db: &mut SqliteConnection,
    scope: &Scope,
    id: &str,
) -> Result<Option<Stored>, InboxError> {
    let row = sqlx::query(select_events!(
        "WHERE application = ?1 AND mode = ?2 AND id = ?3"
    ))
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(id)
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    row.as_ref().map(read_event).transpose()
}

/// The pending event that has been due for the longest time.
pub(super) async fn due(
    db: &mut SqliteConnection,
    scope: &Scope,
    now: i64,
) -> Result<Option<Stored>, InboxError> {
    let row = sqlx::query(select_events!(
        "WHERE application = ?1 AND mode = ?2 AND state = 'pending' AND due <= ?3 ORDER BY due, seq LIMIT 1"
    ))
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(now)
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    row.as_ref().map(read_event).transpose()
}

pub(super) async fn events(
    db: &mut SqliteConnection,
    filter: &EventFilter,
) -> Result<Vec<EventRecord>, InboxError> {
    let mut query = QueryBuilder::<Sqlite>::new(select_events!("WHERE TRUE"));
    if let Some(scope) = &filter.scope {
        query.push(" AND application = ");
        query.push_bind(&scope.application);
        query.push(" AND mode = ");
        query.push_bind(mode(scope.mode));
    }
    if let Some(payment) = &filter.payment {
        query.push(" AND payment = ");
        query.push_bind(payment);
    }
    if let Some(state) = filter.state {
        query.push(" AND state = ");
        query.push_bind(event_state(state));
    }
    query.push(" ORDER BY received DESC, id DESC LIMIT ");
    query.push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    let rows = query.build().fetch_all(db).await.map_err(failed)?;
    rows.iter()
        .map(|row| read_event(row).map(|stored| stored.record))
        .collect()
}

/// Stores an event unless its id is known, and says whether it was new.
pub(super) async fn insert_event(
    db: &mut SqliteConnection,
    event: &NewEvent,
) -> Result<bool, InboxError> {
    let received = time(event.received);
    let done = sqlx::query(
        "INSERT INTO stripe_checkout_events \
         (application, mode, id, type, payment, account, order_reference, ours, settles, note, body, received, state, attempts, due, claim, taken) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'pending', 0, ?12, 0, FALSE) \
         ON CONFLICT (application, mode, id) DO NOTHING",
    )
    .bind(&event.scope.application)
    .bind(mode(event.scope.mode))
    .bind(&event.id)
    .bind(&event.event_type)
    .bind(&event.payment)
    .bind(event.order.as_ref().map(|order| &order.account))
    .bind(event.order.as_ref().map(|order| &order.reference))
    .bind(event.ours)
    .bind(event.settles)
    .bind(event.note.as_ref().map(note))
    .bind(&event.body[..])
    .bind(received)
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// Writes how far an event is. What is over keeps no body: it holds the buyer's name and address.
pub(super) async fn update_event(
    db: &mut SqliteConnection,
    event: &Stored,
) -> Result<(), InboxError> {
    let record = &event.record;
    let over = matches!(
        record.state,
        EventState::Done | EventState::Superseded | EventState::Dropped
    );
    let done = sqlx::query(
        "UPDATE stripe_checkout_events \
         SET state = ?2, attempts = ?3, due = ?4, claim = ?5, taken = ?6, last_error = ?7, body = CASE WHEN ?8 THEN x'' ELSE body END \
         WHERE seq = ?1",
    )
    .bind(event.seq)
    .bind(event_state(record.state))
    .bind(record.attempts)
    .bind(time(record.due))
    .bind(event.claim)
    .bind(event.taken)
    .bind(&record.last_error)
    .bind(over)
    .execute(db)
    .await
    .map_err(failed)?;
    // A mark that touched no row is no mark.
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(unavailable("the row of an event could not be written")),
    }
}

/// What is known of a payment: its row, and what events said since it was written.
pub(super) struct Known {
    pub(super) record: PaymentRecord,
    /// The last event whose note is in `record`.
    noted: i64,
    /// The last event whose note is in the row; none if there is no row.
    row: Option<i64>,
}

impl Known {
    /// Of an event that is about no payment.
    pub(super) fn nothing() -> Self {
        Self {
            record: PaymentRecord::default(),
            noted: 0,
            row: None,
        }
    }

    /// Whether anything was ever said of it.
    pub(super) fn is_known(&self) -> bool {
        self.row.is_some() || self.record != PaymentRecord::default()
    }

    /// Whether its row lacks a note, which would be lost with the event that said it.
    pub(super) fn is_behind(&self) -> bool {
        self.noted > self.row.unwrap_or_default()
    }
}

pub(super) async fn payment(
    db: &mut SqliteConnection,
    scope: &Scope,
    id: &str,
) -> Result<Known, InboxError> {
    let rows = sqlx::query(
        "SELECT 0 AS seq, success, capturable, canceled, refunds, refunded_total, received, released, disputed, told, noted, NULL AS note, FALSE AS settling \
         FROM stripe_checkout_payments WHERE application = ?1 AND mode = ?2 AND id = ?3 \
         UNION ALL \
         SELECT seq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, note, settles AND state = 'pending' \
         FROM stripe_checkout_events WHERE application = ?1 AND mode = ?2 AND payment = ?3 AND (note IS NOT NULL OR (settles AND state = 'pending')) \
         ORDER BY seq",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(id)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut known = Known::nothing();
    let mut settling = false;
    for row in &rows {
        let seq: i64 = row.try_get("seq").map_err(failed)?;
        if seq == 0 {
            known.noted = row.try_get("noted").map_err(failed)?;
            known.row = Some(known.noted);
            known.record = PaymentRecord {
                success: read_settled(row.try_get("success").map_err(failed)?)?,
                capturable: row.try_get("capturable").map_err(failed)?,
                canceled: row.try_get("canceled").map_err(failed)?,
                refunds: read_refunds(row.try_get("refunds").map_err(failed)?)?,
                refunded_total: read_number(row.try_get("refunded_total").map_err(failed)?),
                received: read_number(row.try_get("received").map_err(failed)?),
                released: read_number(row.try_get("released").map_err(failed)?),
                disputed: row.try_get("disputed").map_err(failed)?,
                told: read_told(row.try_get("told").map_err(failed)?)?,
            };
            continue;
        }
        settling |= row.try_get::<bool, _>("settling").map_err(failed)?;
        let note: Option<&str> = row.try_get("note").map_err(failed)?;
        if let Some(note) = note.filter(|_| seq > known.noted) {
            known.record.note(&read_note(note)?);
            known.noted = seq;
        }
    }
    if settling && known.record.success == Settled::No {
        known.record.success = Settled::Pending;
    }
    Ok(known)
}

/// Writes a payment's row, with all that was noted in it.
pub(super) async fn put_payment(
    db: &mut SqliteConnection,
    scope: &Scope,
    id: &str,
    record: &PaymentRecord,
    known: &Known,
) -> Result<(), InboxError> {
    // That a success is pending is told by its event alone.
    let success = match record.success {
        Settled::Pending => Settled::No,
        success => success,
    };
    sqlx::query(
        "INSERT INTO stripe_checkout_payments (application, mode, id, success, capturable, canceled, refunds, refunded_total, disputed, noted, told, received, released) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
         ON CONFLICT (application, mode, id) DO UPDATE SET success = excluded.success, capturable = excluded.capturable, canceled = excluded.canceled, \
         refunds = excluded.refunds, refunded_total = excluded.refunded_total, disputed = excluded.disputed, noted = excluded.noted, told = excluded.told, \
         received = excluded.received, released = excluded.released",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(id)
    .bind(settled(success))
    .bind(record.capturable)
    .bind(record.canceled)
    .bind(refunds(&record.refunds))
    .bind(number(record.refunded_total))
    .bind(record.disputed)
    .bind(known.noted)
    .bind(told(&record.told))
    .bind(number(record.received))
    .bind(number(record.released))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The states of the other event objects of this success.
pub(super) async fn other_copies(
    db: &mut SqliteConnection,
    event: &Stored,
) -> Result<Vec<EventState>, InboxError> {
    let scope = &event.record.scope;
    let states: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT state FROM stripe_checkout_events WHERE application = ?1 AND mode = ?2 AND payment = ?3 AND settles AND seq <> ?4",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(&event.record.payment)
    .bind(event.seq)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    states.iter().map(|state| read_event_state(state)).collect()
}

pub(super) fn read_intent(row: &SqliteRow) -> Result<IntentRecord, InboxError> {
    let currency: &str = row.try_get("currency").map_err(failed)?;
    Ok(IntentRecord {
        version: read_number(row.try_get("version").map_err(failed)?),
        attempt: row.try_get("attempt").map_err(failed)?,
        fingerprint: row.try_get("fingerprint").map_err(failed)?,
        asked: Amount::new(
            read_number(row.try_get("amount").map_err(failed)?),
            currency.parse().map_err(unavailable)?,
        ),
        capture: row
            .try_get::<Option<i64>, _>("capture")
            .map_err(failed)?
            .map(read_number),
        payment: row.try_get("payment").map_err(failed)?,
        secret_hash: row.try_get("secret_hash").map_err(failed)?,
        state: read_intent_state(row.try_get("state").map_err(failed)?)?,
        paid_by: row.try_get("paid_by").map_err(failed)?,
        declines: row.try_get("declines").map_err(failed)?,
    })
}

pub(super) async fn intent(
    db: &mut SqliteConnection,
    order: &OrderKey,
) -> Result<Option<IntentRecord>, InboxError> {
    let row = sqlx::query(
        "SELECT version, attempt, fingerprint, amount, currency, capture, payment, secret_hash, state, paid_by, declines FROM stripe_checkout_intents \
         WHERE application = ?1 AND mode = ?2 AND account IS ?3 AND reference = ?4",
    )
    .bind(&order.scope.application)
    .bind(mode(order.scope.mode))
    .bind(&order.account)
    .bind(&order.reference)
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    row.as_ref().map(read_intent).transpose()
}

pub(super) async fn intent_of_payment(
    db: &mut SqliteConnection,
    scope: &Scope,
    payment: &str,
) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
    let row = sqlx::query(
        "SELECT o.account AS account, o.reference AS reference, version, attempt, fingerprint, amount, currency, capture, i.payment AS payment, secret_hash, state, paid_by, declines \
         FROM stripe_checkout_orders_of_payments o JOIN stripe_checkout_intents i \
         ON i.application = o.application AND i.mode = o.mode AND i.reference = o.reference AND i.account IS o.account \
         WHERE o.application = ?1 AND o.mode = ?2 AND o.payment = ?3",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(payment)
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let order = OrderKey {
        scope: scope.clone(),
        account: row.try_get("account").map_err(failed)?,
        reference: row.try_get("reference").map_err(failed)?,
    };
    Ok(Some((order, read_intent(&row)?)))
}

/// Writes an order's row with the version that it has, if the stored one is the version before it, or if it is the first and there is none.
pub(super) async fn put_intent(
    db: &mut SqliteConnection,
    order: &OrderKey,
    record: &IntentRecord,
    expected: Option<u64>,
) -> Result<bool, InboxError> {
    let query = match expected {
        None => sqlx::query(
            "INSERT INTO stripe_checkout_intents \
             (application, mode, account, reference, version, attempt, fingerprint, amount, currency, payment, secret_hash, state, paid_by, changed, declines, capture) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT DO NOTHING",
        ),
        Some(_) => sqlx::query(
            "UPDATE stripe_checkout_intents SET version = ?5, attempt = ?6, fingerprint = ?7, amount = ?8, currency = ?9, payment = ?10, \
             secret_hash = ?11, state = ?12, paid_by = ?13, changed = ?14, declines = ?15, capture = ?16 \
             WHERE application = ?1 AND mode = ?2 AND account IS ?3 AND reference = ?4 AND version = ?17",
        ),
    };
    let query = query
        .bind(&order.scope.application)
        .bind(mode(order.scope.mode))
        .bind(&order.account)
        .bind(&order.reference)
        .bind(number(record.version))
        .bind(record.attempt)
        .bind(&record.fingerprint)
        .bind(number(record.asked.minor()))
        .bind(record.asked.currency().code().to_owned())
        .bind(&record.payment)
        .bind(&record.secret_hash)
        .bind(intent_state(record.state))
        .bind(&record.paid_by)
        .bind(time(SystemTime::now()))
        .bind(record.declines)
        .bind(record.capture.map(number));
    let query = match expected {
        None => query,
        Some(version) => query.bind(number(version)),
    };
    let done = query.execute(&mut *db).await.map_err(failed)?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    for payment in [&record.payment, &record.paid_by].into_iter().flatten() {
        put_order_of_payment(db, payment, order).await?;
    }
    Ok(true)
}

pub(super) async fn put_order_of_payment(
    db: &mut SqliteConnection,
    payment: &str,
    order: &OrderKey,
) -> Result<(), InboxError> {
    sqlx::query(
        "INSERT INTO stripe_checkout_orders_of_payments (application, mode, payment, account, reference) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (application, mode, payment) DO UPDATE SET account = excluded.account, reference = excluded.reference",
    )
    .bind(&order.scope.application)
    .bind(mode(order.scope.mode))
    .bind(payment)
    .bind(&order.account)
    .bind(&order.reference)
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}
