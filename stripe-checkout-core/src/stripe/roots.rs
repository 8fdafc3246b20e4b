//! The certificates by which Stripe is known.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::BoxError;

/// Root certificates.
pub(super) struct Roots(RootCertStore);

impl Roots {
    /// Those that come with this crate.
    pub(super) fn mozilla() -> Self {
        Self(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }

    /// Adds one (DER).
    pub(super) fn add(&mut self, der: &[u8]) -> Result<(), BoxError> {
        Ok(self.0.add(der.to_vec().into())?)
    }

    /// Adds those of the file that `SSL_CERT_FILE` names. A malformed PEM section is an error. A
    /// section that holds no usable root is left out, because a system's own file may have some.
    pub(super) fn add_file(&mut self, file: &Path) -> Result<(), BoxError> {
        let unreadable =
            |error| BoxError::from(format!("the file of SSL_CERT_FILE cannot be read: {error}"));
        let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>();
        let (added, _) = self
            .0
            .add_parsable_certificates(certificates.map_err(unreadable)?);
        match added {
            0 => Err("the file of SSL_CERT_FILE holds no root certificate".into()),
            _ => Ok(()),
        }
    }

    /// The TLS configuration that trusts these.
    pub(super) fn trusted(self) -> Result<ClientConfig, BoxError> {
        // The provider is named, because the process-wide default is ambiguous, and panics, where
        // another crate brings a second one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.0)
            .with_no_client_auth())
    }
}
