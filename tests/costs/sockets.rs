//! Allocations and memory of connections over real sockets: the server runs on the thread of the test, so that what it
//! allocates is told apart from what the clients do on theirs.

use allocation_counter::{AllocationInfo, measure};
use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::server::Server;
use leveret::server::options::ServerOptions;
use leveret::session::limits::SessionLimits;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::paths::{BATCH, Content, delivery, publishes};
use crate::wire_client::WireClient;

/// A server that makes progress while a client is [with](Self::with) it.
struct Served {
    runtime: Runtime,
    address: String,
}

impl Served {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let within = runtime.enter();
        let options = ServerOptions { listen: vec![([127, 0, 0, 1], 0).into()], ..Default::default() };
        let broker = Broker::new(BrokerOptions::default());
        let server = Server::bind(options, SessionLimits::default(), broker, None).expect("a port");
        let address = server.addresses().remove(0).1;
        runtime.spawn(server.run(CancellationToken::new()));
        drop(within);
        Self { runtime, address }
    }

    /// Serves until `client`, on a thread of its own, is done. What the server allocated meanwhile.
    fn with<T: Send>(&self, client: impl FnOnce(&str) -> T + Send) -> (AllocationInfo, T) {
        let (done, until) = tokio::sync::oneshot::channel::<()>();
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                // A client that fails drops it too.
                let _done = done;
                client(&self.address)
            });
            let counted = measure(|| {
                // It is never sent, only dropped.
                let _ = self.runtime.block_on(until);
            });
            (counted, client.join().expect("the client is done"))
        })
    }
}

fn tell(name: &str, counted: &AllocationInfo, messages: usize) -> f64 {
    let per_thousand = counted.count_total as f64 * 1000.0 / messages as f64;
    println!("over sockets, {name}: {per_thousand:.2} allocations for 1000 messages");
    per_thousand
}

#[test]
fn a_message_over_sockets() {
    let served = Served::start();
    let content = Content::plain("");
    let keys = ["q".to_owned()];
    let (batch, deliveries) = (publishes(&content, &keys), BATCH * delivery(&content, "q").len());
    let (_, (mut publisher, mut consumer)) = served.with(|address| {
        let (publisher, mut consumer) = (WireClient::connect(address), WireClient::connect(address));
        consumer.declare("q");
        consumer.consume("q");
        (publisher, consumer)
    });
    let mut send = |batches: usize| {
        let counted = served.with(|_| {
            for _ in 0..batches {
                publisher.write(&batch);
                consumer.skip(deliveries);
            }
        });
        counted.0
    };
    send(10);
    let per_thousand = tell("direct 16", &send(20), 20 * BATCH);
    assert!((1000.0..1030.0).contains(&per_thousand), "{per_thousand} allocations for 1000 messages");
}

#[test]
fn a_confirmed_message_over_sockets() {
    let served = Served::start();
    let batch = publishes(&Content::plain(""), &["nowhere".to_owned()]);
    let (_, mut publisher) = served.with(|address| {
        let mut publisher = WireClient::connect(address);
        publisher.select();
        publisher
    });
    let mut last = 0;
    let mut send = |batches: usize| {
        let counted = served.with(|_| {
            for _ in 0..batches {
                publisher.write(&batch);
                last += BATCH as u64;
                publisher.wait_for_confirm(last);
            }
        });
        counted.0
    };
    send(10);
    // Nothing is routed, so nothing is kept; but the message is made before that is known.
    let per_thousand = tell("confirmed, unroutable", &send(20), 20 * BATCH);
    assert!(per_thousand < 1020.0, "{per_thousand} allocations for 1000 messages");
}

/// What the broker keeps for a connection with a channel that does nothing, all but what the operating system does.
#[test]
fn an_idle_connection() {
    const CONNECTIONS: usize = 200;
    let served = Served::start();
    let connect = |address: &str| WireClient::connect(address);
    let (_, _first) = served.with(connect);
    let (counted, _clients) =
        served.with(|address| (0..CONNECTIONS).map(|_| connect(address)).collect::<Vec<_>>());
    let each = counted.bytes_current / CONNECTIONS as i64;
    println!(
        "over sockets, idle connection with a channel: {each} bytes in {} allocations",
        counted.count_current / CONNECTIONS as i64
    );
    assert!(each < 5 * 1024, "{each} bytes");
}
