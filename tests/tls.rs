//! TLS as Rust clients see it: lapin, and rustls itself where a client has to misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::runtime::default_runtime;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::FieldTable;
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::PROTOCOL_HEADER;
use leveret::protocol::field::TableRef;
use leveret::protocol::frame::HEARTBEAT;
use leveret::protocol::method::{connection, write_method};
use leveret::server::Server;
use leveret::server::options::ServerOptions;
use leveret::server::tls::{ClientCertificates, Identity, Tls, TlsOptions, TlsVersion};
use leveret::session::limits::{CertificateLogin, Mechanism, SessionLimits};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// An authority, with the files of a server in a directory.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::OrganizationName, "Leveret test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        let authority = Self { directory, issuer: Issuer::new(parameters, key), certificate };
        authority.write_server();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_server(&self) {
        let (certificate, key) = self.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(self.path("server.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        close_to_others(&self.path("server.key"));
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn options(&self, client_certificates: ClientCertificates) -> TlsOptions {
        TlsOptions {
            identity: Identity { cert: self.path("server.pem"), key: self.path("server.key"), chain: None },
            hosts: BTreeMap::new(),
            authorities: Some(self.path("ca.pem")),
            revoked: None,
            client_certificates,
            versions: vec![TlsVersion::V13, TlsVersion::V12],
            ciphers: Vec::new(),
            honor_cipher_order: false,
            check_interval: Duration::ZERO,
        }
    }

    /// What a client trusts, and whom it shows itself to be.
    fn client(&self, name: Option<&str>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    /// The same for lapin's own TLS.
    fn lapin(&self, name: Option<&str>) -> OwnedTLSConfig {
        let identity = name.map(|name| {
            let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
            OwnedIdentity::PKCS8 {
                pem: certificate.pem().into_bytes(),
                key: key.serialize_pem().into_bytes(),
            }
        });
        let authority = std::fs::read_to_string(self.path("ca.pem")).unwrap();
        OwnedTLSConfig { identity, cert_chain: Some(authority) }
    }
}

fn close_to_others(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs `test` against a server with a TLS listener, and ends the server.
fn with_server<F: Future<Output = ()>>(tls: TlsOptions, test: impl FnOnce(SocketAddr) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let options =
            ServerOptions { listen: vec![local], listen_tls: vec![local], ..ServerOptions::default() };
        let limits = SessionLimits {
            mechanisms: vec![Mechanism::Plain, Mechanism::External],
            certificate_login: CertificateLogin::CommonName,
            ..SessionLimits::default()
        };
        let broker = Broker::new(BrokerOptions::default());
        let server = Server::bind(options, limits, broker, Some(Tls::load(tls).unwrap())).unwrap();
        let addresses = server.addresses();
        let (_, address) = addresses.iter().find(|(protocol, _)| *protocol == "amqps").unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(stop.clone()));
        tokio::time::timeout(Duration::from_secs(30), test(address)).await.expect("in time");
        stop.cancel();
        serving.await.unwrap();
    });
}

async fn connect(client: &TlsConnector, server: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server).await.unwrap();
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

async fn connect_lapin(
    server: SocketAddr,
    login: &str,
    tls: OwnedTLSConfig,
) -> lapin::Result<lapin::Connection> {
    let (url, properties) =
        (login.replace("SERVER", &format!("localhost:{}", server.port())), ConnectionProperties::default());
    lapin::Connection::connect_with_config(&url, properties, tls, default_runtime()?).await
}

async fn round_trip(server: SocketAddr, login: &str, tls: OwnedTLSConfig) {
    let connection = connect_lapin(server, login, tls).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    // Large enough for many records, and for both sides' buffers.
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (to, options) = (queue.name().clone(), BasicPublishOptions::default());
    let confirm =
        channel.basic_publish("".into(), to.clone(), options, &body, Default::default()).await.unwrap();
    assert!(confirm.await.unwrap().is_ack());
    let found = channel.basic_get(to, BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    assert!(found.delivery.data == body);
    connection.close(200, "".into()).await.unwrap();
}

/// With its name and password, and with its certificate.
const LOGINS: [&str; 2] = ["amqps://guest:guest@SERVER/%2f", "amqps://SERVER/%2f?auth_mechanism=external"];

#[test]
fn lapin_within_tls() {
    let authority = Authority::new();
    with_server(authority.options(ClientCertificates::Ignored), async |server| {
        round_trip(server, LOGINS[0], authority.lapin(None)).await;
        let strange = connect_lapin(server, LOGINS[0], Authority::new().lapin(None)).await;
        assert!(strange.is_err(), "an authority it does not know");
    });
}

#[test]
fn lapin_with_a_certificate_for_its_login() {
    let authority = Authority::new();
    with_server(authority.options(ClientCertificates::Required), async |server| {
        round_trip(server, LOGINS[1], authority.lapin(Some("guest"))).await;
        round_trip(server, LOGINS[0], authority.lapin(Some("somebody"))).await;
        for (login, certificate) in [(LOGINS[1], Some("nobody")), (LOGINS[0], None)] {
            let refused = connect_lapin(server, login, authority.lapin(certificate)).await;
            assert!(refused.is_err(), "{certificate:?}");
        }
    });
}

/// Begins AMQP, so that there is a session to talk to.
async fn begun(client: &TlsConnector, server: SocketAddr) -> TlsStream<TcpStream> {
    let mut stream = connect(client, server).await;
    stream.write_all(&PROTOCOL_HEADER).await.unwrap();
    assert_eq!(method(&mut stream).await, [0, 10, 0, 10], "connection.start");
    stream
}

/// The class and method ids of the next frame.
async fn method(stream: &mut TlsStream<TcpStream>) -> [u8; 4] {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.unwrap();
    let len = u32::from_be_bytes(head[3..].try_into().unwrap());
    let mut payload = vec![0; len as usize + 1];
    stream.read_exact(&mut payload).await.unwrap();
    payload[..4].try_into().unwrap()
}

#[test]
fn new_keys_without_end_are_no_way_to_keep_the_broker_busy() {
    let authority = Authority::new();
    with_server(authority.options(ClientCertificates::Ignored), async |server| {
        let client = authority.client(None);
        let mut stream = begun(&client, server).await;
        for _ in 0..8 {
            for _ in 0..8 {
                stream.get_mut().1.refresh_traffic_keys().unwrap();
            }
            stream.write_all(&HEARTBEAT).await.unwrap();
        }
        let mut other = begun(&client, server).await;
        for _ in 0..40 {
            other.get_mut().1.refresh_traffic_keys().unwrap();
        }
        // It may be cut before all of it is written.
        let _ = other.flush().await;
        let mut rest = Vec::new();
        // Left alone it would have ten seconds to log in.
        let ended = tokio::time::timeout(Duration::from_secs(5), other.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "it is cut");
        assert!(rest.is_empty());
        // The first one, which had something to say in between, goes on.
        let mut login = Vec::new();
        let start_ok = connection::StartOk {
            client_properties: TableRef::EMPTY,
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "",
        };
        write_method(&mut login, 0, &start_ok);
        stream.write_all(&login).await.unwrap();
        assert_eq!(method(&mut stream).await, [0, 10, 0, 30], "connection.tune");
    });
}

#[test]
fn a_certificate_that_is_replaced_is_shown_to_those_who_come_after() {
    let authority = Authority::new();
    let tls = Tls::load(authority.options(ClientCertificates::Ignored)).unwrap();
    std::fs::write(authority.path("server.pem"), "not a certificate").unwrap();
    let error = tls.reload(None).unwrap_err().to_string();
    assert!(
        error.starts_with("TLS: ") && error.contains("server.pem: there is no certificate in it"),
        "{error}"
    );
    authority.write_server();
    tls.reload(None).unwrap();
    let gone = TlsOptions { authorities: None, ..authority.options(ClientCertificates::Required) };
    assert!(tls.reload(Some(gone)).unwrap_err().to_string().contains("tls.ca"));
}
