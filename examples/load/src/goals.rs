//! Which goals a run missed.

use std::time::Duration;

use crate::{processes::Memory, tally::Tally};

const WEBHOOKS: Duration = Duration::from_secs(1);

/// How many percent of the memory of part 2 a process may have in the last part.
const GROWTH: u64 = 110;

/// How many failures a sentence names.
const NAMED: usize = 5;

/// A sentence for each missed goal. The memory counts in a whole run only: a process that has just
/// started still fills its pools.
pub(crate) fn missed(tally: &Tally, memory: &[Memory], whole: bool) -> Vec<String> {
    let mut missed = Vec::new();
    match tally.percentile(99) {
        Some(p99) if p99 < WEBHOOKS => {}
        Some(p99) => missed.push(format!(
            "the 99th percentile of honest webhooks is {} ms, not under {} ms",
            p99.as_millis(),
            WEBHOOKS.as_millis()
        )),
        None => missed.push("no webhook was delivered".to_owned()),
    }
    let broken = tally.broken();
    if !broken.is_empty() {
        missed.push(format!(
            "{} honest requests were answered with 5xx or not at all: {}",
            broken.len(),
            named(&broken)
        ));
    }
    let failed = tally.failed();
    if !failed.is_empty() || tally.purchases() == 0 {
        missed.push(format!(
            "{} of {} purchases did not end with one parcel: {}",
            failed.len(),
            tally.purchases(),
            named(&failed)
        ));
    }
    if whole {
        missed.extend(grown(memory));
    }
    missed
}

/// The first of these.
pub(crate) fn named(all: &[impl AsRef<str>]) -> String {
    let first: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = if all.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

fn grown(memory: &[Memory]) -> Vec<String> {
    let (Some(early), Some(late)) = (memory.get(1), memory.last()) else {
        return vec!["the memory was not read".to_owned()];
    };
    let shops = early.shops.iter().zip(&late.shops).enumerate();
    let grown = shops.filter(|(_, (early, late))| *late * 100 > *early * GROWTH);
    grown
        .map(|(index, (early, late))| {
            format!(
                "the resident memory of shop {} grew from {early} bytes at part 2 to {late} bytes, by more than a tenth",
                index + 1
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(shops: [u64; 2]) -> Memory {
        Memory { shops, sandbox: 1 }
    }

    fn good() -> Tally {
        let tally = Tally::default();
        tally.webhook(Duration::from_millis(20));
        tally.purchase(Ok(()));
        tally
    }

    #[test]
    fn a_good_run_misses_nothing() {
        let memory = [memory([50, 100]), memory([100, 100]), memory([110, 90])];
        assert_eq!(missed(&good(), &memory, true), [""; 0]);
    }

    #[test]
    fn each_missed_goal_is_a_sentence() {
        let tally = Tally::default();
        tally.webhook(Duration::from_millis(1000));
        tally.honest("page", Some(503));
        tally.purchase(Err("no order".to_owned()));
        let memory = [memory([1, 1]), memory([100, 100]), memory([111, 110])];
        let sentences = missed(&tally, &memory, true);
        assert_eq!(sentences.len(), 4, "{sentences:?}");
        assert!(sentences[0].contains("is 1000 ms"));
        assert!(sentences[1].contains("page: 503"));
        assert!(sentences[2].contains("1 of 1 purchases"));
        assert!(sentences[3].contains("shop 1 grew from 100 bytes"));
    }

    #[test]
    fn nothing_done_is_a_missed_goal() {
        assert_eq!(missed(&Tally::default(), &[], false).len(), 2);
    }

    #[test]
    fn a_short_run_does_not_judge_the_memory() {
        let memory = [memory([1, 1]), memory([1, 1]), memory([9, 9])];
        assert_eq!(missed(&good(), &memory, false), [""; 0]);
    }
}
