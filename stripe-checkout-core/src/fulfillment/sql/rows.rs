//! The rows of both databases, in one text. It is compiled once for each database, with the names
//! from `driver`.
//!
//! Each function reads by one statement, so that its result was true at one moment.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::query::Query;

use super::super::codec::{
    disputes, event_state, intent_state, mode, note, notified, number, operation_state,
    read_amount, read_disputes, read_event_state, read_fulfillment_status, read_intent_state,
    read_mode, read_notes, read_notified, read_number, read_operation_state, read_refunds,
    read_request_state, read_time, refunds, request_state, settled, time, unavailable,
};
use super::super::inbox::{Changes, Claim, Key, Row};
use super::super::operation::{OperationKey, OperationRecord};
use super::super::records::{
    EventFilter, EventRecord, EventState, Found, FulfillmentStatus, IntentRecord, NewEvent,
    OrderKey, PaymentRecord, Scope, Stored,
};
use super::super::verdict::Terms;
use super::driver::{
    Connection, Database, Dialect, Own, SqlRow, Wait, failed, with_own, with_wait,
};
use crate::amount::Amount;
use crate::error::InboxError;

macro_rules! event_columns {
    () => {
        "application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, claim, taken, last_error"
    };
}

/// Whether other events wait for the success that is called `e`.
macro_rules! awaited {
    () => {
        "e.settles AND (SELECT count(*) FILTER (WHERE NOT o.settles AND o.state = 'pending') FROM {}events AS o \
         WHERE o.application = e.application AND o.mode = e.mode AND o.payment = e.payment) > 0 AS awaited"
    };
}

/// The facts that the events of a payment report: their notes, whether its success waits for its
/// turn, and whether other events wait.
macro_rules! said {
    ($payment:literal) => {
        concat!(
            "(SELECT string_agg(o.note, ',') AS notes, count(*) FILTER (WHERE o.settles AND o.state = 'pending') > 0 AS settling, ",
            "count(*) FILTER (WHERE NOT o.settles AND o.state = 'pending') > 0 AS others ",
            "FROM {}events AS o WHERE o.application = $1 AND o.mode = $2 AND o.payment = ", $payment, ")"
        )
    };
}

macro_rules! payment_columns {
    () => {
        "success, capturable, canceled, refunds, refunded_total, received, released, disputes, notified"
    };
}

macro_rules! intent_columns {
    () => {
        "version, attempt, fingerprint, amount, currency, capture, payment AS intent, secret_hash, request, state AS intent_state, paid_by, declines"
    };
}

/// The order of a payment. The planner treats a comparison with a subquery's result as one row, and
/// uses the index. For a join it may read the whole table.
macro_rules! order_of {
    ($payment:literal) => {
        concat!(
            "SELECT account, reference, ",
            intent_columns!(),
            " FROM {}intents WHERE (application, mode, account, reference) = (SELECT application, mode, account, reference FROM {}orders_of_payments \
             WHERE application = $1 AND mode = $2 AND payment = ", $payment, ") AND version > 0"
        )
    };
}

macro_rules! on_conflict_of_order {
    () => {
        "ON CONFLICT (application, mode, payment) DO UPDATE SET account = excluded.account, reference = excluded.reference \
         WHERE (w.account, w.reference) <> (excluded.account, excluded.reference)"
    };
}

/// Whether a payment is not yet known to belong to the order. A row that is already right is not
/// locked.
macro_rules! is_no_known_order {
    () => {
        "payment IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {}orders_of_payments AS o WHERE o.application = $1 AND o.mode = $2 AND o.payment = these.payment \
         AND o.account = $15 AND o.reference = $16) "
    };
}

macro_rules! claimed {
    () => {
        "attempts = CASE WHEN attempts < $7 THEN attempts + 1 ELSE attempts END, claim = claim + 1, \
         taken = CASE WHEN attempts < $7 THEN 1 ELSE 2 END, due = {clock} + $3 "
    };
}

macro_rules! of_scope {
    () => {
        "application = $1 AND mode = $2 "
    };
}

/// The error of a connection on which a cut-off `begin` of the driver left a transaction open. That
/// transaction is older than the last check of the database. A write in it is lost with it.
#[derive(Debug, thiserror::Error)]
#[error("the connection was left inside a transaction")]
pub(super) struct LeftInside;

/// Reads a row by its key.
pub(super) async fn load(
    db: &mut Connection,
    sql: &Dialect,
    key: Key<'_>,
) -> Result<Option<Row>, InboxError> {
    Ok(match key {
        Key::Order(order) => intent(db, sql, order).await?.map(Row::Order),
        Key::OrderOf(scope, payment) => {
            let found = order_of(db, sql, scope, payment).await?;
            found.map(|(order, row)| Row::OrderOf(order, row))
        }
        Key::Payment(scope, id) => known_payment(db, sql, scope, id).await?.map(Row::Payment),
        Key::Event(scope, id) => {
            let (found, _) = find(db, sql, scope, id, [None; 2]).await?;
            found.event.map(|stored| Row::Event(stored.record))
        }
        Key::Operation(key) => operation(db, sql, key).await?.map(Row::Operation),
        Key::Bookmark(scope, name) => bookmark(db, sql, scope, name).await?.map(Row::Bookmark),
    })
}

/// See [`Session::find`](super::super::inbox::Session::find). Also returns the row, which has the
/// columns of the connection.
pub(super) async fn find(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    event: &str,
    payments: [Option<&str>; 2],
) -> Result<(Found, SqlRow), InboxError> {
    macro_rules! found {
        ($order:expr) => {
            concat!(
                "SELECT {of connection}, e.*, i.*, ",
                "EXISTS (SELECT 1 FROM {}payments AS p WHERE p.application = $1 AND p.mode = $2 AND p.id = $4 AND p.success <> 'no') ",
                "OR (SELECT count(*) FILTER (WHERE o.settles AND o.state = 'pending') FROM {}events AS o WHERE o.application = $1 AND o.mode = $2 AND o.payment = $4) > 0 AS known ",
                "FROM (SELECT 1 AS one) AS one LEFT JOIN (SELECT ",
                event_columns!(),
                ", ",
                awaited!(),
                " FROM {}events AS e WHERE ",
                of_scope!(),
                "AND id = $3) AS e ON TRUE LEFT JOIN (",
                $order,
                ") AS i ON TRUE"
            )
        };
    }
    let statement = match payments {
        [_, None] => found!(order_of!("$4")),
        [_, Some(_)] => found!(concat!(
            "SELECT * FROM (SELECT 1 AS place, a.* FROM (",
            order_of!("$4"),
            ") AS a UNION ALL SELECT 2 AS place, b.* FROM (",
            order_of!("$5"),
            ") AS b) AS known ORDER BY place LIMIT 1"
        )),
    };
    let [first, second] = payments;
    let row = scoped(sql, statement, scope)
        .bind(text(event))
        .bind(first.map(text))
        .bind(second.map(text))
        .fetch_one(db)
        .await
        .map_err(failed)?;
    let event = get::<Option<&str>>(&row, "id")?.is_some();
    let order = get::<Option<&str>>(&row, "reference")?.is_some();
    let stored = || -> Result<_, InboxError> {
        let mut stored = read_event(&row)?;
        stored.awaited = get(&row, "awaited")?;
        Ok(stored)
    };
    let order_row = || Ok::<_, InboxError>((read_order(&row, scope)?, read_intent(&row)?));
    let found = Found {
        event: event.then(stored).transpose()?,
        order: order.then(order_row).transpose()?,
        is_known: get(&row, "known")?,
    };
    Ok((found, row))
}

pub(super) async fn events(
    db: &mut Connection,
    sql: &Dialect,
    filter: &EventFilter,
) -> Result<Vec<EventRecord>, InboxError> {
    macro_rules! newest {
        ($condition:literal) => {
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM {}events WHERE ",
                $condition,
                " ORDER BY received DESC, id DESC LIMIT $5"
            )
        };
    }
    // Statements with a scope are separate, because a test for NULL prevents the use of an index.
    let is_closed = |state| matches!(state, EventState::Done | EventState::Superseded);
    let is_closed = filter.state.map(is_closed);
    let statement = match (&filter.scope, &filter.payment, is_closed) {
        (None, ..) => newest!(
            "($1 IS NULL OR application = $1) AND ($2 IS NULL OR mode = $2) AND ($3 IS NULL OR payment = $3) AND ($4 IS NULL OR state = $4)"
        ),
        (_, Some(_), _) => newest!(
            "application = $1 AND mode = $2 AND payment = $3 AND ($4 IS NULL OR state = $4)"
        ),
        (_, None, Some(true)) => newest!(
            "application = $1 AND mode = $2 AND $3 IS NULL AND state = $4 AND state IN ('done', 'superseded')"
        ),
        (_, None, Some(false)) => newest!(
            "application = $1 AND mode = $2 AND $3 IS NULL AND state = $4 AND state NOT IN ('done', 'superseded')"
        ),
        (_, None, None) => concat!(
            "SELECT * FROM (SELECT * FROM (",
            newest!(
                "application = $1 AND mode = $2 AND $3 IS NULL AND $4 IS NULL AND state IN ('done', 'superseded')"
            ),
            ") AS closed UNION ALL SELECT * FROM (",
            newest!("application = $1 AND mode = $2 AND state NOT IN ('done', 'superseded')"),
            ") AS open) AS e ORDER BY received DESC, id DESC LIMIT $5"
        ),
    };
    let scope = filter.scope.as_ref();
    let rows = sql
        .query::<Database>(statement)
        .bind(scope.map(|scope| text(&scope.application)))
        .bind(scope.map(|scope| mode(scope.mode)))
        .bind(filter.payment.as_deref().map(text))
        .bind(filter.state.map(event_state))
        .bind(i64::try_from(filter.limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    let stored = rows.iter().map(|row| Ok(read_event(row)?.record));
    stored.collect()
}

/// See [`Session::claim`](super::super::inbox::Session::claim). It is a transaction of its own.
pub(super) async fn claim(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    which: Claim<'_>,
    terms: Terms,
    wait: Wait,
) -> Result<Option<Stored>, InboxError> {
    let by_id = concat!(
        "{settings}UPDATE {}events SET ",
        claimed!(),
        "{from settings}WHERE ",
        of_scope!(),
        "AND id = $4 AND CASE WHEN state <> 'pending' THEN FALSE WHEN taken > 0 THEN due <= {clock} WHEN $5 THEN attempts < $6 ELSE due <= {clock} END RETURNING {outside} AS outside, ",
        event_columns!(),
        "{end}"
    );
    let due = concat!(
        "{settings}UPDATE {}events SET ",
        claimed!(),
        "{from settings}WHERE (application, mode, id) = (SELECT application, mode, id FROM {}events WHERE ",
        of_scope!(),
        "AND state = 'pending' AND due <= {now} AND $4 = '' AND NOT $5 AND $6 = 0 ORDER BY due LIMIT 1 {skip locked}) RETURNING {outside} AS outside, ",
        event_columns!(),
        "{end}"
    );
    let (statement, id, attempts) = match which {
        Claim::Now(id, attempts) => (by_id, id, Some(attempts)),
        Claim::IfDue(id) => (by_id, id, None),
        Claim::Due => (due, "", None),
    };
    let query = scoped(sql, statement, scope)
        .bind(micros(terms.lease))
        .bind(text(id))
        .bind(attempts.is_some())
        .bind(i64::from(attempts.unwrap_or(0)))
        .bind(i64::from(terms.max_attempts));
    // Fetches all rows: the commit comes after the last row.
    let rows = with_wait(query, wait).fetch_all(db).await.map_err(failed)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if !get::<bool>(row, "outside")? {
        return Err(unavailable(LeftInside));
    }
    Ok(Some(read_event(row)?))
}

/// See [`Session::give_back`](super::super::inbox::Session::give_back).
pub(super) async fn give_back(
    db: &mut Connection,
    sql: &Dialect,
    claimed: &Stored,
    again: Option<Duration>,
) -> Result<(), InboxError> {
    let statement = concat!(
        "UPDATE {}events SET attempts = CASE WHEN attempts > $7 THEN attempts - $7 ELSE 0 END, taken = CASE WHEN claim = $4 THEN 0 ELSE taken END, ",
        "due = CASE WHEN claim = $4 THEN COALESCE({clock} + $6, $5) ELSE due END WHERE ",
        of_scope!(),
        "AND id = $3 AND CASE state WHEN 'pending' THEN TRUE ELSE FALSE END"
    );
    let event = &claimed.record;
    scoped(sql, statement, &event.scope)
        .bind(text(&event.id))
        .bind(claimed.claim)
        .bind(time(event.due))
        .bind(again.map(micros))
        .bind(i64::from(!claimed.is_spent))
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Reads a locked event, and adds the facts of its payment's events to the payment.
pub(super) fn read_locked(row: &SqlRow, payment: &mut PaymentRecord) -> Result<Stored, InboxError> {
    hear(row, payment)?;
    let mut event = read_event(row)?;
    event.awaited = get(row, "awaited")?;
    Ok(event)
}

/// Adds the facts of a payment's events to the payment.
fn hear(row: &SqlRow, payment: &mut PaymentRecord) -> Result<(), InboxError> {
    for note in read_notes(get(row, "notes")?)? {
        payment.note(&note);
    }
    if payment.success == FulfillmentStatus::No && get(row, "settling")? {
        payment.success = FulfillmentStatus::Pending;
    }
    Ok(())
}

/// Reads the states of the other event objects of a success.
pub(super) async fn copies(
    db: &mut Connection,
    sql: &Dialect,
    event: &EventRecord,
) -> Result<Vec<EventState>, InboxError> {
    let statement = concat!(
        "SELECT DISTINCT state FROM {}events WHERE ",
        of_scope!(),
        "AND payment = $3 AND settles AND id <> $4"
    );
    let states: Vec<String> = sql
        .scalar::<Database, _>(statement)
        .bind(text(&event.scope.application))
        .bind(mode(event.scope.mode))
        .bind(event.payment.as_deref().map(text))
        .bind(text(&event.id))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    states.iter().map(|state| read_event_state(state)).collect()
}

/// Reads everything that is known of a payment: its row, and the facts of its events.
pub(super) async fn known_payment(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    id: &str,
) -> Result<Option<PaymentRecord>, InboxError> {
    let statement = concat!(
        "SELECT p.*, notes, settling FROM ",
        said!("$3"),
        " AS said LEFT JOIN (SELECT ",
        payment_columns!(),
        " FROM {}payments WHERE ",
        of_scope!(),
        "AND id = $3) AS p ON TRUE"
    );
    let row = scoped(sql, statement, scope)
        .bind(text(id))
        .fetch_one(db)
        .await
        .map_err(failed)?;
    let mut payment = match get::<Option<&str>>(&row, "success")? {
        Some(_) => read_payment(&row)?,
        None => PaymentRecord::default(),
    };
    hear(&row, &mut payment)?;
    // An empty row exists only as a lock.
    Ok((payment != PaymentRecord::default()).then_some(payment))
}

/// The payment as it is stored. The row does not store a pending success, because the event shows
/// that.
pub(super) fn as_stored(mut payment: PaymentRecord) -> PaymentRecord {
    if payment.success == FulfillmentStatus::Pending {
        payment.success = FulfillmentStatus::No;
    }
    payment
}

type Prepared = Query<'static, Database, <Database as sqlx::Database>::Arguments>;

/// A statement with the application and the mode as its first two parameters.
pub(super) fn scoped(sql: &Dialect, statement: &'static str, scope: &Scope) -> Prepared {
    sql.query(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
}

/// A statement with the key of an order as its first four parameters.
pub(super) fn ordered(sql: &Dialect, statement: &'static str, order: &OrderKey) -> Prepared {
    scoped(sql, statement, &order.scope)
        .bind(account(Some(order)))
        .bind(text(&order.reference))
}

/// Binds the columns of a new event.
pub(super) fn with_event(query: Prepared, event: &NewEvent, lease: Option<Duration>) -> Prepared {
    let order = event.order.as_ref();
    query
        .bind(text(&event.scope.application))
        .bind(mode(event.scope.mode))
        .bind(text(&event.id))
        .bind(text(&event.event_type))
        .bind(event.payment.as_deref().map(text))
        .bind(account(order))
        .bind(order.map(|order| text(&order.reference)))
        .bind(event.ours)
        .bind(event.settles)
        .bind(event.note.as_ref().map(note))
        .bind(&event.body[..])
        .bind(time(event.received))
        .bind(event_state(EventState::Pending))
        .bind(i64::from(lease.is_some()))
        .bind(lease.map_or(0, micros))
}

/// Binds the columns of an order's row.
fn with_order(query: Prepared, row: Option<&IntentRecord>) -> Prepared {
    query
        .bind(row.map(|row| number(row.version)))
        .bind(row.map(|row| i64::from(row.attempt)))
        .bind(row.map(|row| text(&row.fingerprint)))
        .bind(row.map(|row| number(row.asked.minor())))
        .bind(row.map(|row| row.asked.currency().code().to_owned()))
        .bind(row.and_then(|row| row.capture).map(number))
        .bind(row.and_then(|row| row.payment.as_deref()).map(text))
        .bind(row.and_then(|row| row.secret_hash.as_deref()).map(text))
        .bind(row.map(|row| request_state(row.request)))
        .bind(row.map(|row| intent_state(row.state)))
        .bind(row.and_then(|row| row.paid_by.as_deref()).map(text))
        .bind(row.map(|row| i64::from(row.declines)))
}

/// Writes the changes of an attempt by this statement, which returns a row for each row that it
/// wrote. Returns whether it wrote all of them.
///
/// If the statement touched no row, the event is not marked. Row security by a setting of the
/// handler, or a trigger, can cause that. The handler's work must not be committed without the
/// mark.
pub(super) async fn save(
    db: &mut Connection,
    sql: &Dialect,
    statement: &'static str,
    stored: &PaymentRecord,
    changes: Changes,
    own: &Own,
) -> Result<bool, sqlx::Error> {
    let Changes {
        event,
        due,
        payment,
        order: row,
    } = changes;
    let payment = as_stored(payment);
    let has_payment = event.payment.is_some() && payment != *stored;
    let order = event.order.as_ref().filter(|_| row.is_some());
    let row = row.as_ref().filter(|_| order.is_some());
    let query = scoped(sql, statement, &event.scope)
        .bind(text(&event.id))
        .bind(event.payment.as_deref().map(text))
        .bind(settled(payment.success))
        .bind(payment.capturable)
        .bind(payment.canceled)
        .bind(refunds(&payment.refunds))
        .bind(number(payment.refunded_total))
        .bind(number(payment.received))
        .bind(number(payment.released))
        .bind(disputes(&payment.disputes))
        .bind(notified(&payment.notified))
        .bind(has_payment)
        .bind(account(order))
        .bind(order.map(|order| text(&order.reference)))
        .bind(row.is_some());
    let query = with_order(query, row)
        .bind(event_state(event.state))
        .bind(i64::from(event.attempts))
        .bind(due.map(micros))
        .bind(event.last_error.as_deref().map(text))
        .bind(event.state.is_over());
    let rows = with_own(query, own).fetch_all(db).await?;
    Ok(rows.len() == 1 + usize::from(has_payment) + usize::from(row.is_some()))
}

async fn intent(
    db: &mut Connection,
    sql: &Dialect,
    order: &OrderKey,
) -> Result<Option<IntentRecord>, InboxError> {
    let statement = concat!(
        "SELECT ",
        intent_columns!(),
        " FROM {}intents WHERE ",
        of_scope!(),
        "AND account = $3 AND reference = $4 AND version > 0"
    );
    let row = ordered(sql, statement, order)
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    row.as_ref().map(read_intent).transpose()
}

async fn order_of(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    payment: &str,
) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
    let statement = order_of!("$3");
    let row = scoped(sql, statement, scope)
        .bind(text(payment))
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some((read_order(&row, scope)?, read_intent(&row)?)))
}

/// Writes the order's row if its version is still this one (0 if there is none), and records to
/// which order its payments belong. Returns whether it did.
pub(super) async fn put_order(
    db: &mut Connection,
    sql: &Dialect,
    order: &OrderKey,
    expected: u64,
    row: &IntentRecord,
) -> Result<bool, InboxError> {
    let statement = match expected {
        // A row of version 0 exists only as a lock.
        0 => concat!(
            "INSERT INTO {}intents AS i (application, mode, account, reference, version, attempt, fingerprint, amount, currency, capture, payment, secret_hash, request, state, paid_by, declines, changed) ",
            // A row that another process wrote is not waited for.
            "SELECT $1, $2, $3, $4, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, {clock} WHERE NOT EXISTS (SELECT 1 FROM {}intents WHERE ",
            of_scope!(),
            "AND account = $3 AND reference = $4 AND version > $5) ON CONFLICT (application, mode, account, reference) DO UPDATE SET ",
            "version = excluded.version, attempt = excluded.attempt, fingerprint = excluded.fingerprint, amount = excluded.amount, currency = excluded.currency, ",
            "capture = excluded.capture, payment = excluded.payment, secret_hash = excluded.secret_hash, request = excluded.request, state = excluded.state, ",
            "paid_by = excluded.paid_by, declines = excluded.declines, changed = {clock} WHERE i.version = $5"
        ),
        _ => concat!(
            "UPDATE {}intents SET version = $6, attempt = $7, fingerprint = $8, amount = $9, currency = $10, capture = $11, payment = $12, secret_hash = $13, ",
            "request = $14, state = $15, paid_by = $16, declines = $17, changed = {clock} WHERE ",
            of_scope!(),
            "AND account = $3 AND reference = $4 AND version = $5"
        ),
    };
    let query = ordered(sql, statement, order).bind(number(expected));
    let done = with_order(query, Some(row))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let payments = [row.payment.as_deref(), row.paid_by.as_deref()];
    if payments != [None; 2] {
        put_orders_of(db, sql, payments, order).await?;
    }
    Ok(true)
}

/// Records to which order payments belong.
async fn put_orders_of(
    db: &mut Connection,
    sql: &Dialect,
    payments: [Option<&str>; 2],
    order: &OrderKey,
) -> Result<(), InboxError> {
    let statement = concat!(
        "INSERT INTO {}orders_of_payments AS w (application, mode, payment, account, reference) ",
        "SELECT CAST($1 AS text), CAST($2 AS text), payment, CAST($3 AS text), CAST($4 AS text) ",
        "FROM (SELECT CAST($5 AS text) AS payment UNION SELECT CAST($6 AS text)) AS these WHERE payment IS NOT NULL ",
        on_conflict_of_order!()
    );
    let [first, second] = payments;
    ordered(sql, statement, order)
        .bind(first.map(text))
        .bind(second.map(text))
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn operation(
    db: &mut Connection,
    sql: &Dialect,
    key: &OperationKey,
) -> Result<Option<OperationRecord>, InboxError> {
    let statement = concat!(
        "SELECT version, attempt, fingerprint, subject, amount, currency, state, result, begun FROM {}operations WHERE ",
        of_scope!(),
        "AND account = $3 AND kind = $4 AND reference = $5"
    );
    let row = scoped(sql, statement, &key.scope)
        .bind(text(key.account.as_deref().unwrap_or_default()))
        .bind(key.kind.as_str())
        .bind(text(&key.reference))
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(OperationRecord {
        version: read_number(get(&row, "version")?),
        attempt: read_count(&row, "attempt")?,
        fingerprint: get(&row, "fingerprint")?,
        subject: get(&row, "subject")?,
        amount: read_amount(get(&row, "amount")?, get(&row, "currency")?)?,
        state: read_operation_state(get(&row, "state")?)?,
        result: get(&row, "result")?,
        begun: read_time(get(&row, "begun")?),
    }))
}

/// Writes an operation's row if the stored one has this version (0 if there is none). Returns
/// whether it did.
pub(super) async fn put_operation(
    db: &mut Connection,
    sql: &Dialect,
    key: &OperationKey,
    expected: u64,
    row: &OperationRecord,
) -> Result<bool, InboxError> {
    let statement = match expected {
        0 => concat!(
            "INSERT INTO {}operations (application, mode, account, kind, reference, version, attempt, fingerprint, subject, amount, currency, state, result, begun) ",
            "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 WHERE $15 = 0 ON CONFLICT DO NOTHING"
        ),
        _ => concat!(
            "UPDATE {}operations SET version = $6, attempt = $7, fingerprint = $8, subject = $9, amount = $10, currency = $11, state = $12, result = $13, begun = $14 WHERE ",
            of_scope!(),
            "AND account = $3 AND kind = $4 AND reference = $5 AND version = $15"
        ),
    };
    let currency = row.amount.map(|amount| amount.currency().code().to_owned());
    let done = scoped(sql, statement, &key.scope)
        .bind(text(key.account.as_deref().unwrap_or_default()))
        .bind(key.kind.as_str())
        .bind(text(&key.reference))
        .bind(number(row.version))
        .bind(i64::from(row.attempt))
        .bind(text(&row.fingerprint))
        .bind(row.subject.as_deref().map(text))
        .bind(row.amount.map(|amount| number(amount.minor())))
        .bind(currency)
        .bind(operation_state(row.state))
        .bind(row.result.as_deref().map(text))
        .bind(time(row.begun))
        .bind(number(expected))
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

async fn bookmark(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    name: &str,
) -> Result<Option<String>, InboxError> {
    let statement = concat!(
        "SELECT value FROM {}bookmarks WHERE ",
        of_scope!(),
        "AND name = $3"
    );
    sql.scalar::<Database, _>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .bind(text(name))
        .fetch_optional(db)
        .await
        .map_err(failed)
}

/// Writes a bookmark if the stored one is still `expected`. Returns whether it did.
pub(super) async fn put_bookmark(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    name: &str,
    expected: Option<&str>,
    value: &str,
) -> Result<bool, InboxError> {
    let statement = match expected {
        None => {
            "INSERT INTO {}bookmarks (application, mode, name, value) SELECT $1, $2, $3, $4 WHERE CAST($5 AS text) IS NULL ON CONFLICT DO NOTHING"
        }
        Some(_) => {
            concat!(
                "UPDATE {}bookmarks SET value = $4 WHERE ",
                of_scope!(),
                "AND name = $3 AND value = $5"
            )
        }
    };
    let done = scoped(sql, statement, scope)
        .bind(text(name))
        .bind(text(value))
        .bind(expected.map(text))
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// Replaces U+0000, which a database's text must not have. No id of Stripe's has one either, but an
/// error message may.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

pub(super) fn micros(time: Duration) -> i64 {
    time.as_micros().try_into().unwrap_or(i64::MAX / 2)
}

/// The account of an order's key. The account of the API keys themselves is the empty text, because
/// a part of a key cannot be NULL.
pub(super) fn account(order: Option<&OrderKey>) -> Cow<'_, str> {
    let account = order.and_then(|order| order.account.as_deref());
    text(account.unwrap_or_default())
}

pub(super) fn get<'r, T>(row: &'r SqlRow, column: &'static str) -> Result<T, InboxError>
where
    T: sqlx::Decode<'r, Database> + sqlx::Type<Database>,
{
    row.try_get(column).map_err(unavailable)
}

fn read_count(row: &SqlRow, column: &'static str) -> Result<u32, InboxError> {
    Ok(read_number(get(row, column)?)
        .try_into()
        .unwrap_or(u32::MAX))
}

fn read_account(column: String) -> Option<String> {
    Some(column).filter(|account| !account.is_empty())
}

pub(super) fn read_order(row: &SqlRow, scope: &Scope) -> Result<OrderKey, InboxError> {
    Ok(OrderKey {
        scope: scope.clone(),
        account: read_account(get(row, "account")?),
        reference: get(row, "reference")?,
    })
}

pub(super) fn read_event(row: &SqlRow) -> Result<Stored, InboxError> {
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
        body: get::<Vec<u8>>(row, "body")?.into(),
        received: read_time(get(row, "received")?),
        state: read_event_state(get(row, "state")?)?,
        attempts: read_count(row, "attempts")?,
        due: read_time(get(row, "due")?),
        last_error: get(row, "last_error")?,
    };
    let taken: i64 = get(row, "taken")?;
    Ok(Stored {
        record,
        claim: get(row, "claim")?,
        taken: taken > 0,
        is_spent: taken == 2,
        awaited: false,
    })
}

pub(super) fn read_payment(row: &SqlRow) -> Result<PaymentRecord, InboxError> {
    Ok(PaymentRecord {
        success: read_fulfillment_status(get(row, "success")?)?,
        capturable: get(row, "capturable")?,
        canceled: get(row, "canceled")?,
        refunds: read_refunds(get(row, "refunds")?)?,
        refunded_total: read_number(get(row, "refunded_total")?),
        received: read_number(get(row, "received")?),
        released: read_number(get(row, "released")?),
        disputes: read_disputes(get(row, "disputes")?)?,
        notified: read_notified(get(row, "notified")?)?,
    })
}

pub(super) fn read_intent(row: &SqlRow) -> Result<IntentRecord, InboxError> {
    let currency = get::<&str>(row, "currency")?.parse().map_err(unavailable)?;
    Ok(IntentRecord {
        version: read_number(get(row, "version")?),
        attempt: read_count(row, "attempt")?,
        fingerprint: get(row, "fingerprint")?,
        asked: Amount::new(read_number(get(row, "amount")?), currency),
        capture: get::<Option<i64>>(row, "capture")?.map(read_number),
        payment: get(row, "intent")?,
        secret_hash: get(row, "secret_hash")?,
        request: read_request_state(get(row, "request")?)?,
        state: read_intent_state(get(row, "intent_state")?)?,
        paid_by: get(row, "paid_by")?,
        declines: read_count(row, "declines")?,
    })
}
