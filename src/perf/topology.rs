//! The queues, exchange and bindings of a run.

use super::error::PerfError;
use super::fields;
use super::load::{ExchangeKind, Load};
use super::wire::{Connection, Target};
use crate::protocol::field::{TableBuilder, TableRef};
use crate::protocol::method::{Args as _, exchange, queue};

/// The channel a run uses on each of its connections.
pub const CHANNEL: u16 = 1;

/// The header by which a headers exchange tells the queues apart.
const QUEUE_HEADER: &str = "leveret-perf-queue";

/// A name that no other run has, for its exchange and as the beginning of the names of its queues.
#[must_use]
pub fn run_name() -> String {
    format!("leveret-perf.{:08x}", rand::random::<u32>())
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueForm<'a> {
    /// It survives a restart.
    pub is_durable: bool,
    /// It belongs to its connection and goes with it.
    pub is_exclusive: bool,
    /// It has to be there already.
    pub is_passive: bool,
    /// Its arguments.
    pub arguments: TableRef<'a>,
}

impl<'a> QueueForm<'a> {
    /// The request.
    #[must_use]
    pub fn method(self, queue: &'a str) -> queue::Declare<'a> {
        queue::Declare {
            ticket: 0,
            queue,
            passive: self.is_passive,
            durable: self.is_durable,
            exclusive: self.is_exclusive,
            auto_delete: false,
            no_wait: false,
            arguments: self.arguments,
        }
    }

    /// Declares a queue on the run's channel.
    ///
    /// # Errors
    ///
    /// If the broker refuses, or the connection fails.
    pub fn declare(self, connection: &mut Connection, queue: &'a str) -> Result<(), PerfError> {
        connection.call(CHANNEL, &self.method(queue), queue::DeclareOk::ID).map(drop)
    }
}

/// Deletes a queue on the run's channel, with what is in it.
///
/// # Errors
///
/// If the broker refuses, or the connection fails.
pub fn delete_queue(connection: &mut Connection, queue: &str) -> Result<(), PerfError> {
    let delete = queue::Delete { ticket: 0, queue, if_unused: false, if_empty: false, no_wait: false };
    connection.call(CHANNEL, &delete, queue::DeleteOk::ID).map(drop)
}

/// Declares an exchange on the run's channel.
///
/// # Errors
///
/// If the broker refuses, or the connection fails.
pub fn declare_exchange(
    connection: &mut Connection,
    exchange: &str,
    kind: &str,
    durable: bool,
) -> Result<(), PerfError> {
    let declare = exchange::Declare {
        ticket: 0,
        exchange,
        kind,
        passive: false,
        durable,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: TableRef::EMPTY,
    };
    connection.call(CHANNEL, &declare, exchange::DeclareOk::ID).map(drop)
}

/// Deletes an exchange on the run's channel.
///
/// # Errors
///
/// If the broker refuses, or the connection fails.
pub fn delete_exchange(connection: &mut Connection, exchange: &str) -> Result<(), PerfError> {
    let delete = exchange::Delete { ticket: 0, exchange, if_unused: false, no_wait: false };
    connection.call(CHANNEL, &delete, exchange::DeleteOk::ID).map(drop)
}

/// What a run's exchange and queues are called.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Names {
    /// The exchange, empty for the default one.
    pub exchange: String,
    /// The queues.
    pub queues: Vec<String>,
}

/// Names that no other run has.
#[derive(Clone, Debug)]
pub struct Topology {
    kind: ExchangeKind,
    exchange: String,
    queues: Vec<String>,
    /// The one key of all, if there is one.
    key: Option<String>,
    is_own: bool,
}

impl Topology {
    /// The names for a run; nothing is declared yet.
    #[must_use]
    pub fn new(load: &Load) -> Self {
        let run = run_name();
        let queues = match &load.queue {
            Some(name) => vec![name.clone()],
            None => (0..load.queues).map(|number| format!("{run}.{number}")).collect(),
        };
        let exchange = if load.exchange_type == ExchangeKind::Default { String::new() } else { run };
        Self {
            kind: load.exchange_type,
            exchange,
            queues,
            key: load.routing_key.clone(),
            is_own: load.queue.is_none(),
        }
    }

    /// The exchange that messages go to, empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Names {
        Names { exchange: self.exchange.clone(), queues: self.queues.clone() }
    }

    /// The queues.
    #[must_use]
    pub fn queues(&self) -> &[String] {
        &self.queues
    }

    /// The queue of a consumer.
    #[must_use]
    pub fn queue_of(&self, consumer: usize) -> &str {
        &self.queues[consumer % self.queues.len()]
    }

    /// The routing key of a publisher.
    #[must_use]
    pub fn key_of(&self, publisher: usize) -> &str {
        self.key.as_deref().unwrap_or_else(|| &self.queues[publisher % self.queues.len()])
    }

    /// The headers that a publisher's messages need to find their queue.
    #[must_use]
    pub fn headers_of(&self, publisher: usize) -> Vec<(String, String)> {
        if self.kind != ExchangeKind::Headers {
            return Vec::new();
        }
        vec![(QUEUE_HEADER.to_owned(), self.queue_of(publisher).to_owned())]
    }

    /// Whether a publisher's messages come to a queue.
    #[must_use]
    pub fn reaches(&self, publisher: usize, queue: usize) -> bool {
        self.kind == ExchangeKind::Fanout || self.key.is_some() || publisher % self.queues.len() == queue
    }

    /// Declares everything on a channel of its own that it opens.
    ///
    /// # Errors
    ///
    /// If the broker refuses, such as a queue that has to be there and is not.
    pub fn declare(&self, connection: &mut Connection, load: &Load) -> Result<(), PerfError> {
        connection.open_channel(CHANNEL)?;
        if let Some(kind) = self.kind.name() {
            declare_exchange(connection, &self.exchange, kind, load.durable)?;
        }
        let arguments = fields::table(&load.queue_args);
        let form = QueueForm {
            is_durable: load.durable,
            is_exclusive: false,
            is_passive: !self.is_own,
            arguments: arguments.as_ref(),
        };
        for (number, name) in self.queues.iter().enumerate() {
            form.declare(connection, name)?;
            if self.kind != ExchangeKind::Default {
                self.bind(connection, name, number, load.bindings)?;
            }
        }
        Ok(())
    }

    /// The one binding that messages take, and `others` that none does.
    fn bind(
        &self,
        connection: &mut Connection,
        name: &str,
        number: usize,
        others: usize,
    ) -> Result<(), PerfError> {
        let key = self.key_of(number);
        self.bind_by(connection, name, key, name)?;
        for other in 0..others {
            // Words as messages have them, and a wildcard, so that a topic exchange has something to look at.
            let key = match self.kind {
                ExchangeKind::Topic => format!("leveret-perf.*.{number}.other.{other}"),
                _ => format!("{name}.other.{other}"),
            };
            self.bind_by(connection, name, &key, &key)?;
        }
        Ok(())
    }

    fn bind_by(
        &self,
        connection: &mut Connection,
        name: &str,
        key: &str,
        header: &str,
    ) -> Result<(), PerfError> {
        let mut arguments = TableBuilder::new();
        if self.kind == ExchangeKind::Headers {
            arguments.long_str("x-match", "all").long_str(QUEUE_HEADER, header);
        }
        let arguments = arguments.finish();
        let bind = queue::Bind {
            ticket: 0,
            queue: name,
            exchange: &self.exchange,
            routing_key: key,
            no_wait: false,
            arguments: arguments.as_ref(),
        };
        connection.call(CHANNEL, &bind, queue::BindOk::ID).map(drop)
    }

    /// Deletes what the run has declared, over a connection of its own: the others may have ended badly.
    ///
    /// # Errors
    ///
    /// If the broker is not there any more, or refuses.
    pub fn remove(&self, target: &Target) -> Result<(), PerfError> {
        if !self.is_own && self.kind == ExchangeKind::Default {
            return Ok(());
        }
        let mut connection = Connection::open(target)?;
        connection.open_channel(CHANNEL)?;
        for name in self.queues.iter().filter(|_| self.is_own) {
            delete_queue(&mut connection, name)?;
        }
        if self.kind != ExchangeKind::Default {
            delete_exchange(&mut connection, &self.exchange)?;
        }
        connection.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_and_consumers_share_the_queues() {
        let load = Load { queues: 2, ..Load::default() };
        let topology = Topology::new(&load);
        assert_eq!((topology.exchange(), topology.queues().len()), ("", 2));
        assert_eq!(topology.key_of(3), topology.queue_of(1));
        assert_ne!(topology.queue_of(0), topology.queue_of(1));
        assert!(topology.reaches(2, 0) && !topology.reaches(2, 1));
        assert_ne!(topology.queues(), Topology::new(&load).queues(), "each run has its own");
    }

    #[test]
    fn a_message_may_come_to_all_queues() {
        let fanout =
            Topology::new(&Load { queues: 3, exchange_type: ExchangeKind::Fanout, ..Load::default() });
        assert!((0..3).all(|queue| fanout.reaches(0, queue)));
        let key = Some("k".to_owned());
        let load =
            Load { queues: 3, exchange_type: ExchangeKind::Topic, routing_key: key, ..Load::default() };
        let topic = Topology::new(&load);
        assert!((0..3).all(|queue| topic.reaches(0, queue)) && topic.key_of(2) == "k");
        let headers = Topology::new(&Load { exchange_type: ExchangeKind::Headers, ..Load::default() });
        assert_eq!(headers.headers_of(0)[0].1, headers.queue_of(0));
    }
}
