//! The metrics. The checkout reports them to the crate `metrics`, which has no format of its own;
//! this module turns them into Prometheus's text.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::settings::Password;

/// Upper bounds of the histograms' buckets, in seconds. A handler takes milliseconds, and 20 s at
/// most.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0];

/// The metrics of this process, for readers that have the token.
#[derive(Clone)]
pub struct Metrics {
    counts: PrometheusHandle,
    token: [u8; 32],
}

impl Metrics {
    /// Starts to count, for the whole process. Call it once.
    ///
    /// # Errors
    /// [`BuildError`] if another recorder is installed already.
    pub fn install(token: &Password) -> Result<Self, BuildError> {
        Ok(Self {
            counts: PrometheusBuilder::new()
                .set_buckets(&BUCKETS)?
                .install_recorder()?,
            token: Sha256::digest(&token.0).into(),
        })
    }

    /// All metrics as text, if this is the token. It compares hashes, so the time reveals nothing
    /// about the token.
    pub(crate) fn read(&self, token: &str) -> Option<String> {
        let token: [u8; 32] = Sha256::digest(token).into();
        bool::from(token.ct_eq(&self.token)).then(|| self.counts.render())
    }

    /// Sorts measurements into the buckets. Otherwise memory would grow where `/metrics` is not
    /// read.
    pub(crate) fn tidy(&self) {
        self.counts.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics")
    }
}
