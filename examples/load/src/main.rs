//! Drives two processes of the shop on one PostgreSQL, and a sandbox as the third process, with
//! buyers, webhooks and attackers at once. It fails if honest people notice the attackers.
//!
//! ```text
//! cargo build --release -p load -p shop-axum -p stripe-checkout-sandbox
//! target/release/load                # ten minutes
//! target/release/load --seconds 30   # a short run, which does not judge the memory
//! ```
//!
//! The goals: the 99th percentile of honest webhooks is under a second, no honest request is
//! answered with 5xx, each purchase ends with one parcel, the database has no other parcel, and the
//! resident memory of each shop process at minute 10 is at most 1.1 times that of minute 2.
//! Attackers are bounded, so that a machine with two cores can still serve: their numbers stand in
//! `attackers.rs`.
//!
//! Each buyer has an address of their own, which the shop reads from `X-Forwarded-For`. Attackers
//! share eight addresses.

mod attackers;
mod buyers;
mod client;
mod goals;
mod parcels;
mod processes;
mod relay;
mod tally;

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{client::Client, processes::Processes, tally::Tally};

/// A fault of the run itself, not a missed goal.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a run takes that judges the memory.
const WHOLE: Duration = Duration::from_secs(600);

/// Into how many parts a run is divided. The memory is read at the end of each.
const PARTS: u32 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let time = match seconds(std::env::args().skip(1)) {
        Ok(time) => time,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match run(time).await {
        Ok(missed) if missed.is_empty() => {
            println!("\nAll goals were reached.");
            ExitCode::SUCCESS
        }
        Ok(missed) => {
            println!();
            for sentence in missed {
                println!("Missed: {sentence}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("The load could not be run: {error}.");
            ExitCode::FAILURE
        }
    }
}

fn seconds(mut arguments: impl Iterator<Item = String>) -> Result<Duration, String> {
    let usage = || "usage: load [--seconds N], with N from 10 up".to_owned();
    let Some(name) = arguments.next() else {
        return Ok(WHOLE);
    };
    let number = arguments.next().and_then(|number| number.parse().ok());
    match (name.as_str(), number, arguments.next()) {
        ("--seconds", Some(seconds @ 10..), None) => Ok(Duration::from_secs(seconds)),
        _ => Err(usage()),
    }
}

/// Runs everything for this time. Returns a sentence for each goal that was missed.
async fn run(time: Duration) -> Result<Vec<String>, Error> {
    let tally = Arc::new(Tally::default());
    let relay = relay::Relay::bind(Arc::clone(&tally)).await?;
    let processes = Processes::start(relay.url()).await?;
    let client = Client::new(processes.shops());
    let mut deliveries = JoinSet::new();
    deliveries.spawn(relay.serve(client.clone()));

    println!("  part  purchases  webhooks  p50 ms  p99 ms  5xx  MiB of shop 1, shop 2, sandbox");
    let begin = Instant::now();
    let end = begin + time;
    let mut buyers = JoinSet::new();
    let sandbox = processes.sandbox().to_owned();
    buyers.spawn(buyers::buy(
        client.clone(),
        sandbox,
        Arc::clone(&tally),
        end,
    ));
    let mut attackers = JoinSet::new();
    attackers::begin(&mut attackers, &client, &tally);

    let mut memory = Vec::new();
    for part in 1..=PARTS {
        sleep_until(begin + time * part / PARTS).await;
        memory.push(processes.memory()?);
        println!("{part:6}  {}", tally.line(memory.last()));
    }
    attackers.shutdown().await;
    // The last buyers come to their end.
    while let Some(ended) = buyers.join_next().await {
        ended?;
    }
    println!("\n{}", tally.attacks());
    let mut missed = goals::missed(&tally, &memory, time >= WHOLE);
    deliveries.shutdown().await;
    // The shop has ended, so that no further parcel comes.
    let (paid, parcels) = (tally.paid(), processes.end().await?);
    println!(
        "{} orders were paid, {} parcels are in the database.",
        paid.len(),
        parcels.len()
    );
    missed.extend(parcels::wrong(&paid, &parcels));
    Ok(missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Duration, String> {
        seconds(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn a_run_takes_ten_minutes_or_as_long_as_asked() {
        assert_eq!(read(&[]), Ok(WHOLE));
        assert_eq!(read(&["--seconds", "30"]), Ok(Duration::from_secs(30)));
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "9"],
            &["--seconds", "30", "more"],
            &["--minutes", "1"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
