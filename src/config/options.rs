//! The option table: every setting there is, with its type, its default and what it is for.
//!
//! The comments here are the reference text. `config/leveret.toml` says the same at more length; a test keeps the
//! two from drifting apart.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use super::setting::{
    Addresses, FileMode, FrameMax, InitialFrameMax, Name, OrNone, PathPrefix, Seconds, Secret, Setting, Size,
    Span, Verify, Watermark, Within,
};
use super::table::{Effect, OptionRow, options, section_path};
use super::{HostEntry, LogFormat, OAuthNames, OperatorEntry};
use crate::broker::options::BackendKind;
use crate::identity::access::Permissions;
use crate::identity::oauth::Algorithm;
use crate::identity::oauth::rules::ALGORITHMS;
use crate::identity::password::Scheme;
use crate::identity::tags::Tags;
use crate::server::options::{FreeLimit, Keepalive};
use crate::server::tls::{Cipher, TlsVersion};
use crate::session::limits::{CertificateLogin, Mechanism, Stamp};
use crate::session::peer::AlternativeNameKind;
use crate::storage::options::Sync;

/// The largest message body that can be allowed (512 MiB).
const LARGEST_MESSAGE: u64 = 512 << 20;

/// The largest size of a journal file that can be set (1 GiB).
const LARGEST_JOURNAL_FILE: u64 = 1 << 30;

/// The largest journal that can be set (1 TiB).
const LARGEST_JOURNAL: u64 = 1 << 40;

/// A user from `[auth.users.NAME]`, whose parts may come from different sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserEntry {
    /// Password in clear. A user must have one in the end. Its hash is kept.
    pub password: Option<Secret>,
    /// The vhosts the user may open; the default vhost if not given.
    pub vhosts: Option<Vec<Name>>,
    /// What the user may do beyond others; as it was before if not given.
    pub tags: Option<Tags>,
    /// Most connections at a time; as it was before if not given.
    pub max_connections: Option<Limit>,
    /// Most channels at a time; as it was before if not given.
    pub max_channels: Option<Limit>,
}

/// A number of things, which may be none.
pub type Limit = Within<u32, 0, 4_294_967_295>;

options! {
    /// Sockets that clients connect to.
    listen: Listen {
        /// Addresses for AMQP without TLS. Only this machine can connect unless told otherwise.
        amqp: Vec<SocketAddr> [Restart] = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5672))];
        /// Addresses for AMQP within TLS; the usual port is 5671. They need `tls.cert` and `tls.key`.
        amqps: Addresses [Restart] = Addresses::default();
        /// Addresses for AMQP over WebSocket without TLS; the usual port is 15670.
        websocket: Addresses [Restart] = Addresses::default();
        /// Addresses for AMQP over WebSocket within TLS. They need `tls.cert` and `tls.key`.
        websocket_tls: Addresses [Restart] = Addresses::default();
        /// Path of a Unix socket for AMQP. Empty is none.
        unix: Option<PathBuf> [Restart] = None;
        /// Permissions of the Unix socket, as chmod has them.
        unix_mode: FileMode [Restart] = FileMode(0o660);
        /// Addresses and networks of proxies that begin each connection with a header of the PROXY protocol. A client
        /// from elsewhere is taken for what it is.
        proxy_protocol: Vec<IpNet> [Restart] = vec![];
        /// Connections the operating system holds ready before they are accepted.
        backlog: Within<u32, 1, 65_535> [Restart] = Within(1024);
        /// Whether small writes leave at once (TCP_NODELAY).
        nodelay: bool [Restart] = true;
        /// TCP keepalive: seconds of silence, seconds between probes, probes. "off" leaves it off.
        keepalive: Option<Keepalive> [Restart] = Some(Keepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            probes: 3,
        });
        /// How long sent bytes may stay unacknowledged before the connection counts as dead (TCP_USER_TIMEOUT).
        /// 0 leaves it to the operating system.
        user_timeout: Span<0> [Restart] = Span(Duration::from_secs(30));
        /// A client that takes nothing for so long while bytes wait for it is cut.
        write_timeout: Span<100> [Restart] = Span(Duration::from_secs(30));
    }
    /// Certificates and rules of TLS. Hosts with certificates of their own have sections, `[tls.sni.NAME]`.
    tls: TlsSection {
        /// File of the certificate (PEM). Its chain may follow it, as in certbot's fullchain.pem.
        cert: Option<PathBuf> [Reload] = None;
        /// File of its private key (PEM, not encrypted). Only its owner and a group may be able to read it.
        key: Option<PathBuf> [Reload] = None;
        /// File of the certificates between it and its authority, if they are not in `tls.cert` (PEM).
        chain: Option<PathBuf> [Reload] = None;
        /// File of the authorities whose client certificates are taken (PEM).
        ca: Option<PathBuf> [Reload] = None;
        /// File of revoked client certificates (PEM): a current list from each authority that issued some.
        crl: Option<PathBuf> [Reload] = None;
        /// Whether clients are asked for a certificate: "peer" verifies what they show, "none" asks for nothing.
        verify: Verify [Reload] = Verify::None;
        /// Whether clients that show no certificate are refused.
        fail_if_no_peer_cert: bool [Reload] = false;
        /// Versions that are spoken.
        versions: Vec<TlsVersion> [Reload] = vec![TlsVersion::V13, TlsVersion::V12];
        /// Cipher suites by their IANA or OpenSSL names, the preferred ones first. Empty is all that are safe.
        ciphers: Vec<Cipher> [Reload] = vec![];
        /// Whether the order here decides about the cipher suite, and not the client's.
        honor_cipher_order: bool [Reload] = false;
        /// How often the files are looked at for changes, which are then taken over. 0 is never; SIGHUP does it too.
        check_interval: Span<0> [Reload] = Span(Duration::from_secs(5));
    }
    /// AMQP over WebSocket.
    websocket: Websocket {
        /// Origins of web pages from which a browser may connect, such as "https://example.org". Without any it may from
        /// all, but only pages of this machine then count as local.
        origins: Vec<Name> [Restart] = vec![];
    }
    /// The management API: HTTP for people and their tools.
    http: Http {
        /// Addresses for HTTP without TLS. Only this machine can connect unless told otherwise. Empty is none.
        listen: Addresses [Restart] = Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 15_672))]);
        /// Addresses for HTTPS; the usual port is 15671. They need `tls.cert` and `tls.key`.
        listen_tls: Addresses [Restart] = Addresses::default();
        /// What all paths begin with, such as "/leveret". Empty is nothing.
        path_prefix: PathPrefix [Restart] = PathPrefix::default();
        /// Largest body of a request with definitions or a message; others may have 1 MiB at most.
        max_body: Size<LARGEST_MESSAGE> [Restart] = Size(20 << 20);
        /// Most connections to each address at a time; others wait to be accepted.
        max_connections: Within<u32, 1, 65_535> [Restart] = Within(256);
        /// How long one stays logged in by a session that /api/login begins.
        session_timeout: Span<1000> [Restart] = Span(Duration::from_secs(8 * 3600));
    }
    /// Scripts of other web pages that use the management API.
    http_cors: HttpCors {
        /// Origins of the pages that may, such as "https://example.org".
        allow_origins: Vec<Name> [Restart] = vec![];
        /// How long a browser may remember that they may.
        max_age: Span<0> [Restart] = Span(Duration::from_secs(1800));
    }
    /// Logging in to the page at a provider (OpenID Connect, OAuth 2 with an authorization code) whose access tokens are taken,
    /// see `[auth.oauth2]`.
    http_oauth: HttpOAuth {
        /// Whether the page offers it, beside passwords.
        enabled: bool [Restart] = false;
        /// The name of the broker as a client of the provider.
        client_id: String [Restart] = String::new();
        /// Its secret there. Empty is none: it is a public client.
        client_secret: Secret [Restart] = Secret(String::new());
        /// URL of the provider, which tells its addresses (OpenID Connect Discovery). Empty is auth.oauth2.issuer.
        provider_url: String [Restart] = String::new();
        /// URL at which people log in. Empty is what the provider tells.
        authorization_url: String [Restart] = String::new();
        /// URL at which tokens are had for codes. Empty is what the provider tells.
        token_url: String [Restart] = String::new();
        /// Scopes that are asked for.
        scopes: Vec<Name> [Restart] = vec![Name("openid".to_owned()), Name("profile".to_owned())];
        /// What the page calls the provider: "Log in with ...".
        label: Name [Restart] = Name("OAuth 2".to_owned());
        /// What browsers have in front of the page's path, such as "https://mq.example.org". Empty is the host that they name
        /// and the scheme that the broker speaks, which are others behind a proxy.
        origin: String [Restart] = String::new();
    }
    /// Samples of what is counted, of which the management API makes rates and charts.
    stats: Stats {
        /// From one sample to the next. The shorter it is, the less far back charts go.
        interval: Span<100> [Restart] = Span(Duration::from_secs(5));
    }
    /// Metrics for Prometheus, on addresses of their own. Users who may monitor find them beside the management API too.
    prometheus: Prometheus {
        /// Addresses for HTTP without TLS. Only this machine can connect unless told otherwise. Empty is none.
        listen: Addresses [Restart] = Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 15_692))]);
        /// Where metrics are. Empty is "/".
        path: PathPrefix [Restart] = PathPrefix("/metrics".to_owned());
        /// Whether metrics there tell of each queue, exchange, connection and channel, instead of all together.
        per_object: bool [Restart] = false;
        /// Whether one has to log in there, as a user who may monitor.
        auth: bool [Restart] = false;
    }
    /// What clients are told so that they work as with RabbitMQ.
    compat: Compat {
        /// The version of RabbitMQ that the management API names. Tools choose their ways by it.
        rabbitmq_version: Name [Restart] = Name("4.2.0".to_owned());
    }
    /// The protocol as it is offered to clients.
    amqp: Amqp {
        /// Seconds between heartbeats; 0 offers none. The client's answer counts.
        heartbeat: Seconds [Reload] = Seconds(60);
        /// Largest frame in bytes, at least 4096; 0 is no limit.
        frame_max: FrameMax [Reload] = FrameMax(131_072);
        /// Largest frame before login in bytes, at least 4096. Access tokens travel in it.
        initial_frame_max: InitialFrameMax [Reload] = InitialFrameMax(8192);
        /// Most channels on one connection; 0 is no limit.
        channel_max: Within<u16, 0, 65_535> [Reload] = Within(2047);
        /// Time from connect to connection.open-ok.
        handshake_timeout: Span<100> [Reload] = Span(Duration::from_secs(10));
        /// Largest message body, at most 512 MiB.
        max_message_size: Size<LARGEST_MESSAGE> [Reload] = Size(16 << 20);
        /// Prefetch of consumers whose channel never sent basic.qos; 0 is no limit.
        default_prefetch: Within<u16, 0, 65_535> [Reload] = Within(0);
        /// How long a delivery may await its acknowledgement before its channel is closed, unless consumer or queue say
        /// otherwise; 0 is for ever.
        consumer_timeout: Span<0> [Reload] = Span(Duration::from_secs(30 * 60));
        /// Login mechanisms in the order they are offered. EXTERNAL, by client certificate, is offered only to clients
        /// that showed one.
        mechanisms: Vec<Mechanism> [Reload] = vec![Mechanism::Plain, Mechanism::AmqPlain];
    }
    /// How much of a thing there may be.
    limits: Limits {
        /// Most connections at a time; 0 is as many as the process may have files open, less some for everything else.
        connections: Within<u32, 0, 4_294_967_295> [Reload] = Within(0);
        /// Most connections that have not finished their handshake; others wait to be accepted. 0 is no limit.
        handshakes: Within<u32, 0, 4_294_967_295> [Reload] = Within(512);
        /// Most of them from one address, or one /64 of IPv6; others are closed at once. 0 is no limit.
        handshakes_per_address: Within<u32, 0, 4_294_967_295> [Reload] = Within(64);
        /// Most channels of all connections; 0 is no limit.
        channels: Within<u32, 0, 4_294_967_295> [Reload] = Within(0);
        /// Most queues in all vhosts; 0 is no limit.
        queues: Within<u32, 0, 4_294_967_295> [Reload] = Within(0);
        /// Most exchanges in all vhosts, without those that every vhost has; 0 is no limit.
        exchanges: Within<u32, 0, 4_294_967_295> [Reload] = Within(0);
        /// Most vhosts; 0 is no limit.
        vhosts: Within<u32, 0, 4_294_967_295> [Reload] = Within(1000);
        /// Most bindings of one queue; 0 is no limit.
        bindings_per_queue: Within<u32, 0, 4_294_967_295> [Reload] = Within(100_000);
        /// Most consumers on one channel; 0 is no limit.
        consumers_per_channel: Within<u32, 0, 4_294_967_295> [Reload] = Within(1000);
        /// Most deliveries on one channel that wait for their acknowledgement, a few more at most; then there are no others.
        /// 0 is no limit.
        unacked_per_channel: Within<u32, 0, 4_294_967_295> [Reload] = Within(1_000_000);
    }
    /// What holds for vhosts that have no limits of their own.
    default_vhost_limits: DefaultVHostLimits {
        /// Most connections; -1 is no limit, 0 is none at all.
        max_connections: OrNone [Reload] = OrNone(None);
        /// Most queues; -1 is no limit, 0 is none at all.
        max_queues: OrNone [Reload] = OrNone(None);
    }
    /// When publishers are held back and messages moved to disk for the sake of memory.
    memory: Memory {
        /// Resident memory above which publishers are blocked: a fraction of the machine's or container's memory,
        /// or a size. 0 is never.
        high_watermark: Watermark [Restart] = Watermark::Fraction(0.6);
        /// How often memory is looked at.
        check_interval: Span<100> [Restart] = Span(Duration::from_millis(2500));
        /// Messages in memory above which the broker moves transient messages to disk, longest backlog first: a
        /// fraction of the machine's or container's memory, or a size. 0 is never.
        messages: Watermark [Restart] = Watermark::Fraction(0.4);
    }
    /// When publishers are held back for the sake of the disk.
    disk: Disk {
        /// Free space below which publishers are blocked: a fraction of the disk that the data is on, or a size. "auto"
        /// is 2 GiB, or a twentieth of the disk if that is less. 0 is never.
        free_limit: FreeLimit [Restart] = FreeLimit::Auto;
    }
    /// Where data is kept.
    storage: Storage {
        /// Directory of the data. It is created at the start, for its owner alone.
        data_dir: PathBuf [Restart] = PathBuf::from("./data");
        /// When the journal is synced to disk: "always", before a confirm; so often, such as "100ms", with confirms
        /// that do not wait for it; or "never", when the operating system decides.
        sync: Sync [Restart] = Sync::Always;
        /// Bytes after which a new journal file is begun.
        journal_file: Size<LARGEST_JOURNAL_FILE> [Restart] = Size(64 << 20);
        /// Bytes of journal from which on the oldest files are retired. It is more if more is queued.
        journal_budget: Size<LARGEST_JOURNAL> [Restart] = Size(256 << 20);
    }
    /// Who may log in. Users have sections of their own, `[auth.users.NAME]`.
    auth: Auth {
        /// Who is asked about a login, in this order: "internal" is the broker's own users, "oauth2" are
        /// access tokens.
        backends: Vec<BackendKind> [Restart] = vec![BackendKind::Internal];
        /// The user that is made on a data directory without users. Empty is none.
        default_user: String [Restart] = "guest".to_owned();
        /// Its password then. With an empty one nobody logs in.
        default_pass: Secret [Restart] = Secret("guest".to_owned());
        /// The vhost that always exists, and that the default user may open.
        default_vhost: Name [Restart] = Name("/".to_owned());
        /// What these users may do in their vhosts unless permissions were set for them: patterns of the names they may
        /// configure, write to and read from.
        default_permissions: Permissions [Restart] = Permissions::everything();
        /// Users that are refused from any other machine.
        loopback_users: Vec<Name> [Restart] = vec![Name("guest".to_owned())];
        /// How long the answer to a failed login is held back. For one user from one address it doubles with each
        /// failure, up to eight times this. 0 is not at all.
        failed_login_delay: Span<0> [Reload] = Span(Duration::from_secs(1));
        /// What in a client's certificate is the name of its user, for EXTERNAL.
        cert_login_from: CertificateLogin [Reload] = CertificateLogin::DistinguishedName;
        /// The kind of subject alternative name that is meant, if one is.
        cert_login_san_type: AlternativeNameKind [Reload] = AlternativeNameKind::Dns;
        /// Which one of that kind, counted from 0.
        cert_login_san_index: Within<u16, 0, 65_535> [Reload] = Within(0);
        /// How new passwords are hashed: "argon2id"; or "rabbit_sha256" or "rabbit_sha512", as RabbitMQ does.
        password_hash: Scheme [Restart] = Scheme::Argon2id;
        /// Fewest letters of a password that is set while the broker runs.
        min_password_length: Within<u32, 0, 255> [Restart] = Within(0);
    }
    /// Access tokens as passwords (OAuth 2, JWT). The keys they are signed with have tables of their own.
    oauth2: OAuth2 {
        /// The name of this broker in tokens: their audience, and what scopes begin with.
        resource_server_id: String [Reload] = String::new();
        /// Further names of this broker in tokens, each with scopes of its own. A token is for one of them.
        further_resource_servers: Vec<Name> [Reload] = vec![];
        /// The type of rich authorization requests for this broker. Empty reads none.
        resource_server_type: String [Reload] = String::new();
        /// Whether the audience of a token must have the resource server's name.
        verify_aud: bool [Reload] = true;
        /// URL of who issues tokens, which has to be in them. Keys come from where it says, unless jwks_url is set. Empty
        /// is anybody.
        issuer: String [Reload] = String::new();
        /// URL of the key set. Empty is the issuer's.
        jwks_url: String [Reload] = String::new();
        /// What scopes for this broker begin with. It is taken off.
        scope_prefix: String [Reload] = "{resource_server_id}.".to_owned();
        /// Claims with scopes beside "scope", with dots for what is within others.
        additional_scopes_key: Vec<Name> [Reload] = vec![];
        /// Claims with the user's name, best first. Last come "sub" and "client_id".
        preferred_username_claims: Vec<Name> [Reload] = vec![];
        /// Algorithms that signatures may have.
        algorithms: Vec<Algorithm> [Reload] = ALGORITHMS.to_vec();
        /// The key of tokens that name none. Empty is the only key, if there is only one.
        default_key: String [Reload] = String::new();
        /// Whether a token must say when it expires.
        require_exp: bool [Reload] = true;
        /// By how much clocks may differ: tokens are good for so long before and after their time.
        leeway: Span<0> [Reload] = Span(Duration::from_secs(5));
        /// File with certificate authorities of key servers, besides those of the system. Empty is none.
        https_ca_file: Option<PathBuf> [Reload] = None;
        /// How long fetching keys may take.
        timeout: Span<100> [Reload] = Span(Duration::from_secs(5));
        /// How often keys are fetched.
        refresh: Span<1000> [Reload] = Span(Duration::from_secs(10 * 60));
        /// The least time between fetches that tokens with an unknown key cause.
        refresh_min: Span<100> [Reload] = Span(Duration::from_secs(10));
    }
    /// Vhosts.
    vhosts: Vhosts {
        /// Vhosts that exist from the start beside the default one and those of users. The default user may open
        /// them.
        names: Vec<Name> [Restart] = vec![];
        /// Vhosts in which each publish and each delivery is copied to the exchange amq.rabbitmq.trace.
        traced: Vec<Name> [Reload] = vec![];
    }
    /// What the broker tells of itself.
    events: Events {
        /// Whether what happens in the broker is published to the exchange amq.rabbitmq.event of the default vhost.
        exchange: bool [Restart] = true;
    }
    /// Users, vhosts and what is declared in them, from files.
    definitions: Definitions {
        /// A file with definitions (JSON), or a directory of which all files that end in ".json" are taken, in the order of
        /// their names. They are imported at each start. Empty is none.
        load: Option<PathBuf> [Restart] = None;
        /// Whether definitions are left alone that are the same as at the last start.
        skip_if_unchanged: bool [Restart] = false;
    }
    /// What is added to messages that are published.
    interceptors: Interceptors {
        /// The time as header timestamp_in_ms and as property timestamp: "off", "keep" what the publisher says, or
        /// "overwrite" it.
        timestamp: Stamp [Reload] = Stamp::Off;
        /// The cluster's name as header x-routed-by: "off", "keep" what the publisher says, or "overwrite" it.
        routing_node: Stamp [Reload] = Stamp::Off;
    }
    /// The log.
    log: Log {
        /// Least severe level that is logged: off, error, warn, info, debug, trace.
        level: LevelFilter [Reload] = LevelFilter::INFO;
        /// "text", or "json" for one object a line.
        format: LogFormat [Restart] = LogFormat::Text;
        /// File to write to instead of the console. It is opened anew on SIGHUP.
        file: Option<PathBuf> [Restart] = None;
    }
    /// What clients are told about the server.
    product: Product {
        /// The name. Some clients choose their ways by it.
        name: Name [Reload] = Name("Leveret".to_owned());
        /// The version. Empty is the version of this program.
        version: String [Reload] = String::new();
    }
    /// The cluster.
    cluster: Cluster {
        /// Its name, as clients see it. Empty is the name of the machine.
        name: String [Restart] = String::new();
    }
    /// The process.
    server: Server {
        /// Worker threads; 0 is one for each core.
        workers: Within<u32, 0, 1024> [Restart] = Within(0);
        /// Whether a crash may leave the memory of the process, with passwords in it, in a file.
        core_dumps: bool [Restart] = false;
    }
    /// The end.
    shutdown: Shutdown {
        /// How long clients have to answer connection.close.
        grace: Span<0> [Restart] = Span(Duration::from_secs(10));
    }
}
