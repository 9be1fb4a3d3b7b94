//! The commands about vhosts themselves.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::broker::{About, Broker};
use super::node::node;
use super::output::{Column, chosen, without_empty};
use super::{InVHost, SOFTWARE};
use crate::cli::client::{Question, path};
use crate::cli::failure::Failure;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Add a vhost
    AddVhost(Add),
    /// Change what is said of a vhost; what is not named stays
    UpdateVhostMetadata(Update),
    /// Give a vhost these tags and no others
    SetVhostTags(SetTags),
    /// Have a vhost refuse to be deleted
    EnableVhostDeletionProtection(OfVHost),
    /// End that
    DisableVhostDeletionProtection(OfVHost),
    /// Start a vhost again that does not run; all do
    RestartVhost(InVHost),
    /// Delete a vhost with all that is in it, and close its connections
    DeleteVhost(OfVHost),
    /// List the vhosts
    ListVhosts(List),
    /// Have all messages of a vhost copied to amq.rabbitmq.trace, until the restart or a reload of the configuration
    TraceOn(InVHost),
    /// End that
    TraceOff(InVHost),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    of: OfVHost,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// Words to find it by, with commas between them
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// What durable queues are that are declared without a type: classic or quorum
    #[arg(long, value_name = "TYPE", default_value = "classic")]
    default_queue_type: String,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    of: OfVHost,
    /// What it is for
    #[arg(long, required_unless_present_any = ["tags", "default_queue_type"])]
    description: Option<String>,
    /// Words to find it by, with commas between them
    #[arg(long, value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// What durable queues are that are declared without a type: classic or quorum
    #[arg(long, value_name = "TYPE")]
    default_queue_type: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SetTags {
    #[command(flatten)]
    of: OfVHost,
    /// The tags; without one it has none
    tags: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct OfVHost {
    /// The vhost
    vhost: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The columns [default: name]; a wrong one tells which there are
    columns: Vec<String>,
}

const COLUMNS: &[Column] = &[
    Column::same("name"),
    Column::same("description"),
    Column::same("tags"),
    Column::same("default_queue_type"),
    Column::same("protected_from_deletion"),
    Column::same("tracing"),
    Column::same("cluster_state"),
    Column::same("metadata"),
];

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::AddVhost(add) => add.run(broker),
        Command::UpdateVhostMetadata(update) => update.run(broker),
        Command::SetVhostTags(SetTags { of, tags }) => {
            let (of, tags) = (of.clone(), Some(without_empty(tags)));
            Update { of, description: None, tags, default_queue_type: None }.run(broker)
        }
        Command::EnableVhostDeletionProtection(OfVHost { vhost }) => broker
            .post(&["vhosts", vhost, "deletion", "protection"], &json!({}), About::vhost(vhost))
            .map(|_| ()),
        Command::DisableVhostDeletionProtection(OfVHost { vhost }) => {
            broker.delete(&["vhosts", vhost, "deletion", "protection"], About::vhost(vhost))
        }
        Command::RestartVhost(InVHost { vhost }) => {
            let node = node(broker)?;
            let names = ["vhosts", vhost, "start", node["name"].as_str().unwrap_or_default()];
            broker.post(&names, &json!({}), About::vhost(vhost)).map(|_| ())
        }
        Command::DeleteVhost(OfVHost { vhost }) => {
            broker.delete(&["vhosts", vhost], About::default().thing("vhost", vhost))
        }
        Command::ListVhosts(List { columns }) => {
            let list = broker.get(&["vhosts"], About::default())?;
            if columns.is_empty() {
                return broker.show(&list, &COLUMNS[..1]);
            }
            broker.show(&list, &chosen(COLUMNS, columns)?)
        }
        Command::TraceOn(InVHost { vhost }) => {
            broker.put(&["vhosts", vhost, "tracing"], &json!({}), About::vhost(vhost)).map(|_| ())
        }
        Command::TraceOff(InVHost { vhost }) => {
            broker.delete(&["vhosts", vhost, "tracing"], About::vhost(vhost))
        }
    }
}

impl Add {
    fn run(&self, broker: &Broker<'_>) -> Result<(), Failure> {
        let vhost = &self.of.vhost;
        if vhost.is_empty() {
            return Err(Failure::Refused("a vhost has a name".to_owned()));
        }
        let exists =
            || Failure::RefusedAs { code: SOFTWARE, text: format!("vhost {vhost:?} already exists") };
        let found = broker.ask(Question::new(hyper::Method::GET, path(&["vhosts", vhost])))?;
        if found.is_success() {
            return Err(exists());
        }
        let body = json!({
            "description": self.description,
            "tags": self.tags,
            "default_queue_type": self.default_queue_type,
        });
        let is_new = broker.put(&["vhosts", vhost], &body, About::default())?;
        // Somebody was faster.
        if is_new { Ok(()) } else { Err(exists()) }
    }
}

impl Update {
    fn run(&self, broker: &Broker<'_>) -> Result<(), Failure> {
        let (vhost, about) = (&self.of.vhost, About::default().thing("vhost", &self.of.vhost));
        let known = broker.get(&["vhosts", vhost], about)?;
        let mut body = Map::new();
        let said = [
            ("description", self.description.clone().map(Value::from)),
            ("tags", self.tags.clone().map(Value::from)),
            ("default_queue_type", self.default_queue_type.clone().map(Value::from)),
        ];
        for (key, said) in said {
            let value = said.or_else(|| known.get(key).cloned());
            body.extend(value.map(|value| (key.to_owned(), value)));
        }
        broker.put(&["vhosts", vhost], &Value::Object(body), about).map(|_| ())
    }
}
