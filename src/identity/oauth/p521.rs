//! Public keys on the curve P-521, which the library of tokens does not know.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P521};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Bytes of a coordinate.
const COORDINATE: usize = 66;

/// What a point begins with that is written in full.
const IN_FULL: u8 = 4;

/// A point on the curve: both coordinates. Whether it is one is seen when it is used.
#[derive(Clone, Debug)]
pub(super) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From a public key or a certificate in PEM; `None` if it is none of this curve.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let (_, pem) = parse_x509_pem(pem).ok()?;
        if pem.label == "CERTIFICATE" {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
            return Self::from_info(certificate.public_key());
        }
        let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).ok()?;
        Self::from_info(&info)
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let algorithm = &info.algorithm;
        let curve = Oid::try_from(algorithm.parameters.as_ref()?).ok()?;
        let is_it = algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_NIST_EC_P521;
        let point = info.subject_public_key.data.as_ref();
        let is_in_full = point.first() == Some(&IN_FULL) && point.len() == 1 + 2 * COORDINATE;
        (is_it && is_in_full).then(|| Self(point.to_vec()))
    }

    /// From the coordinates of a JSON Web Key.
    pub(super) fn from_coordinates(x: &str, y: &str) -> Option<Self> {
        let mut point = vec![IN_FULL];
        for coordinate in [x, y] {
            let bytes = URL_SAFE_NO_PAD.decode(coordinate).ok().filter(|bytes| bytes.len() == COORDINATE)?;
            point.extend(bytes);
        }
        Some(Self(point))
    }

    /// Whether a signature as tokens have them, both numbers in full, is one of this key.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, &self.0).verify(signed, signature).is_ok()
    }
}
