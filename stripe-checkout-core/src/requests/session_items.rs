//! The lines of an order as Stripe's page shows them.

use super::error::RequestError;
use super::intent_params::IntentParams;
use super::line::Line;
use super::payment::PaymentRequest;
use super::tax::Tax;
use crate::amount::Amount;

/// More lines Stripe does not take.
const MAX_LINES: usize = 100;

/// A line in Stripe's form: a number of pieces at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) quantity: u64,
    pub(crate) unit: Amount,
    pub(crate) tax: Tax,
}

/// The lines of the order, or one for each way to be taxed. Stripe takes no line whose amount is
/// between the steps of its currency, and not too many lines.
pub(super) fn items(
    request: &PaymentRequest,
    params: &IntentParams,
) -> Result<Vec<Item>, RequestError> {
    let lines = request.lines();
    let whole = |amount, tax| Item {
        name: params
            .description
            .clone()
            .unwrap_or_else(|| format!("Order {}", request.reference())),
        quantity: 1,
        unit: amount,
        tax,
    };
    if lines.is_empty() {
        let amount = request.amount().in_whole_steps()?;
        return Ok(vec![whole(amount, Tax::default())]);
    }
    let is_payable = |line: &Line| line.amount().off_multiple().is_none();
    if lines.len() <= MAX_LINES && lines.iter().all(is_payable) {
        return Ok(lines.iter().map(item).collect());
    }
    // Lines that are taxed otherwise stay apart.
    let mut sums: Vec<Item> = Vec::new();
    for line in lines {
        match sums.iter_mut().find(|sum| sum.tax == *line.tax()) {
            Some(sum) => sum.unit = sum.unit.checked_add(line.amount())?,
            None => sums.push(whole(line.amount(), line.tax().clone())),
        }
    }
    if sums.len() > MAX_LINES {
        return Err(RequestError::Lines);
    }
    for sum in &sums {
        sum.unit.in_whole_steps()?;
    }
    Ok(sums)
}

fn item(line: &Line) -> Item {
    let (amount, quantity) = (line.amount(), line.quantity());
    let name = match line.name().trim() {
        "" => "–",
        name => name,
    };
    let unit = amount.minor().checked_div(quantity).unwrap_or_default();
    let unit = Amount::new(unit, amount.currency());
    // The price of one piece comes in Stripe's steps. A line that cannot be divided so is one
    // piece.
    let is_even =
        quantity > 0 && unit.times(quantity) == Ok(amount) && unit.off_multiple().is_none();
    let (name, quantity, unit) = match is_even {
        true => (name.to_owned(), quantity, unit),
        false => (format!("{quantity} × {name}"), 1, amount),
    };
    Item {
        name,
        quantity,
        unit,
        tax: line.tax().clone(),
    }
}
