//! The algorithms of TLS, as a list for rustls: what an intake may ask for, and no more. Holds no state.
//!
//! Left out is what no connection of ours can need: ChaCha20, because every server has AES-GCM (RFC 8446 9.1 requires
//! it) and every processor of Lambda computes it in hardware; and the signing of client certificates, which no setting
//! names. Their code is not in the binary then.

use std::sync::Arc;

use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

/// The provider of every connection.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    Arc::new(CryptoProvider { cipher_suites, key_provider: &NoKeys, ..ring::default_provider() })
}

/// Loads no private key.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".to_owned()))
    }
}
