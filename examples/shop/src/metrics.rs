//! What is counted: the checkout says it to the crate `metrics`, which knows nobody's format; here it becomes Prometheus's text.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::settings::Password;

/// Upper bounds of the histograms' buckets, in seconds: a handler takes milliseconds, and 20 s at most.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0];

/// The counts of this process, for whoever has the token.
#[derive(Clone)]
pub struct Metrics {
    counts: PrometheusHandle,
    token: [u8; 32],
}

impl Metrics {
    /// Counts from now on, for the whole process: once.
    ///
    /// # Errors
    /// [`BuildError`] if something else counts already.
    pub fn install(token: &Password) -> Result<Self, BuildError> {
        Ok(Self {
            counts: PrometheusBuilder::new()
                .set_buckets(&BUCKETS)?
                .install_recorder()?,
            token: Sha256::digest(&token.0).into(),
        })
    }

    /// All counts as text, if this is the token. Compared as hashes: the time it takes tells nothing of it.
    pub(crate) fn read(&self, token: &str) -> Option<String> {
        let token: [u8; 32] = Sha256::digest(token).into();
        bool::from(token.ct_eq(&self.token)).then(|| self.counts.render())
    }

    /// Sorts what was measured into the buckets, so that it takes no more and more memory where nobody reads.
    pub(crate) fn tidy(&self) {
        self.counts.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics")
    }
}
