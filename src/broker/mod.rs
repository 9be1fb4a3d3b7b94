//! The state all connections share: vhosts with their exchanges and queues, users, connections, alarms.
//!
//! Every durable change passes through here and into the journal. Locks are taken in the order of
//! [`Rank`](crate::lock::Rank); nothing here waits or knows a socket.

pub mod agenda;
pub mod alarms;
mod backup;
pub mod checkpoint;
pub mod churn;
pub mod connections;
pub mod counter;
pub mod definitions;
pub mod events;
pub mod exchange_counts;
pub mod globals;
pub mod key_ring;
pub mod limits;
pub mod login;
pub mod masking;
pub mod names;
pub mod node;
pub mod options;
pub mod outlet;
pub mod parameters;
pub mod permissions;
pub mod policies;
pub mod publishing;
pub mod queue_cell;
pub mod registry;
pub mod sources;
mod spill;
pub mod stamps;
pub mod statistics;
mod storage;
pub mod strangers;
pub mod thresholds;
pub mod totals;
pub mod transaction;
pub mod users;
pub mod vhost;
pub mod vhosts;
pub mod views;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use crate::broker::alarms::Alarms;
use crate::broker::churn::{Churn, LoginAttempts};
use crate::broker::events::{Event, Events};
use crate::broker::globals::Globals;
use crate::broker::limits::{ConnectionSeat, NodeLimits, NodeOptions, VHostLimits};
use crate::broker::login::Logins;
use crate::broker::names::Names;
use crate::broker::node::Node;
use crate::broker::options::{BrokerOptions, UserOptions};
use crate::broker::parameters::GlobalParameters;
use crate::broker::registry::Registry;
use crate::broker::statistics::Statistics;
use crate::broker::storage::Storage;
use crate::broker::strangers::Strangers;
use crate::broker::thresholds::Thresholds;
use crate::broker::totals::AllTotals;
use crate::broker::users::{Start, User, UserError, Users};
use crate::broker::vhost::{Shared, VHost};
use crate::broker::vhosts::VHosts;
use crate::channel::gates::Gate;
use crate::ids::ConnectionId;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::storage::bodies::Bodies;
use crate::storage::disk::Disk;
use crate::storage::image::{GLOBAL, Image, VHOST};
use crate::storage::journal::Journal;
use crate::storage::options::JournalOptions;
use crate::storage::room::Room;
use crate::storage::segments::SegmentsUsage;
use crate::time::Clock;
use crate::workers::{OnPanic, Workers};

/// What a broker is made with beside options and what is on its disk.
#[derive(Debug, Default)]
struct Kept {
    /// Makes its generated names repeat.
    seed: Option<u64>,
    storage: Option<Storage>,
}

/// A broker.
#[derive(Debug)]
pub struct Broker {
    /// The name in the configuration, which messages and traces have. See [`cluster_name`](Self::cluster_name) for that
    /// of the cluster.
    pub node_name: String,
    /// The facts of this node.
    pub node: Node,
    /// Who there is.
    pub users: Arc<Users>,
    /// Who checks credentials.
    pub logins: Logins,
    /// Open connections.
    pub registry: Registry,
    /// Log lines about clients that have not logged in.
    pub strangers: Strangers,
    /// What blocks publishers.
    pub alarms: Alarms,
    /// From where on it does.
    pub thresholds: Thresholds,
    /// What happens, for whoever wants to know.
    pub events: Arc<Events>,
    /// Generated names.
    pub names: Names,
    /// How often somebody tried to log in.
    pub login_attempts: LoginAttempts,
    /// What was counted in all vhosts.
    pub totals: Arc<AllTotals>,
    /// Rates and the recent past.
    pub statistics: Statistics,
    /// How many channels, queues and exchanges there are, and may be.
    pub limits: Arc<NodeLimits>,
    /// Where durable changes go.
    pub journal: Arc<Journal>,
    bodies: Arc<Bodies>,
    globals: Arc<Globals>,
    global_parameters: GlobalParameters,
    vhosts: VHosts,
    /// The last number given to a queue.
    last_queue: Arc<AtomicU64>,
    storage: Option<Storage>,
    clock: Clock,
}

impl Broker {
    /// A broker that keeps everything in memory.
    #[must_use]
    pub fn new(options: BrokerOptions) -> Arc<Self> {
        Self::with_journal(options, Journal::in_memory(), None)
    }

    /// A broker on a given journal that keeps nothing; `seed` makes its generated names repeat.
    #[must_use]
    pub fn with_journal(options: BrokerOptions, journal: Journal, seed: Option<u64>) -> Arc<Self> {
        let bodies = Bodies::in_memory(Arc::new(journal));
        Self::restored(options, bodies, Image::default(), None, Kept { seed, storage: None })
    }

    /// As [`new`](Self::new), with threads for logins as the options say.
    ///
    /// # Errors
    /// If the operating system has no more threads.
    pub fn ephemeral(options: BrokerOptions) -> io::Result<Arc<Self>> {
        let bodies = Bodies::in_memory(Arc::new(Journal::in_memory()));
        let threads = login_threads(&options)?;
        Ok(Self::restored(options, bodies, Image::default(), threads, Kept::default()))
    }

    /// A broker that keeps what is durable on `disk`, with what is there. `failed` is called once if storage cannot
    /// go on; the process is to end then.
    ///
    /// # Errors
    /// If another process uses the directory, the disk fails, or something that was durable is damaged.
    pub fn open(
        options: BrokerOptions,
        disk: Arc<dyn Disk>,
        journal: JournalOptions,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let (storage, journal, image) = Storage::open(disk, journal, failed)?;
        let bodies = Bodies::on_disk(Arc::new(journal), storage.segments.clone())?;
        let threads = login_threads(&options)?;
        Ok(Self::restored(options, bodies, image, threads, Kept { seed: None, storage: Some(storage) }))
    }

    fn restored(
        options: BrokerOptions,
        bodies: Bodies,
        mut image: Image,
        threads: Option<Workers>,
        kept: Kept,
    ) -> Arc<Self> {
        let bodies = Arc::new(bodies);
        let last_queue = Arc::new(AtomicU64::new(image.last_queue()));
        let globals = Arc::new(Globals::restored(bodies.clone(), image.take(GLOBAL).parameters));
        let home = options.vhosts.first().map_or("", String::as_str);
        let events = Events::new(&options.node_name, home, options.events, options.clock.clone());
        let events = Arc::new(events);
        let Start { users, pending, is_first } =
            users::restored(globals.clone(), &options, events.clone(), kept.seed);
        let users = Arc::new(users);
        let known_vhosts = globals.all(VHOST);
        let logins = Logins::new(&options, &users, threads);
        let shared = Shared {
            bodies: bodies.clone(),
            last_queue: last_queue.clone(),
            node: Arc::new(NodeLimits::new(options.node)),
            operators: options.operators.into(),
            default_limits: options.vhost_limits,
            redefinitions: Arc::default(),
            events: events.clone(),
            totals: Arc::default(),
        };
        let (node, totals) = (shared.node.clone(), shared.totals.clone());
        let clock = options.clock.clone();
        let facts = Node::new(options.node_name, options.clock.unix_ms());
        let vhosts = VHosts::restored(globals.clone(), image, shared, options.clock, &options.vhosts);
        let names = Names::new(kept.seed);
        let broker = Arc::new(Self {
            logins,
            users,
            registry: Registry::new(
                options.max_connections,
                options.max_handshakes,
                options.max_handshakes_per_source,
            ),
            strangers: Strangers::default(),
            events,
            alarms: Alarms::new(bodies.journal.room().map(Room::alarm).unwrap_or_default()),
            global_parameters: GlobalParameters::restored(&globals, &names, &options.cluster_name),
            thresholds: Thresholds::default(),
            names,
            login_attempts: LoginAttempts::default(),
            totals,
            statistics: Statistics::new(options.statistics),
            globals,
            vhosts,
            limits: node,
            node: facts,
            last_queue,
            node_name: options.cluster_name,
            journal: bodies.journal.clone(),
            bodies,
            storage: kept.storage,
            clock,
        });
        broker.set_traced(&options.traced);
        for vhost in broker.vhosts.all().values() {
            let is_new = known_vhosts.iter().all(|(name, _)| *name != vhost.name);
            // The default user is an operator's like any other once there have been users.
            let counts = |user: &&UserOptions| {
                !user.only_first || is_first || (is_new && broker.users.find(&user.name).is_some())
            };
            // Before the vhost is locked: users come before it.
            let counted: Vec<&UserOptions> = options.users.iter().filter(counts).collect();
            vhost.give_permissions(counted, &options.default_permissions);
        }
        for pending in pending {
            let users = broker.users.clone();
            broker.logins.submit(move || users.settle(pending));
        }
        broker
    }

    /// Has these vhosts traced, and no others.
    pub fn set_traced(&self, names: &[String]) {
        let vhosts = self.vhosts.all();
        vhosts.values().for_each(|vhost| vhost.set_traced(names.contains(&vhost.name)));
        for name in names.iter().filter(|name| !vhosts.contains_key(*name)) {
            tracing::warn!(vhost = ?name, "a vhost that is to be traced does not exist");
        }
    }

    fn last_queue(&self) -> u64 {
        self.last_queue.load(Ordering::Relaxed)
    }

    /// What segment files take; nothing without a disk.
    #[must_use]
    pub fn segments_usage(&self) -> SegmentsUsage {
        self.bodies.segments().map(|segments| segments.usage()).unwrap_or_default()
    }

    /// Whether the disk takes nothing, mostly for want of room: the journal waits, or the last checkpoint was given up.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.journal.is_full() || self.storage.as_ref().is_some_and(Storage::is_full)
    }

    /// The vhost that `user` wants to open.
    ///
    /// # Errors
    /// 530 if there is none of that name, or the user may not open it.
    pub fn open_vhost(&self, name: &str, user: &User) -> Result<Arc<VHost>, AmqpError> {
        let Some(vhost) = self.vhosts.get(name) else {
            return Err(AmqpError::new(ReplyCode::NotAllowed, format!("vhost {name} not found")));
        };
        let is_admitted = match user.token() {
            Some(vouched) => vouched.token.access(name).is_some(),
            None => vhost.admits(&user.name),
        };
        if !is_admitted {
            let text = format!("access to vhost '{name}' refused for user '{}'", user.name);
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        Ok(vhost)
    }

    /// Opens a vhost for one more connection, which has its place in it until the seat is dropped.
    ///
    /// # Errors
    /// 530 if the vhost or the user has as many connections as they may, or as [`open_vhost`](Self::open_vhost); 320 if
    /// one of them is deleted right now.
    pub fn admit(
        &self,
        id: ConnectionId,
        name: &str,
        user: &Arc<User>,
    ) -> Result<(Arc<VHost>, ConnectionSeat), AmqpError> {
        let seat = ConnectionSeat::take(user, name, self.vhosts.get(name).as_ref())?;
        let vhost = self.open_vhost(name, user)?;
        self.registry.note_party(id, user, &vhost);
        if user.is_deleted() {
            return Err(deleted(user));
        }
        if vhost.is_deleted() {
            return Err(vhost.deleted_error());
        }
        Ok((vhost, seat))
    }

    /// Deletes a user with all permissions and closes their connections. The gate opens when it is durable.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn delete_user(&self, name: &str, by: &str) -> Result<Gate, UserError> {
        let _events = self.events.after();
        let forget = || self.vhosts.all().values().for_each(|vhost| vhost.forget_user(name));
        let (user, gate) = self.users.remove(name, forget, by)?;
        self.registry.close_where(&deleted(&user), |of, _| Arc::ptr_eq(of, &user));
        Ok(gate)
    }

    /// The vhost of this name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.get(name)
    }

    /// The names of all vhosts, sorted.
    #[must_use]
    pub fn vhost_names(&self) -> Vec<String> {
        self.vhosts.all().keys().cloned().collect()
    }

    /// How much there may be of channels, queues, exchanges, vhosts and bindings, and in vhosts for which nothing was set, from now on.
    pub fn set_limits(&self, node: NodeOptions, vhosts: VHostLimits) {
        self.limits.set(node);
        self.vhosts.set_default_limits(vhosts);
    }

    /// Names the task that calls [`look_at_due`](Self::look_at_due).
    pub fn register_agendas(&self, waker: &Waker) {
        self.vhosts.register_agendas(waker);
    }

    /// Does what queues want to have done by now. Returns how long nothing more is known to be done, if anything ever is;
    /// nothing may come earlier than the task that [was named](Self::register_agendas) is woken for.
    pub fn look_at_due(&self) -> Option<Duration> {
        self.vhosts.all().values().filter_map(|vhost| vhost.look_at_due()).min().map(Duration::from_millis)
    }

    /// Most connections at a time, most in their handshake, and most of these from one source, from now on; 0 is no
    /// limit.
    pub fn set_max_connections(&self, limit: u32, handshakes: u32, from_one_source: u32) {
        self.registry.set_limit(limit);
        self.registry.set_handshake_limit(handshakes);
        self.registry.set_source_limit(from_one_source);
    }

    /// How often connections, channels and queues came and went since the start.
    #[must_use]
    pub fn churn(&self) -> Churn {
        let (connections_opened, connections_closed) = self.registry.churn();
        let NodeLimits { channels, queues, queues_declared, .. } = &*self.limits;
        Churn {
            connections_opened,
            connections_closed,
            channels_opened: channels.taken(),
            channels_closed: channels.given_back(),
            queues_declared: queues_declared.get(),
            queues_created: queues.taken(),
            queues_deleted: queues.given_back(),
        }
    }

    /// About how many bytes of memory all queued messages take.
    #[must_use]
    pub fn message_memory(&self) -> u64 {
        let vhosts = self.vhosts.all();
        let queues = vhosts.values().flat_map(|vhost| vhost.queues());
        queues.map(|cell| cell.memory()).sum()
    }

    /// Turns the memory alarm on or off. Returns whether that changed it.
    pub fn set_memory_alarm(&self, on: bool) -> bool {
        let changed = self.alarms.set_memory(on);
        if changed {
            self.events.tell(|| Event::alarm("memory", on, self.events.node()));
        }
        self.wake_all_if(changed);
        changed
    }

    /// Turns the disk alarm on or off. Returns whether that changed it.
    pub fn set_disk_alarm(&self, on: bool) -> bool {
        let changed = self.alarms.set_disk(on);
        if self.alarms.note_disk(on) {
            self.events.tell(|| Event::alarm("disk", on, self.events.node()));
        }
        self.wake_all_if(changed);
        if changed && !on {
            self.vhosts.all().values().for_each(|vhost| vhost.wake_agenda());
        }
        changed
    }

    /// Has all connections look at what their users may do, after permissions have changed. Operations notice it
    /// themselves; this is for consumers, of which some may have to end.
    pub fn recheck_access(&self) {
        self.wake_all_if(true);
    }

    fn wake_all_if(&self, changed: bool) {
        if changed {
            for outlet in self.registry.outlets() {
                outlet.wake();
            }
        }
    }

    /// Ends it once nobody uses it any more: what is to be stored is, and nothing is after that. Blocks for a moment.
    pub fn close(&self) {
        // The hash of a password from the configuration may still be in the making.
        self.logins.finish();
        self.journal.close();
    }

    /// Asks every connection to close with `reason`.
    pub fn close_all(&self, reason: &AmqpError) {
        for outlet in self.registry.outlets() {
            outlet.request_close(reason.clone());
        }
    }
}

fn login_threads(options: &BrokerOptions) -> io::Result<Option<Workers>> {
    (options.login_threads > 0)
        .then(|| Workers::start("login", options.login_threads, OnPanic::GoOn))
        .transpose()
}

/// What the connections of a deleted user are closed with.
fn deleted(user: &User) -> AmqpError {
    AmqpError::new(ReplyCode::ConnectionForced, format!("user '{}' is deleted", user.name))
}
