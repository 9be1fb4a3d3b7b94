//! Handshakes with clients that take a way of their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore as _, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore};
use tokio::net::TcpListener;

use super::*;
use crate::server::tls::{ClientCertificates, Identity, TlsOptions, TlsVersion};

/// A server that shows a certificate of its own, whose files are in a directory.
fn server(directory: &Path) -> (Arc<Tls>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (directory.join("server.pem"), directory.join("server.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = TlsOptions {
        identity: Identity { cert, key, chain: None },
        hosts: BTreeMap::new(),
        authorities: None,
        revoked: None,
        client_certificates: ClientCertificates::Ignored,
        versions: vec![TlsVersion::V13, TlsVersion::V12],
        ciphers: Vec::new(),
        honor_cipher_order: false,
        check_interval: Duration::ZERO,
    };
    (Tls::load(options).unwrap(), made.cert.der().clone())
}

/// A client that sends a key for another group than the one it likes best.
fn contrary_client(certificate: CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let kx_groups = vec![aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::X25519];
    let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let remembered = ClientSessionMemoryCache::new(1);
    remembered.set_kx_hint(name.clone(), NamedGroup::X25519);
    config.resumption = Resumption::store(Arc::new(remembered));
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// Sends what the client has to say.
async fn say(client: &mut ClientConnection, stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    stream.write_all(&bytes).await.unwrap();
}

/// Hands the client what comes next.
async fn hear(client: &mut ClientConnection, stream: &mut TcpStream) {
    let mut bytes = [0; 16 * 1024];
    let read = stream.read(&mut bytes).await.unwrap();
    assert!(read > 0);
    let mut rest = &bytes[..read];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[test]
fn a_signature_that_comes_after_another_try_takes_its_turn_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (tls, certificate) = server(directory.path());
    runtime.block_on(async {
        let at_once = u32::try_from(tls.signing.available_permits()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let shared = tls.clone();
        let deadline = Instant::now() + Duration::from_secs(20);
        let shaken =
            tokio::spawn(async move { accept(&shared, Tls::current, accepted, deadline).await.map(|_| ()) });

        let mut client = contrary_client(certificate);
        say(&mut client, &mut stream).await;
        while !client.wants_write() {
            hear(&mut client, &mut stream).await;
        }
        // While the client is waited for it holds up nobody.
        let all = tls.signing.acquire_many(at_once).await.unwrap();
        say(&mut client, &mut stream).await;
        let early = timeout(Duration::from_millis(100), stream.peek(&mut [0])).await;
        assert!(early.is_err(), "nobody may sign now");
        drop(all);
        while client.is_handshaking() {
            hear(&mut client, &mut stream).await;
        }
        say(&mut client, &mut stream).await;
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
        shaken.await.unwrap().unwrap();
    });
}
