//! The mechanism EXTERNAL: the TLS handshake has shown who the client is, and its certificate says who that is here.

use crate::session::limits::{CertificateLogin, Mechanism, SessionLimits};
use crate::session::peer::ClientCertificate;
use crate::session::wire::Wire;

/// The mechanisms that the client of `wire` may choose from. Without a certificate that was verified there is no
/// EXTERNAL.
pub(super) fn offered(wire: &Wire) -> impl Iterator<Item = Mechanism> {
    let has_certificate = certificate(wire).is_some();
    let mechanisms = wire.limits.mechanisms.iter().copied();
    mechanisms.filter(move |&mechanism| mechanism != Mechanism::External || has_certificate)
}

/// What the client's certificate calls its user; empty if it has no such name.
pub(super) fn user_name(wire: &Wire) -> String {
    certificate(wire).and_then(|certificate| name_in(certificate, &wire.limits)).unwrap_or_default()
}

fn certificate(wire: &Wire) -> Option<&ClientCertificate> {
    wire.peer.tls.as_ref()?.certificate.as_ref()
}

fn name_in(certificate: &ClientCertificate, limits: &SessionLimits) -> Option<String> {
    match limits.certificate_login {
        CertificateLogin::DistinguishedName => Some(certificate.subject.clone()),
        CertificateLogin::CommonName => certificate.common_name.clone(),
        CertificateLogin::AlternativeName => {
            let (kind, index) = (limits.certificate_name_kind, usize::from(limits.certificate_name_index));
            let mut names = certificate.alternative_names.iter().filter(|name| name.kind == kind);
            names.nth(index).map(|name| name.name.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::peer::{AlternativeName, AlternativeNameKind};

    #[test]
    fn the_settings_say_which_name_counts() {
        let name = |kind, name: &str| AlternativeName { kind, name: name.to_owned() };
        let certificate = ClientCertificate {
            subject: "CN=client,O=Acme".to_owned(),
            common_name: Some("client".to_owned()),
            alternative_names: vec![
                name(AlternativeNameKind::Email, "c@acme.example"),
                name(AlternativeNameKind::Dns, "a.example"),
                name(AlternativeNameKind::Dns, "b.example"),
            ],
            ..ClientCertificate::default()
        };
        let named = |certificate_login, certificate_name_kind, certificate_name_index| {
            let limits = SessionLimits {
                certificate_login,
                certificate_name_kind,
                certificate_name_index,
                ..SessionLimits::default()
            };
            name_in(&certificate, &limits)
        };
        use AlternativeNameKind::{Dns, Email, Uri};
        use CertificateLogin::{AlternativeName as Alternative, CommonName, DistinguishedName};
        assert_eq!(named(DistinguishedName, Dns, 0).as_deref(), Some("CN=client,O=Acme"));
        assert_eq!(named(CommonName, Dns, 0).as_deref(), Some("client"));
        assert_eq!(named(Alternative, Dns, 0).as_deref(), Some("a.example"));
        assert_eq!(named(Alternative, Dns, 1).as_deref(), Some("b.example"));
        assert_eq!(named(Alternative, Dns, 2), None);
        assert_eq!(named(Alternative, Email, 0).as_deref(), Some("c@acme.example"));
        assert_eq!(named(Alternative, Uri, 0), None);
    }
}
