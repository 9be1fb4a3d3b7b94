//! What the options mean: the structs of the layers below, filled.

use super::options::{Options, UserEntry};
use super::setting::{Name, Verify, Watermark};
use super::{Config, DefinitionsOptions, Loaded, LogOptions, Machine};
use crate::broker::limits::{NodeOptions, VHostLimits};
use crate::broker::options::{BrokerOptions, PasswordOptions, UserOptions};
use crate::broker::stamps::Stamps;
use crate::broker::statistics::StatisticsOptions;
use crate::identity::tags::{Tag, Tags};
use crate::management::options::{ManagementOptions, PrometheusOptions};
use crate::server::clock::unix_ms;
use crate::server::options::ServerOptions;
use crate::server::tls::{ClientCertificates, Identity, TlsOptions};
use crate::server::websocket::upgrade::Origins;
use crate::session::limits::SessionLimits;
use crate::storage::options::JournalOptions;
use crate::time::Clock;

/// Threads that check credentials. Each of them may use a core, and 9 MiB.
const LOGIN_THREADS: usize = 2;

impl Loaded {
    /// What is meant by the options.
    #[must_use]
    pub fn config(&self) -> Config {
        let options = self.options.resolved(&self.machine);
        Config {
            broker: broker_options(&options, &self.machine),
            server: server_options(&options, &self.machine),
            management: management_options(&options),
            login_provider: options.login_provider(),
            session: session_limits(&options),
            log: LogOptions {
                level: options.log.level,
                format: options.log.format,
                file: options.log.file.clone(),
            },
            journal: JournalOptions {
                sync: options.storage.sync,
                file_size: options.storage.journal_file.0,
                budget: options.storage.journal_budget.0,
            },
            definitions: DefinitionsOptions {
                load: options.definitions.load.clone(),
                skip_if_unchanged: options.definitions.skip_if_unchanged,
            },
            data_dir: options.storage.data_dir,
        }
    }
}

impl Options {
    /// The same with names filled in that are taken from the machine or the program when empty.
    pub(super) fn resolved(&self, machine: &Machine) -> Self {
        let mut options = self.clone();
        if options.cluster.name.is_empty() {
            options.cluster.name.clone_from(&machine.host_name);
        }
        if options.product.version.is_empty() {
            env!("CARGO_PKG_VERSION").clone_into(&mut options.product.version);
        }
        options
    }
}

fn broker_options(options: &Options, machine: &Machine) -> BrokerOptions {
    let auth = &options.auth;
    let of_default = std::iter::once(&auth.default_vhost).chain(&options.vhosts.names);
    let mut vhosts = Vec::new();
    let mut users = Vec::new();
    push_new(&mut vhosts, of_default.clone());
    // A section for the default user says more than its two options, so it takes their place.
    if !auth.default_user.is_empty() && !options.users.contains_key(&auth.default_user) {
        let tags = Tags::parse([Tag::Administrator.name()]).ok();
        let entry = UserEntry { password: Some(auth.default_pass.clone()), tags, ..UserEntry::default() };
        let first = user_options(&auth.default_user, &entry, vhosts.clone());
        users.push(UserOptions { only_first: true, ..first });
    }
    for (name, entry) in &options.users {
        let mut own = Vec::new();
        match &entry.vhosts {
            Some(names) => push_new(&mut own, names),
            None => push_new(&mut own, [&auth.default_vhost]),
        }
        push_new(&mut vhosts, entry.vhosts.iter().flatten());
        users.push(user_options(name, entry, own));
    }
    let limits = &options.limits;
    let default_limits = &options.default_vhost_limits;
    let places = places(options, machine);
    BrokerOptions {
        cluster_name: options.cluster.name.clone(),
        node_name: format!("leveret@{}", machine.host_name),
        vhosts,
        users,
        default_permissions: auth.default_permissions.clone(),
        loopback_users: auth.loopback_users.iter().map(|name| name.0.clone()).collect(),
        passwords: PasswordOptions {
            scheme: auth.password_hash,
            min_length: auth.min_password_length.0 as usize,
        },
        backends: auth.backends.clone(),
        tokens: options.token_options(),
        login_threads: LOGIN_THREADS,
        max_connections: places.connections,
        max_handshakes: places.handshakes,
        max_handshakes_per_source: limits.handshakes_per_address.0,
        node: NodeOptions {
            channels: limits.channels.0,
            queues: limits.queues.0,
            exchanges: limits.exchanges.0,
            vhosts: limits.vhosts.0,
            bindings_per_queue: limits.bindings_per_queue.0,
        },
        vhost_limits: VHostLimits {
            max_connections: default_limits.max_connections.0.map(i64::from),
            max_queues: default_limits.max_queues.0.map(i64::from),
        },
        // They were checked as they were loaded.
        operators: options.operators.iter().filter_map(|(name, entry)| entry.operator(name).ok()).collect(),
        traced: options.vhosts.traced.iter().map(|name| name.0.clone()).collect(),
        events: options.events.exchange,
        statistics: StatisticsOptions { interval: options.stats.interval.0, ..StatisticsOptions::default() },
        clock: Clock::Read(unix_ms),
        brings_users: false,
    }
}

/// Files that the process opens beside connections: the data, the log, listeners.
const OTHER_FILES: u64 = 256;

/// How many connections there may be. Each takes a file, and one for which none is left could be the journal's.
struct Places {
    /// Past their handshake; 0 is any number.
    connections: u32,
    /// In it; 0 is any number.
    handshakes: u32,
}

fn places(options: &Options, machine: &Machine) -> Places {
    let (connections, handshakes) = (options.limits.connections.0, options.limits.handshakes.0);
    match machine.open_files {
        Some(files) if connections == 0 => {
            let files = u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX).max(2);
            let half = files / 2;
            let handshakes = if handshakes == 0 { half } else { handshakes.min(half) };
            Places { connections: files - handshakes, handshakes }
        }
        _ => Places { connections, handshakes },
    }
}

/// What is to be said if the process may not have as many files open as its connections would need.
pub(super) fn note_on_files(options: &Options, machine: &Machine) -> Option<String> {
    let files = machine.open_files?;
    let set = &options.limits;
    let (connections, handshakes) = (u64::from(set.connections.0), u64::from(set.handshakes.0));
    if connections == 0 {
        let may = u64::from(places(options, machine).handshakes);
        return (may < handshakes).then(|| {
            format!("limits.handshakes is {may} instead of {handshakes}: only {files} files may be open")
        });
    }
    let all = connections + handshakes + OTHER_FILES;
    (all > files).then(|| {
        format!(
            "limits.connections and limits.handshakes may need {all} open files, and only {files} may be open"
        )
    })
}

fn user_options(name: &str, entry: &UserEntry, vhosts: Vec<String>) -> UserOptions {
    UserOptions {
        name: name.to_owned(),
        password: entry.password.as_ref().map_or_else(String::new, |password| password.0.clone()),
        vhosts,
        tags: entry.tags.clone(),
        max_connections: entry.max_connections.map(|limit| limit.0),
        max_channels: entry.max_channels.map(|limit| limit.0),
        only_first: false,
    }
}

/// Adds the names that are not there yet, in their order.
fn push_new<'a>(list: &mut Vec<String>, names: impl IntoIterator<Item = &'a Name>) {
    for Name(name) in names {
        if !list.contains(name) {
            list.push(name.clone());
        }
    }
}

fn server_options(options: &Options, machine: &Machine) -> ServerOptions {
    let listen = &options.listen;
    ServerOptions {
        listen: options.listen.amqp.clone(),
        listen_tls: options.listen.amqps.0.clone(),
        tls: tls_options(options),
        listen_websocket: listen.websocket.0.clone(),
        listen_websocket_tls: listen.websocket_tls.0.clone(),
        listen_unix: listen.unix.clone().map(|path| (path, listen.unix_mode.0)),
        proxies: listen.proxy_protocol.clone(),
        origins: Origins(options.websocket.origins.iter().map(|origin| origin.0.clone()).collect()),
        backlog: options.listen.backlog.0,
        nodelay: options.listen.nodelay,
        keepalive: options.listen.keepalive,
        user_timeout: options.listen.user_timeout.0,
        write_timeout: options.listen.write_timeout.0,
        shutdown_grace: options.shutdown.grace.0,
        workers: usize::try_from(options.server.workers.0).unwrap_or(0),
        memory_watermark: watermark(options.memory.high_watermark, machine),
        machine_memory: machine.memory,
        memory_check_interval: options.memory.check_interval.0,
        message_budget: watermark(options.memory.messages, machine),
        free_limit: options.disk.free_limit,
        keys: options.key_source(),
    }
}

fn management_options(options: &Options) -> ManagementOptions {
    let http = &options.http;
    ManagementOptions {
        listen: http.listen.0.clone(),
        listen_tls: http.listen_tls.0.clone(),
        path_prefix: http.path_prefix.0.clone(),
        max_body: usize::try_from(http.max_body.0).unwrap_or(usize::MAX),
        max_message_size: options.amqp.max_message_size.0,
        stamps: Stamps { time: options.interceptors.timestamp, node: options.interceptors.routing_node },
        max_connections: http.max_connections.0,
        session_timeout: http.session_timeout.0,
        allow_origins: options.http_cors.allow_origins.iter().map(|origin| origin.0.clone()).collect(),
        cors_max_age: options.http_cors.max_age.0,
        code_flow: options.code_flow(),
        failed_login_delay: options.auth.failed_login_delay.0,
        product_name: options.product.name.0.clone(),
        product_version: options.product.version.clone(),
        mechanisms: options.amqp.mechanisms.iter().map(|mechanism| mechanism.name()).collect(),
        rabbitmq_version: options.compat.rabbitmq_version.0.clone(),
        prometheus: PrometheusOptions {
            listen: options.prometheus.listen.0.clone(),
            path: options.prometheus.path.0.clone(),
            per_object: options.prometheus.per_object,
            auth: options.prometheus.auth,
        },
    }
}

/// The rules of TLS, if there is a certificate.
fn tls_options(options: &Options) -> Option<TlsOptions> {
    let tls = &options.tls;
    let identity = Identity { cert: tls.cert.clone()?, key: tls.key.clone()?, chain: tls.chain.clone() };
    let hosts = options.hosts.iter().filter_map(|(host, entry)| Some((host.clone(), entry.identity()?)));
    Some(TlsOptions {
        identity,
        hosts: hosts.collect(),
        authorities: tls.ca.clone(),
        revoked: tls.crl.clone(),
        client_certificates: match (tls.verify, tls.fail_if_no_peer_cert) {
            (Verify::None, _) => ClientCertificates::Ignored,
            (Verify::Peer, false) => ClientCertificates::Optional,
            (Verify::Peer, true) => ClientCertificates::Required,
        },
        versions: tls.versions.clone(),
        ciphers: tls.ciphers.clone(),
        honor_cipher_order: tls.honor_cipher_order,
        check_interval: tls.check_interval.0,
    })
}

/// A watermark in bytes. A fraction of an unknown amount is 0, which is never.
fn watermark(watermark: Watermark, machine: &Machine) -> u64 {
    match watermark {
        Watermark::Absolute(bytes) => bytes,
        // A fraction of the memory need not be exact, and a part of a u64 is one.
        Watermark::Fraction(part) => (machine.memory.unwrap_or(0) as f64 * part) as u64,
    }
}

fn session_limits(options: &Options) -> SessionLimits {
    let amqp = &options.amqp;
    SessionLimits {
        heartbeat: amqp.heartbeat.0,
        frame_max: amqp.frame_max.0,
        initial_frame_max: amqp.initial_frame_max.0,
        channel_max: amqp.channel_max.0,
        handshake_timeout: amqp.handshake_timeout.0,
        max_message_size: amqp.max_message_size.0,
        default_prefetch: amqp.default_prefetch.0,
        consumers_per_channel: options.limits.consumers_per_channel.0,
        unacked_per_channel: options.limits.unacked_per_channel.0,
        consumer_timeout: amqp.consumer_timeout.0,
        failed_login_delay: options.auth.failed_login_delay.0,
        mechanisms: amqp.mechanisms.clone(),
        certificate_login: options.auth.cert_login_from,
        certificate_name_kind: options.auth.cert_login_san_type,
        certificate_name_index: options.auth.cert_login_san_index.0,
        stamp_time: options.interceptors.timestamp,
        stamp_node: options.interceptors.routing_node,
        product: options.product.name.0.clone(),
        version: options.product.version.clone(),
    }
}
