//! The commands about what is in queues.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::broker::{About, Broker};
use super::{InVHost, SOFTWARE};
use crate::cli::client::{Question, Upload, path};
use crate::cli::failure::Failure;
use crate::cli::meter::Meter;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Drop all messages of a queue that wait for a consumer
    PurgeQueue(OfQueue),
    /// Delete a queue with what is in it
    DeleteQueue(Delete),
    /// Spread the leaders of queues evenly over the nodes; there is one
    Rebalance {
        /// Of which type: classic, quorum, stream or all
        #[arg(value_parser = ["all", "classic", "quorum", "stream"], default_value = "all")]
        queue_type: String,
    },
    /// Move the messages that wait in a queue to the end of another one, without losing or doubling any
    MoveMessages(Move),
}

#[derive(Debug, Args)]
pub(super) struct OfQueue {
    #[command(flatten)]
    at: InVHost,
    /// The queue
    queue: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    of: OfQueue,
    /// Only if no message waits in it
    #[arg(short = 'e', long)]
    if_empty: bool,
    /// Only if it has no consumer
    #[arg(short = 'u', long)]
    if_unused: bool,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    #[command(flatten)]
    of: OfQueue,
    /// The queue they go to, in the same vhost
    to: String,
}

impl OfQueue {
    fn about(&self) -> About<'_> {
        About::vhost(&self.at.vhost).thing("queue", &self.queue)
    }
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::PurgeQueue(of) => {
            broker.delete(&["queues", &of.at.vhost, &of.queue, "contents"], of.about())
        }
        Command::DeleteQueue(Delete { of, if_empty, if_unused }) => {
            let path = path(&["queues", &of.at.vhost, &of.queue]);
            let path = format!("{path}?if-empty={if_empty}&if-unused={if_unused}");
            broker.done(broker.ask(Question::new(Method::DELETE, path))?, of.about()).map(|_| ())
        }
        Command::Rebalance { .. } => {
            broker.post(&["rebalance", "queues"], &json!({}), About::default()).map(|_| ())
        }
        Command::MoveMessages(moved) => moved.run(broker),
    }
}

impl Move {
    fn run(&self, broker: &Broker<'_>) -> Result<(), Failure> {
        let Self { of: OfQueue { at: InVHost { vhost }, queue }, to } = self;
        // Which of the two is missing is asked beforehand, since an answer does not say it.
        for name in [queue, to] {
            let about = About::vhost(vhost).thing("queue", name);
            broker.get_at(format!("{}?columns=name", path(&["queues", vhost, name])), about)?;
        }
        let body = Upload::new(json!({ "to": to }).to_string().into_bytes());
        let question =
            Question { body, ..Question::new(Method::POST, path(&["queues", vhost, queue, "move"])) };
        let mut meter = Meter::new(broker.options.is_quiet());
        let told = broker.client.follow(question, |line| {
            if let (Some(done), Some(of)) = (line["done"].as_u64(), line["of"].as_u64()) {
                meter.show(done, of, &format!("{of} messages"));
            }
        });
        meter.end();
        let last = told.map_err(|error| broker.silence(error))?;
        let last = match last {
            Ok(last) => last,
            Err(answer) => return broker.done(answer, self.of.about()).map(|_| ()),
        };
        match (last["ok"]["messages"].as_u64(), &last["error"]) {
            (Some(messages), _) => broker.say(&format!("{messages} messages moved from {queue} to {to}")),
            (None, Value::String(text)) => Err(Failure::RefusedAs { code: SOFTWARE, text: text.clone() }),
            (None, other) => Err(Failure::RefusedAs { code: SOFTWARE, text: other.to_string() }),
        }
    }
}
