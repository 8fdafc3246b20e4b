//! The figures of a day: takings, refunds, disputes and failures, added up from the ledger.
//!
//! Days and hours are in UTC. Each currency is counted for itself.

use minijinja::{Value, context};
use stripe_checkout_core::{Amount, Currency};
use time::{Date, Duration, Month, OffsetDateTime};

use crate::{
    catalogue::CURRENCY,
    chart::{self, Bar, Words},
    db::now,
    ledger::{Kind, Sum},
    money,
};

/// How many days the charts show, the day itself included.
const DAYS: usize = 14;
const DAY: i64 = 24 * 60 * 60;

/// Reads a day from an address: `2030-01-31`.
pub(crate) fn parse(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month: u8 = month.parse().ok()?;
    let date = Date::from_calendar_date(
        year.parse().ok()?,
        Month::try_from(month).ok()?,
        day.parse().ok()?,
    );
    // One day has one address.
    date.ok().filter(|date| address(*date) == text)
}

/// Writes a day for an address.
pub(crate) fn address(day: Date) -> String {
    let (year, month, day) = day.to_calendar_date();
    format!("{year:04}-{:02}-{day:02}", u8::from(month))
}

/// Today.
pub(crate) fn today() -> Date {
    let now = OffsetDateTime::from_unix_timestamp(now());
    now.unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

/// The period of the ledger for this day's page: its start and its end, in seconds since 1970.
pub(crate) fn span(day: Date) -> (i64, i64) {
    let begin = begin(day);
    (begin - DAY * (DAYS as i64 - 1), begin + DAY)
}

fn begin(day: Date) -> i64 {
    day.midnight().assume_utc().unix_timestamp()
}

fn said(day: Date) -> String {
    let (year, month, number) = day.to_calendar_date();
    format!("{number} {month} {year}")
}

fn short(day: Date) -> String {
    let (_, month, number) = day.to_calendar_date();
    let month = month.to_string();
    format!("{number} {}", month.get(..3).unwrap_or(&month))
}

/// One currency's money.
#[derive(Debug)]
struct Money {
    currency: Currency,
    /// By hour of the day.
    hours: [u64; 24],
    payments: u64,
    reserved: u64,
    /// By day, the day itself last.
    taken: [u64; DAYS],
    refunded: [u64; DAYS],
    withdrawn: [u64; DAYS],
    /// Of the day itself, like the fields below.
    reinstated: u64,
    refunds: u64,
    refunds_pending: u64,
    refunds_failed: u64,
    disputes: u64,
}

impl Money {
    fn new(currency: Currency) -> Self {
        Self {
            currency,
            hours: [0; 24],
            payments: 0,
            reserved: 0,
            taken: [0; DAYS],
            refunded: [0; DAYS],
            withdrawn: [0; DAYS],
            reinstated: 0,
            refunds: 0,
            refunds_pending: 0,
            refunds_failed: 0,
            disputes: 0,
        }
    }

    fn add(&mut self, sum: &Sum, day: usize, hour: usize) {
        let (minor, count) = (sum.amount.minor(), sum.count);
        let today = day + 1 == DAYS;
        let plus = |total: &mut u64, more: u64| *total = total.saturating_add(more);
        let at = |days: &mut [u64; DAYS], more: u64| {
            if let Some(total) = days.get_mut(day) {
                *total = total.saturating_add(more);
            }
        };
        match sum.kind {
            Kind::Taking | Kind::Capture => {
                at(&mut self.taken, minor);
                if today {
                    plus(&mut self.payments, count);
                    if let Some(total) = self.hours.get_mut(hour) {
                        *total = total.saturating_add(minor);
                    }
                }
            }
            Kind::RefundSucceeded => {
                at(&mut self.refunded, minor);
                if today {
                    plus(&mut self.refunds, count);
                }
            }
            Kind::FundsWithdrawn => at(&mut self.withdrawn, minor),
            _ if !today => {}
            Kind::Reserved => plus(&mut self.reserved, minor),
            Kind::RefundPending => plus(&mut self.refunds_pending, count),
            Kind::RefundFailed | Kind::RefundReturned => plus(&mut self.refunds_failed, count),
            Kind::DisputeOpened => plus(&mut self.disputes, count),
            Kind::FundsReinstated => plus(&mut self.reinstated, minor),
            Kind::Released
            | Kind::Failure
            | Kind::DisputeWon
            | Kind::DisputeLost
            | Kind::DisputeClosed => {}
        }
    }

    fn said(&self, minor: u64) -> String {
        money::price(Amount::new(minor, self.currency))
    }

    /// The chart of one figure over the days.
    fn days(&self, words: &Words<'_>, days: &[u64; DAYS], last: Date) -> Value {
        let bars: Vec<Bar> = days
            .iter()
            .enumerate()
            .map(|(index, value)| Bar {
                label: short(last - Duration::days((DAYS - 1 - index) as i64)),
                value: *value,
                said: self.said(*value),
                marked: index + 1 == DAYS,
            })
            .collect();
        chart::upright(words, &bars, &[0, DAYS / 2 - 1, DAYS - 1])
    }

    fn cards(&self, day: Date) -> Vec<Value> {
        let code = self.currency.code();
        let [yesterday, taken] = [self.taken[DAYS - 2], self.taken[DAYS - 1]];
        let (refunded, withdrawn) = (self.refunded[DAYS - 1], self.withdrawn[DAYS - 1]);
        let nothing = if day == today() {
            "Nothing yet."
        } else {
            "Nothing on that day."
        };
        let hours: Vec<Bar> = self
            .hours
            .iter()
            .enumerate()
            .map(|(hour, value)| Bar {
                label: format!("{hour:02}:00"),
                value: *value,
                said: self.said(*value),
                marked: true,
            })
            .collect();
        let takings = chart::upright(
            &Words {
                id: &format!("takings-{code}"),
                title: format!("Takings by hour on {} (UTC)", said(day)),
                column: "Hour",
                nothing,
                look: "good",
            },
            &hours,
            &[0, 6, 12, 18],
        );
        let fortnight = "Nothing in 14 days.";
        let refunds = self.days(
            &Words {
                id: &format!("refunds-{code}"),
                title: format!("Refunds in the {DAYS} days to {} (UTC)", said(day)),
                column: "Day",
                nothing: fortnight,
                look: "wait",
            },
            &self.refunded,
            day,
        );
        let disputes = self.days(
            &Words {
                id: &format!("disputes-{code}"),
                title: format!(
                    "Taken back by banks in the {DAYS} days to {} (UTC)",
                    said(day)
                ),
                column: "Day",
                nothing: fortnight,
                look: "warn",
            },
            &self.withdrawn,
            day,
        );
        let mut of_takings = vec![
            counted(self.payments, "payment"),
            format!("{} the day before", self.said(yesterday)),
        ];
        if self.reserved > 0 {
            of_takings.push(format!("{} reserved", self.said(self.reserved)));
        }
        let mut of_refunds = vec![counted(self.refunds, "refund")];
        if self.refunds_pending > 0 {
            of_refunds.push(format!("{} begun", self.refunds_pending));
        }
        if self.refunds_failed > 0 {
            of_refunds.push(format!("{} failed", self.refunds_failed));
        }
        let mut of_disputes = vec![format!("{} opened", self.disputes)];
        if self.reinstated > 0 {
            of_disputes.push(format!("{} came back", self.said(self.reinstated)));
        }
        let card = |name, figure: u64, notes: Vec<String>, scale, chart| {
            let total = self.said(figure);
            context! { name, total, notes => notes.join(" · "), scale, chart }
        };
        vec![
            card("Takings", taken, of_takings, "by hour", takings),
            card("Refunds", refunded, of_refunds, "14 days", refunds),
            card("Disputes", withdrawn, of_disputes, "14 days", disputes),
        ]
    }
}

/// The values for the page of a day.
pub(crate) fn shown(day: Date, sums: &[Sum]) -> Value {
    let (from, _) = span(day);
    // The shop's own currency comes first, even if nothing was sold.
    let mut currencies = vec![Money::new(CURRENCY)];
    let mut codes: Vec<(String, u64)> = Vec::new();
    for sum in sums {
        let since = sum.hour - from;
        let at = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
        let (days, hour) = (at(since / DAY), at(since % DAY / 3600));
        if sum.kind == Kind::Failure {
            if days + 1 == DAYS {
                let code = sum.code.as_deref().unwrap_or("unknown");
                match codes.iter_mut().find(|(known, _)| known == code) {
                    Some((_, count)) => *count = count.saturating_add(sum.count),
                    None => codes.push((code.to_owned(), sum.count)),
                }
            }
            continue;
        }
        let currency = sum.amount.currency();
        let place = currencies
            .iter()
            .position(|money| money.currency == currency);
        let place = place.unwrap_or_else(|| {
            currencies.push(Money::new(currency));
            currencies.len() - 1
        });
        currencies[place].add(sum, days, hour);
    }
    currencies[1..].sort_by(|left, right| left.currency.code().cmp(right.currency.code()));
    let several = currencies.len() > 1;
    let groups: Vec<Value> = currencies
        .iter()
        .map(|money| {
            let code = several.then(|| money.currency.code().to_uppercase());
            context! { code, cards => money.cards(day) }
        })
        .collect();
    let failures = codes.iter().map(|(_, count)| count).sum::<u64>();
    let bars = codes
        .into_iter()
        .map(|(code, count)| Bar {
            label: code.replace('_', " "),
            value: count,
            said: count.to_string(),
            marked: true,
        })
        .collect();
    let is_today = day == today();
    let words = Words {
        id: "failures",
        title: format!(
            "Attempts to pay that failed on {} (UTC), by decline code",
            said(day)
        ),
        column: "Decline code",
        nothing: if is_today {
            "None yet."
        } else {
            "None on that day."
        },
        look: "bad",
    };
    let chart = chart::lying(&words, bars);
    let failures = context! {
        name => "Failures", total => failures, notes => "attempts that failed", scale => "by decline code", chart
    };
    let before = day.previous_day().map(address);
    let after = day.next_day().filter(|_| !is_today).map(address);
    context! { date => said(day), is_today, several, groups, failures, before, after }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_address() {
        let day = parse("2028-02-29").unwrap();
        assert_eq!(
            (
                address(day).as_str(),
                said(day).as_str(),
                short(day).as_str()
            ),
            ("2028-02-29", "29 February 2028", "29 Feb")
        );
        for text in [
            "",
            "2028-2-29",
            "2027-02-29",
            "2028-02-29-1",
            "+2028-02-29",
            "today",
            "2028-02",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight() {
        let day = parse("2030-01-14").unwrap();
        let (from, to) = span(day);
        assert_eq!(to - from, 14 * DAY);
        assert_eq!(from, begin(parse("2030-01-01").unwrap()));
        assert_eq!(from, 1_893_456_000);
    }
}
