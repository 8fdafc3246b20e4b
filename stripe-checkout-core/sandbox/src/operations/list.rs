//! Lists: newest first, in pages. See <https://docs.stripe.com/api/pagination>.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::{
    api_error::ApiError,
    auth::Caller,
    objects::{balance_transaction::BalanceTransaction, charge::Charge, refund::Refund},
    params::Params,
    store::Store,
    table::{Row, Table},
};
use stripe_checkout_core::API_VERSION;

const MAX_LIMIT: u64 = 100;
const DEFAULT_LIMIT: u64 = 10;
/// As many as Stripe takes in one request.
const MAX_TYPES: usize = 20;

/// Which page of which rows.
pub(crate) struct Page {
    limit: usize,
    starting_after: Option<String>,
    ending_before: Option<String>,
    created: Created,
}

/// Bounds for `created`, in seconds since 1970.
struct Created {
    least: i64,
    most: i64,
}

impl Page {
    pub(crate) fn read(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            created: Created::read(params)?,
            ..Self::read_place(params)?
        })
    }

    /// Without `created`, which some lists do not have.
    pub(crate) fn read_place(params: &mut Params) -> Result<Self, ApiError> {
        let limit = params.integer("limit", 1)?.unwrap_or(DEFAULT_LIMIT);
        if limit > MAX_LIMIT {
            return Err(ApiError::invalid(format!(
                "This value must be less than or equal to {MAX_LIMIT} (it currently is '{limit}')."
            ))
            .code("parameter_invalid_integer")
            .param("limit"));
        }
        let starting_after = params.text("starting_after")?;
        let ending_before = params.text("ending_before")?;
        if starting_after.is_some() && ending_before.is_some() {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: ending_before, starting_after.",
            )
            .param("ending_before"));
        }
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            starting_after,
            ending_before,
            created: Created::ANY,
        })
    }

    pub(crate) fn render<T: Row>(
        &self,
        url: &str,
        what: &str,
        caller: &Caller,
        table: &Table<T>,
        wanted: impl Fn(&T) -> bool,
        render: impl Fn(&T) -> Value,
    ) -> Result<Value, ApiError> {
        let account = caller.account.as_deref();
        let must_exist = |id: &Option<String>, param: &str| match id {
            Some(id) if table.get(account, id).is_none() => {
                Err(ApiError::no_such(StatusCode::BAD_REQUEST, what, id, param))
            }
            _ => Ok(()),
        };
        must_exist(&self.starting_after, "starting_after")?;
        must_exist(&self.ending_before, "ending_before")?;

        let wanted = |row: &&T| {
            (self.created.least..=self.created.most).contains(&row.created()) && wanted(row)
        };
        let rows = table.newest_first(account);
        let (page, has_more): (Vec<&T>, bool) = if let Some(cursor) = &self.ending_before {
            // The page just before the cursor: of those that are newer, the oldest.
            let newer: Vec<&T> = rows
                .take_while(|row| row.id() != cursor)
                .filter(wanted)
                .collect();
            let skipped = newer.len().saturating_sub(self.limit);
            (newer.into_iter().skip(skipped).collect(), skipped > 0)
        } else {
            let mut passed = self.starting_after.is_none();
            let after = rows.filter(|row| {
                let take = passed;
                passed |= Some(row.id()) == self.starting_after.as_deref();
                take
            });
            let mut page: Vec<&T> = after
                .filter(wanted)
                .take(self.limit.saturating_add(1))
                .collect();
            let more = page.len() > self.limit;
            page.truncate(self.limit);
            (page, more)
        };
        Ok(json!({
            "object": "list",
            "data": page.into_iter().map(render).collect::<Vec<Value>>(),
            "has_more": has_more,
            "url": url,
        }))
    }
}

/// A page of a list that is always short: whole objects, in the order of the list.
pub(crate) fn short_list(
    params: &mut Params,
    url: &str,
    what: &str,
    objects: Vec<Value>,
) -> Result<Value, ApiError> {
    let page = Page::read_place(params)?;
    let place = |id: &Option<String>, param: &str| match id {
        None => Ok(None),
        Some(id) => objects
            .iter()
            .position(|object| object.get("id").and_then(Value::as_str) == Some(id))
            .map(Some)
            .ok_or_else(|| ApiError::no_such(StatusCode::BAD_REQUEST, what, id, param)),
    };
    let after = place(&page.starting_after, "starting_after")?;
    let before = place(&page.ending_before, "ending_before")?;
    let (start, end) = match (after, before) {
        (_, Some(before)) => (before.saturating_sub(page.limit), before),
        (after, None) => {
            let start = after.map_or(0, |after| after.saturating_add(1));
            let end = start.saturating_add(page.limit).min(objects.len());
            (start, end)
        }
    };
    let has_more = match before {
        Some(_) => start > 0,
        None => end < objects.len(),
    };
    Ok(json!({
        "object": "list",
        "data": objects.get(start..end).unwrap_or_default(),
        "has_more": has_more,
        "url": url,
    }))
}

impl Created {
    const ANY: Self = Self {
        least: i64::MIN,
        most: i64::MAX,
    };

    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let mut bounds = Self::ANY;
        let seconds = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if params.is_text("created") {
            if let Some(exactly) = params.integer("created", 0)? {
                bounds.least = seconds(exactly);
                bounds.most = seconds(exactly);
            }
            return Ok(bounds);
        }
        let Some(Some(mut range)) = params.group("created")? else {
            return Ok(bounds);
        };
        if let Some(gt) = range.integer("gt", 0)? {
            bounds.least = bounds.least.max(seconds(gt).saturating_add(1));
        }
        if let Some(gte) = range.integer("gte", 0)? {
            bounds.least = bounds.least.max(seconds(gte));
        }
        if let Some(lt) = range.integer("lt", 0)? {
            bounds.most = bounds.most.min(seconds(lt).saturating_sub(1));
        }
        if let Some(lte) = range.integer("lte", 0)? {
            bounds.most = bounds.most.min(seconds(lte));
        }
        range.finish()?;
        Ok(bounds)
    }
}

impl Store {
    pub(crate) fn list_intents(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let customer = params.text("customer")?;
        params.finish()?;
        page.render(
            "/v1/payment_intents",
            "payment_intent",
            caller,
            &self.intents,
            |intent| customer.is_none() || intent.customer == customer,
            |intent| caller.render(intent),
        )
    }

    pub(crate) fn list_charges(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let intent = params.text("payment_intent")?;
        let customer = params.text("customer")?;
        let group = params.text("transfer_group")?;
        params.finish()?;
        page.render(
            "/v1/charges",
            "charge",
            caller,
            &self.charges,
            |charge| {
                intent
                    .as_ref()
                    .is_none_or(|intent| charge.payment_intent == *intent)
                    && (customer.is_none() || charge.customer == customer)
                    && (group.is_none() || charge.transfer_group == group)
            },
            Charge::render,
        )
    }

    pub(crate) fn list_refunds(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let intent = params.text("payment_intent")?;
        let charge = params.text("charge")?;
        params.finish()?;
        page.render(
            "/v1/refunds",
            "refund",
            caller,
            &self.refunds,
            |refund| {
                intent
                    .as_ref()
                    .is_none_or(|intent| refund.payment_intent == *intent)
                    && charge
                        .as_ref()
                        .is_none_or(|charge| refund.charge == *charge)
            },
            Refund::render,
        )
    }

    pub(crate) fn list_disputes(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let intent = params.text("payment_intent")?;
        let charge = params.text("charge")?;
        params.finish()?;
        page.render(
            "/v1/disputes",
            "dispute",
            caller,
            &self.disputes,
            |dispute| {
                intent
                    .as_ref()
                    .is_none_or(|intent| dispute.payment_intent == *intent)
                    && charge
                        .as_ref()
                        .is_none_or(|charge| dispute.charge == *charge)
            },
            |dispute| self.rendered_dispute(dispute),
        )
    }

    pub(crate) fn list_balance_transactions(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let source = params.text("source")?;
        let kind = params.text("type")?;
        let currency = params.text("currency")?;
        params.finish()?;
        page.render(
            "/v1/balance_transactions",
            "balance transaction",
            caller,
            &self.balance_transactions,
            |booking| {
                source
                    .as_ref()
                    .is_none_or(|source| booking.source == *source)
                    && kind.as_ref().is_none_or(|kind| booking.kind == kind)
                    && currency
                        .as_ref()
                        .is_none_or(|currency| booking.currency.code() == currency)
            },
            BalanceTransaction::render,
        )
    }

    pub(crate) fn list_events(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let one_type = params.text("type")?;
        let types = params.list("types")?;
        let delivered = params.boolean("delivery_success")?;
        params.finish()?;
        if one_type.is_some() && types.is_some() {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: type, types.",
            )
            .param("type"));
        }
        if types.as_ref().is_some_and(|types| types.len() > MAX_TYPES) {
            return Err(ApiError::invalid(format!(
                "You may only specify up to {MAX_TYPES} types."
            ))
            .param("types"));
        }
        let wanted_types = one_type.map(|one| vec![one]).or(types);
        page.render(
            "/v1/events",
            "event",
            caller,
            &self.events,
            |event| {
                wanted_types.as_ref().is_none_or(|types| {
                    types.iter().any(|wanted| matches(wanted, event.event_type))
                }) && delivered.is_none_or(|delivered| event.waiting.is_empty() == delivered)
            },
            |event| event.render(API_VERSION),
        )
    }
}

/// A type, or a group of them like `charge.*`.
fn matches(wanted: &str, event_type: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => event_type.starts_with(prefix),
        None => wanted == event_type,
    }
}
