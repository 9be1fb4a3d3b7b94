//! A client without a socket: a session that is driven by hand.

use std::sync::Arc;
use std::time::Duration;

use leveret::broker::Broker;
use leveret::protocol::PROTOCOL_HEADER;
use leveret::protocol::field::TableRef;
use leveret::protocol::method::{channel, connection, write_method};
use leveret::session::limits::SessionLimits;
use leveret::session::{Peer, Session};
use leveret::time::Now;

/// When everything happens.
pub const NOW: Now = Now::at(1000);

/// A session past its handshake, with channel 1 open.
pub fn open(broker: &Arc<Broker>) -> Session {
    let limits = Arc::new(SessionLimits::default());
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let mut session = Session::new(broker.clone(), limits, peer, Duration::from_secs(30), NOW);
    let mut bytes = PROTOCOL_HEADER.to_vec();
    let start_ok = connection::StartOk {
        client_properties: TableRef::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    write_method(&mut bytes, 0, &start_ok);
    write_method(&mut bytes, 0, &connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
    write_method(&mut bytes, 0, &connection::Open { virtual_host: "/", capabilities: "", insist: false });
    write_method(&mut bytes, 1, &channel::Open { out_of_band: "" });
    feed(&mut session, &bytes);
    session
}

/// Hands bytes in, and lets everything that comes of it go.
pub fn feed(session: &mut Session, bytes: &[u8]) {
    assert_eq!(session.handle_input(bytes, NOW), bytes.len());
    drain(session);
}

/// Takes what the session has to send, and counts it.
pub fn drain(session: &mut Session) -> usize {
    session.handle_wake(NOW);
    let mut all = 0;
    while !session.output().is_empty() {
        let waiting = session.output().len();
        all += waiting;
        session.handle_written(waiting, NOW);
        session.handle_wake(NOW);
    }
    all
}
