//! The algorithms of TLS, as lists for rustls: what an intake may ask for, and no more. Holds no state.
//!
//! Left out is what no connection of ours needs: ChaCha20, because every server has AES-GCM (RFC 8446 9.1 requires it)
//! and every processor of Lambda computes it in hardware; Curve25519, because every server has P-256 for the exchange of
//! keys (the same section requires that too) and no public authority signs with Ed25519; and the signing of client
//! certificates, which no setting names. Their code is not in the binary then, for which no list may come from
//! `ring::default_provider`.

use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};
use rustls::SignatureScheme;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use webpki::ring as algorithms;

/// The provider of every connection.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Kernel,
        key_provider: &NoKeys,
    })
}

/// Every algorithm that rustls verifies with ring but Ed25519, in its order of preference.
const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithms::ECDSA_P256_SHA256,
        algorithms::ECDSA_P256_SHA384,
        algorithms::ECDSA_P384_SHA256,
        algorithms::ECDSA_P384_SHA384,
        algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        algorithms::RSA_PKCS1_2048_8192_SHA256,
        algorithms::RSA_PKCS1_2048_8192_SHA384,
        algorithms::RSA_PKCS1_2048_8192_SHA512,
        algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // TLS 1.3 ties a curve to its hash and tries the first alone, TLS 1.2 tries all.
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P256_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256]),
        (SignatureScheme::RSA_PSS_SHA512, &[algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[algorithms::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[algorithms::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[algorithms::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// The kernel's random numbers, which ring takes too.
#[derive(Debug)]
struct Kernel;

impl SecureRandom for Kernel {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        let mut filled = 0;
        while filled < out.len() {
            match getrandom(&mut out[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(GetRandomFailed),
            }
        }
        Ok(())
    }
}

/// Loads no private key.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::*;

    #[test]
    fn it_verifies_what_rings_own_provider_does() {
        let (ours, theirs) = (provider(), default_provider());
        let schemes = |p: &CryptoProvider| {
            let all = p.signature_verification_algorithms.supported_schemes();
            all.into_iter().filter(|scheme| *scheme != SignatureScheme::ED25519).collect::<Vec<_>>()
        };
        assert_eq!(schemes(&ours), schemes(&theirs));
        assert_eq!(SIGNATURES.all.len(), theirs.signature_verification_algorithms.all.len() - 1);
        let kept: Vec<_> = theirs.kx_groups.iter().filter(|g| g.name() != rustls::NamedGroup::X25519).collect();
        assert_eq!(format!("{:?}", ours.kx_groups.iter().collect::<Vec<_>>()), format!("{kept:?}"));
        let dropped = |s: &&rustls::SupportedCipherSuite| !format!("{s:?}").contains("CHACHA20");
        let kept: Vec<_> = theirs.cipher_suites.iter().filter(dropped).collect();
        assert_eq!(ours.cipher_suites.iter().collect::<Vec<_>>(), kept);
    }

    #[test]
    fn random_numbers_fill_the_whole_buffer() {
        let mut out = [0; 600];
        Kernel.fill(&mut out).unwrap();
        assert!(out.chunks(100).all(|part| part.iter().any(|b| *b != 0)));
    }
}
