//! `leveret serve`: from a configuration to a running broker, and to its end.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::logging::Logging;
use super::login_provider::LoginProvider;
use super::reload::Reloader;
use super::signals::{Signals, Wish};
use super::{definitions, process, supervisor};
use crate::broker::Broker;
use crate::broker::node::ProcessFacts;
use crate::config::{Config, Loaded, Sources};
use crate::management::Management;
use crate::management::options::{Handshakes, Stream};
use crate::server::provider::Provider;
use crate::server::tls::Tls;
use crate::server::{Server, clock};
use crate::storage::disk::RealDisk;

/// How long tasks that outlived the server may hold up the exit.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// The directory of `--ephemeral`, which is removed on every way out.
type Ephemeral = Arc<Mutex<Option<TempDir>>>;

/// Runs the broker until a signal ends it.
pub(super) fn serve(
    sources: Sources,
    loaded: Loaded,
    ephemeral: bool,
    started: Instant,
) -> Result<(), Failure> {
    let config = loaded.config();
    let log_file = config.log.file.clone();
    let logging =
        Logging::start(&config.log).map_err(|error| Failure::Log { path: log_file.clone(), error })?;
    let outcome = start(sources, loaded, config, logging, ephemeral, started);
    if let Err(failure) = &outcome
        && log_file.is_some()
    {
        // The console hears of it in any case; a log that is the console would say it twice.
        error!(%failure, "ended by a failure");
    }
    outcome
}

/// Prepares the process and runs the broker in it.
fn start(
    sources: Sources,
    loaded: Loaded,
    mut config: Config,
    logging: Logging,
    ephemeral: bool,
    started: Instant,
) -> Result<(), Failure> {
    log_start(&loaded);
    let directory = make_data_directory(&mut config, ephemeral)?;
    raise_open_files();
    process::warn_of_root();
    process::warn_of_readers_of_secrets(&loaded);
    if !loaded.options.server.core_dumps {
        process::forbid_core_dumps();
    }
    info!(data_dir = %config.data_dir.display(), ephemeral, "data directory");
    info!(bytes = config.server.memory_watermark, "memory watermark");

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("leveret-worker");
    if config.server.workers > 0 {
        builder.worker_threads(config.server.workers);
    }
    let runtime = builder.build().map_err(Failure::Runtime)?;
    let outcome = runtime.block_on(run(sources, loaded, config, logging, Arc::clone(&directory), started));
    runtime.shutdown_timeout(LAST_TASKS);
    remove(&directory);
    outcome
}

async fn run(
    sources: Sources,
    loaded: Loaded,
    config: Config,
    logging: Logging,
    directory: Ephemeral,
    started: Instant,
) -> Result<(), Failure> {
    // Before anything else, so that no signal finds the process without a handler.
    let signals = Signals::listen().map_err(Failure::Signals)?;
    let tls = config.server.tls.clone().map(Tls::load).transpose()?;
    let stop = CancellationToken::new();
    let storage_failure = Arc::new(Mutex::new(None));
    let definitions = config.definitions.load.as_deref().map(definitions::read).transpose()?;
    let mut config = config;
    config.broker.brings_users = definitions.as_ref().is_some_and(definitions::Found::has_users);
    let broker = open_broker(&config, &directory, &stop, &storage_failure)?;
    broker.node.set_process(process_facts(&loaded, &config, directory.lock().is_some()));
    if let Some(found) = definitions {
        found.import(&broker, config.definitions.skip_if_unchanged)?;
    }
    broker.node.set_configuration(loaded.values());
    if let Some(tls) = tls.clone() {
        broker.node.set_certificates(move || tls.certificates());
    }
    let server = Server::bind(config.server, config.session, Arc::clone(&broker), tls.clone())
        .map_err(Failure::Listen)?;
    let for_https = tls.clone().map(handshakes);
    let mut management =
        Management::bind(config.management, Arc::clone(&broker), for_https.as_ref(), clock::now)
            .map_err(Failure::Listen)?;
    if directory.lock().is_none() {
        management.listen_locally(&config.data_dir);
    }
    management.control_log(Arc::new(logging.clone()));
    if let Some(provider) = config.login_provider {
        management.log_in_at(Arc::new(LoginProvider(Provider::new(provider))));
    }
    for (protocol, address) in server.addresses().into_iter().chain(management.addresses()) {
        info!(protocol, address, "listening");
    }
    let reloader = Reloader {
        sources,
        running: loaded,
        logging,
        limits: server.limits(),
        management: management.options(),
        tls,
        broker: Arc::clone(&broker),
    };
    tokio::spawn(obey(signals, reloader, stop.clone(), directory));
    tokio::spawn(supervisor::prove_life(Arc::clone(&broker)));
    // Whoever starts RabbitMQ in a container waits for these words of its log.
    info!(milliseconds = millis(started.elapsed()), as_rabbitmq = "Server startup complete", "ready");
    supervisor::ready();
    let managing = tokio::spawn(management.run(stop.clone()));
    server.run(stop).await;
    // It only ends early by a panic, which the hook has logged.
    let _ = managing.await;
    broker.close();
    if let Some(error) = storage_failure.lock().take() {
        return Err(Failure::StorageFailed(error));
    }
    info!("stopped");
    Ok(())
}

/// What is shown of the process.
fn process_facts(loaded: &Loaded, config: &Config, ephemeral: bool) -> ProcessFacts {
    ProcessFacts {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: env!("BUILD_COMMIT").to_owned(),
        compiler: env!("BUILD_RUSTC").to_owned(),
        data_dir: (!ephemeral).then(|| config.data_dir.clone()),
        config_file: loaded.file.clone(),
        log_file: config.log.file.clone(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        open_files_limit: getrlimit(Resource::Nofile).current,
        memory_limit: config.server.memory_watermark,
    }
}

/// What shakes hands for HTTPS.
fn handshakes(tls: Arc<Tls>) -> Handshakes {
    Arc::new(move |stream, peer, deadline| {
        let tls = Arc::clone(&tls);
        Box::pin(async move {
            let accepted = tls.accept_https(stream, &peer.to_string(), deadline).await;
            accepted.map(|stream| Box::new(stream) as Box<dyn Stream>)
        })
    })
}

/// The broker on its data directory; on a temporary one it keeps everything in memory.
fn open_broker(
    config: &Config,
    directory: &Ephemeral,
    stop: &CancellationToken,
    failure: &Arc<Mutex<Option<String>>>,
) -> Result<Arc<Broker>, Failure> {
    if directory.lock().is_some() {
        return Broker::ephemeral(config.broker.clone()).map_err(Failure::Runtime);
    }
    let failed = |error| Failure::Storage { path: config.data_dir.clone(), error };
    let disk = RealDisk::open(&config.data_dir).map_err(failed)?;
    let (stop, failure) = (stop.clone(), Arc::clone(failure));
    let on_failure = move |error: &io::Error| {
        *failure.lock() = Some(error.to_string());
        stop.cancel();
    };
    Broker::open(config.broker.clone(), Arc::new(disk), config.journal, on_failure).map_err(failed)
}

/// Does what signals ask for, until the process ends.
async fn obey(mut signals: Signals, mut reloader: Reloader, stop: CancellationToken, directory: Ephemeral) {
    loop {
        match signals.next().await {
            Wish::Reload => {
                supervisor::reloading();
                reloader.reload();
                supervisor::ready();
            }
            Wish::Stop(signal) if stop.is_cancelled() => {
                warn!(signal = signal.name(), "stopping at once");
                remove(&directory);
                std::process::exit(signal.exit_code());
            }
            Wish::Stop(signal) => {
                info!(signal = signal.name(), "stopping");
                supervisor::stopping();
                stop.cancel();
            }
        }
    }
}

fn log_start(loaded: &Loaded) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("BUILD_COMMIT"),
        rustc = env!("BUILD_RUSTC"),
        pid = std::process::id(),
        "Leveret starts"
    );
    if let Some(path) = &loaded.file {
        info!(file = %path.display(), "configuration");
    }
    for note in &loaded.notes {
        info!("{note}");
    }
}

/// Creates the data directory, or a temporary one in its place.
fn make_data_directory(config: &mut Config, ephemeral: bool) -> Result<Ephemeral, Failure> {
    let failed = |path: &Path, error| Failure::DataDirectory { path: path.to_path_buf(), error };
    if !ephemeral {
        let path = &config.data_dir;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed(path, error))?;
        process::warn_of_readers(path);
        return Ok(Ephemeral::default());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix("leveret-").permissions(std::fs::Permissions::from_mode(0o700));
    let directory = builder.tempdir().map_err(|error| failed(&std::env::temp_dir(), error))?;
    directory.path().clone_into(&mut config.data_dir);
    Ok(Arc::new(Mutex::new(Some(directory))))
}

/// Removes the temporary directory, if there is one and it is still there.
fn remove(directory: &Ephemeral) {
    let Some(directory) = directory.lock().take() else { return };
    let path = directory.path().to_path_buf();
    if let Err(error) = directory.close() {
        warn!(path = %path.display(), %error, "the temporary directory could not be removed");
    }
}

/// Every connection takes a file descriptor, and the usual soft limit of 1024 is a matter of `select`, which nothing
/// here uses. The hard limit is what the administrator meant.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    match raised.map_err(io::Error::from) {
        Ok(()) => info!(limit = shown(maximum), "open files"),
        Err(error) => warn!(limit = shown(current), %error, "the limit of open files cannot be raised"),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
