//! How it is measured: in turns, so that other work on the machine slows all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many turns each figure has.
pub(crate) const TURNS: usize = 5;

/// How long each rate is measured.
pub(crate) const TIME: Duration = Duration::from_secs(2);

/// Before it is counted, each connection has prepared its statements.
const WARM_UP: Duration = Duration::from_millis(500);

/// How often a second this number of tasks does its work. Each task has its own.
pub(crate) async fn rate<F, W, Fut>(tasks: u32, work: F) -> f64
where
    F: Fn() -> W,
    W: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (done, stop, mut work) = (done.clone(), stop.clone(), work());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    work().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (before, start) = (done.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(TIME).await;
    let (count, time) = (done.load(Ordering::Relaxed) - before, start.elapsed());
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / time.as_secs_f64()
}

/// Figures and their references, measured in turns.
#[derive(Default)]
pub(crate) struct Pairs {
    reference: Vec<f64>,
    measured: Vec<f64>,
}

impl Pairs {
    pub(crate) fn push(&mut self, reference: f64, measured: f64) {
        self.reference.push(reference);
        self.measured.push(measured);
    }

    /// The medians of both, the median of the ratios, and the ratio of each turn.
    pub(crate) fn cells(&self) -> String {
        let ratios: Vec<f64> = self
            .measured
            .iter()
            .zip(&self.reference)
            .map(|(measured, reference)| measured / reference)
            .collect();
        let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        format!(
            "{} | {} | {:.2} | {}",
            whole(median(self.reference.clone())),
            whole(median(self.measured.clone())),
            median(ratios),
            each.join(" ")
        )
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `12345.6` as `12,346`.
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
