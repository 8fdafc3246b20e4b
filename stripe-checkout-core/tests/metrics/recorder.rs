//! A recorder that keeps all metrics for a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};

/// The value of each series: a counter's sum, a gauge's value, or the number of a histogram's
/// values.
type Series = BTreeMap<String, f64>;

#[derive(Clone, Default)]
pub(crate) struct Recorder {
    series: Arc<Mutex<Series>>,
    described: Arc<Mutex<BTreeMap<String, Described>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(crate) kind: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) meaning: String,
}

impl Recorder {
    /// Returns the value of this series; `None` if it was never recorded. Labels are in
    /// alphabetical order.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.series.lock().unwrap().get(series).copied()
    }

    pub(crate) fn described(&self) -> BTreeMap<String, Described> {
        self.described.lock().unwrap().clone()
    }

    /// Returns all series that begin with this text, so that a test can list them.
    pub(crate) fn starting(&self, with: &str) -> Vec<(String, f64)> {
        let series = self.series.lock().unwrap();
        series
            .iter()
            .filter(|(name, _)| name.starts_with(with))
            .map(|(name, value)| (name.clone(), *value))
            .collect()
    }

    /// Returns the names of all recorded metrics, with the names of their labels.
    pub(crate) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let series = self.series.lock().unwrap();
        let named = series.keys().map(|series| {
            let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
            let labels = labels.split(',').filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.split('=').next().unwrap().to_owned());
            (name.to_owned(), labels.collect())
        });
        named.collect()
    }

    fn handle(&self, key: &Key) -> Arc<Handle> {
        let mut labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        Arc::new(Handle {
            series: format!("{}{{{}}}", key.name(), labels.join(",")),
            all: Arc::clone(&self.series),
        })
    }

    fn describe(&self, kind: &'static str, key: KeyName, unit: Option<Unit>, text: SharedString) {
        let described = Described {
            kind,
            unit,
            meaning: text.into_owned(),
        };
        let mut all = self.described.lock().unwrap();
        all.insert(key.as_str().to_owned(), described);
    }
}

struct Handle {
    series: String,
    all: Arc<Mutex<Series>>,
}

impl Handle {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut all = self.all.lock().unwrap();
        let value = all.entry(self.series.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Handle {
    fn increment(&self, by: u64) {
        self.change(|value| value + by as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("counters only go up");
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, seconds: f64) {
        assert!(seconds >= 0.0);
        self.change(|count| count + 1.0);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("counter", key, unit, text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("gauge", key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe("histogram", key, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key))
    }
}
