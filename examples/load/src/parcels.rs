//! The parcels in the shop's database, compared with the orders that were paid.

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection};

use crate::Error;

/// An order and the payment that paid it: by the sandbox, or by a row of the shop's parcels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parcel {
    pub(crate) order: String,
    pub(crate) payment: String,
}

/// All rows of the table. Nothing in it keeps an order from having two.
pub(crate) async fn all(url: &str) -> Result<Vec<Parcel>, Error> {
    let mut database = PgConnection::connect(url).await?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT order_id, payment_intent FROM shipments")
            .fetch_all(&mut database)
            .await?;
    let parcel = |(order, payment)| Parcel { order, payment };
    Ok(rows.into_iter().map(parcel).collect())
}

/// A sentence for each fault: each paid order must have one parcel for its payment, and there must
/// be no other parcel.
pub(crate) fn wrong(paid: &[Parcel], parcels: &[Parcel]) -> Vec<String> {
    let mut counts: BTreeMap<&Parcel, usize> = paid.iter().map(|paid| (paid, 0)).collect();
    let mut unpaid = Vec::new();
    for parcel in parcels {
        match counts.get_mut(parcel) {
            Some(count) => *count += 1,
            None => unpaid.push(parcel.order.as_str()),
        }
    }
    let those = |is_wrong: fn(usize) -> bool| -> Vec<&str> {
        let wrong = counts.iter().filter(|(_, count)| is_wrong(**count));
        wrong.map(|(paid, _)| paid.order.as_str()).collect()
    };
    let missing = those(|count| count == 0);
    let double = those(|count| count > 1);
    let faults = [
        (missing, "paid orders have no parcel"),
        (double, "paid orders have more than one parcel"),
        (unpaid, "parcels belong to no payment of their order"),
    ];
    let faults = faults.iter().filter(|(orders, _)| !orders.is_empty());
    faults
        .map(|(orders, fault)| format!("{} {fault}: {}", orders.len(), crate::goals::named(orders)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcels(pairs: &[(&str, &str)]) -> Vec<Parcel> {
        let parcel = |&(order, payment): &(&str, &str)| Parcel {
            order: order.to_owned(),
            payment: payment.to_owned(),
        };
        pairs.iter().map(parcel).collect()
    }

    #[test]
    fn each_paid_order_has_one_parcel_and_no_other_order_has_any() {
        let paid = parcels(&[("a", "pi_a"), ("b", "pi_b"), ("c", "pi_c")]);
        assert_eq!(wrong(&paid, &paid), [""; 0]);
        let found = parcels(&[("a", "pi_a"), ("a", "pi_a"), ("b", "pi_x"), ("d", "pi_d")]);
        assert_eq!(
            wrong(&paid, &found),
            [
                "2 paid orders have no parcel: b, c",
                "1 paid orders have more than one parcel: a",
                "2 parcels belong to no payment of their order: b, d",
            ]
        );
    }
}
