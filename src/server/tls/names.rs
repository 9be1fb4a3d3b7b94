//! The names in certificates, in the form in which users are called after them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::server::clock;
use crate::session::peer::{AlternativeName, AlternativeNameKind, ClientCertificate};

/// What RabbitMQ calls the parts of a distinguished name. Others are called by their number.
const PARTS: [(&str, &str); 17] = [
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    (COMMON_NAME, "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

const COMMON_NAME: &str = "2.5.4.3";

/// A certificate ends soon from so many seconds before it does.
const SOON: i64 = 14 * 24 * 3600;

/// The names in a client's certificate; `None` if it cannot be read, which its verification should have found.
pub(super) fn of_client(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    Some(ClientCertificate {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        validity: validity(certificate.validity()),
        common_name: common_name(certificate.subject()),
        alternative_names: names.filter_map(alternative_name).collect(),
    })
}

/// As RabbitMQ writes it.
fn validity(validity: &Validity) -> String {
    format!("{} - {}", moment(validity.not_before), moment(validity.not_after))
}

fn moment(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Until when a certificate is valid, in seconds since 1970.
pub(super) fn ends_at(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// Says whose certificate we show and until when, in time to have it renewed.
pub(super) fn log_own(path: &Path, certificate: &CertificateDer<'_>) {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return };
    let (subject, not_after) = (distinguished_name(certificate.subject()), certificate.validity().not_after);
    let file = path.display();
    let now = i64::try_from(clock::now().unix_ms / 1000).unwrap_or(i64::MAX);
    match not_after.timestamp() - now {
        ..=0 => tracing::warn!(%file, subject, %not_after, "the certificate has expired"),
        1..=SOON => tracing::warn!(%file, subject, %not_after, "the certificate expires soon"),
        _ => tracing::info!(%file, subject, %not_after, "certificate"),
    }
}

/// A name as RabbitMQ writes it: RFC 4514, so the last part comes first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut sets: Vec<String> = Vec::new();
    for set in name.iter_rdn() {
        let parts: Vec<String> = set.iter().map(part).collect();
        sets.push(parts.join("+"));
    }
    sets.reverse();
    sets.join(",")
}

fn part(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = PARTS.iter().find(|(known, _)| *known == oid).map_or(oid.as_str(), |(_, name)| name);
    match text(attribute) {
        Some(value) => format!("{name}={}", escaped(&value)),
        None => {
            let mut written = format!("{name}=#");
            attribute.as_slice().iter().for_each(|byte| {
                let _ = write!(written, "{byte:02X}");
            });
            written
        }
    }
}

/// An attribute's text in any of the encodings there are.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::BmpString => {
            let units: Vec<u16> = bytes.chunks(2).map(|pair| be(pair) as u16).collect();
            String::from_utf16(&units).ok()
        }
        Tag::UniversalString => bytes.chunks(4).map(|four| char::from_u32(be(four))).collect(),
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        _ => attribute.as_str().ok().map(str::to_owned),
    }
}

fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// Escaped as RabbitMQ does: RFC 4514, and whatever is not printable ASCII as the hexadecimal bytes of its UTF-8.
fn escaped(value: &str) -> String {
    let mut written = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_special = match byte {
            b' ' => at == 0 || at == last,
            b'#' => at == 0,
            byte => b"\"+,;<>\\".contains(&byte),
        };
        if !(32..126).contains(&byte) {
            let _ = write!(written, "\\{byte:02X}");
            continue;
        }
        if is_special {
            written.push('\\');
        }
        written.push(char::from(byte));
    }
    written
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let attributes =
        subject.iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == COMMON_NAME);
    let names: Vec<String> = attributes.filter_map(text).collect();
    (!names.is_empty()).then(|| names.join(","))
}

fn alternative_name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    use AlternativeNameKind::{Dns, Email, Ip, Uri};
    let (kind, name) = match name {
        GeneralName::DNSName(name) => (Dns, (*name).to_owned()),
        GeneralName::RFC822Name(name) => (Email, (*name).to_owned()),
        GeneralName::URI(name) => (Uri, (*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = || <[u8; 4]>::try_from(*bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
            let sixteen = || <[u8; 16]>::try_from(*bytes).map(|bytes| Ipv6Addr::from(bytes).to_string());
            (Ip, four().or_else(|_| sixteen()).ok()?)
        }
        _ => return None,
    };
    Some(AlternativeName { kind, name })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn names(parts: Vec<(DnType, DnValue)>, alternative: Vec<SanType>) -> ClientCertificate {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind, value);
        }
        parameters.subject_alt_names = alternative;
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        of_client(certificate.der()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn a_distinguished_name_is_written_as_rabbitmq_does() {
        let parts = vec![
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, utf8("Acme, Inc. \"R+D\"")),
            (DnType::CustomDnType(vec![1, 2, 3, 4]), utf8("odd")),
            (DnType::CommonName, utf8(" #1 J\u{f6}rg~ ")),
        ];
        let certificate = names(parts, vec![]);
        let expected = r#"CN=\ #1 J\C3\B6rg\7E\ ,1.2.3.4=odd,O=Acme\, Inc. \"R\+D\",C=DE"#;
        assert_eq!(certificate.subject, expected);
        assert_eq!(certificate.issuer, expected);
        assert_eq!(certificate.common_name.as_deref(), Some(" #1 J\u{f6}rg~ "), "as it is");
    }

    #[test]
    fn every_encoding_of_text_is_read() {
        let parts = vec![
            (DnType::OrganizationName, DnValue::TeletexString("Acme".try_into().unwrap())),
            (DnType::OrganizationalUnitName, DnValue::UniversalString("x\u{1f407}".try_into().unwrap())),
            (DnType::CommonName, DnValue::BmpString("\u{e9}t\u{e9}".try_into().unwrap())),
        ];
        let certificate = names(parts, vec![]);
        assert_eq!(certificate.subject, r"CN=\C3\A9t\C3\A9,OU=x\F0\9F\90\87,O=Acme");
        assert_eq!(certificate.common_name.as_deref(), Some("\u{e9}t\u{e9}"));
    }

    #[test]
    fn a_certificate_may_have_no_names() {
        let validity = "1975-01-01T00:00:00Z - 4096-01-01T00:00:00Z".to_owned();
        let expected = ClientCertificate { validity, ..ClientCertificate::default() };
        assert_eq!(names(vec![], vec![]), expected);
        assert_eq!(of_client(&CertificateDer::from(b"garbage".to_vec())), None);
    }

    #[test]
    fn alternative_names_keep_their_order_and_kind() {
        let alternative = vec![
            SanType::Rfc822Name("a@b.example".try_into().unwrap()),
            SanType::DnsName("mq.example".try_into().unwrap()),
            SanType::URI("spiffe://example/mq".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ];
        let found = names(vec![], alternative).alternative_names;
        let found: Vec<_> = found.iter().map(|name| (name.kind, name.name.as_str())).collect();
        use AlternativeNameKind::{Dns, Email, Ip, Uri};
        let expected = [
            (Email, "a@b.example"),
            (Dns, "mq.example"),
            (Uri, "spiffe://example/mq"),
            (Ip, "192.0.2.1"),
            (Ip, "2001:db8::1"),
        ];
        assert_eq!(found, expected);
    }
}
