//! Leveret seen through amqprs, used as its users use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::*;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::consumer::AsyncConsumer;
use amqprs::{
    Ack, BasicProperties, Cancel, Close, CloseChannel, DELIVERY_MODE_PERSISTENT, Deliver, FieldTable,
    FieldValue, Nack, Return,
};
use async_trait::async_trait;
use futures_lite::future::or;
use support::{Broker, unique, with_broker};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};

/// What the broker says without being asked.
#[derive(Debug, PartialEq)]
enum Said {
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64 },
    Returned { code: u16, text: String, key: String, message_id: Option<String>, body: Vec<u8> },
    Cancelled { consumer: String },
    Closed { code: u16, text: String },
}

/// A callback for channels and connections that passes on what the broker said.
struct Ear(Sender<Said>);

impl Ear {
    async fn hear(&self, said: Said) {
        // Nobody may be listening any more.
        let _ = self.0.send(said).await;
    }
}

#[async_trait]
impl ChannelCallback for Ear {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.hear(Said::Closed { code: close.reply_code(), text: close.reply_text().clone() }).await;
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), amqprs::error::Error> {
        self.hear(Said::Cancelled { consumer: cancel.consumer_tag().clone() }).await;
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, _active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(true)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.hear(Said::Ack { tag: ack.delivery_tag(), multiple: ack.mutiple() }).await;
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.hear(Said::Nack { tag: nack.delivery_tag() }).await;
    }

    async fn publish_return(&mut self, _: &Channel, ret: Return, properties: BasicProperties, body: Vec<u8>) {
        let (text, key) = (ret.reply_text().clone(), ret.routing_key().clone());
        let message_id = properties.message_id().cloned();
        self.hear(Said::Returned { code: ret.reply_code(), text, key, message_id, body }).await;
    }
}

#[async_trait]
impl ConnectionCallback for Ear {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), amqprs::error::Error> {
        self.hear(Said::Closed { code: close.reply_code(), text: close.reply_text().clone() }).await;
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, _reason: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}

fn arguments(broker: &Broker) -> OpenConnectionArguments {
    let (host, port) = broker.address.rsplit_once(':').unwrap();
    OpenConnectionArguments::new(host, port.parse().unwrap(), "guest", "guest")
}

async fn connect(broker: &Broker) -> Connection {
    Connection::open(&arguments(broker)).await.expect("a connection")
}

/// A channel and what the broker says on it.
async fn listening_channel(connection: &Connection) -> (Channel, Receiver<Said>) {
    let channel_ = connection.open_channel(None).await.unwrap();
    let (ear, heard) = channel(10_000);
    channel_.register_callback(Ear(ear)).await.unwrap();
    (channel_, heard)
}

/// An exclusive queue named by the server.
async fn queue(channel: &Channel) -> String {
    channel.queue_declare(QueueDeclareArguments::exclusive_server_named()).await.unwrap().unwrap().0
}

async fn exchange(channel: &Channel, kind: &str) -> String {
    let name = unique("exchange");
    let arguments = ExchangeDeclareArguments::new(&name, kind).auto_delete(true).finish();
    channel.exchange_declare(arguments).await.unwrap();
    name
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) {
    let arguments = BasicPublishArguments::new(exchange, key);
    channel.basic_publish(BasicProperties::default(), body.into(), arguments).await.unwrap();
}

async fn consume(channel: &Channel, queue: &str) -> UnboundedReceiver<ConsumerMessage> {
    let (_tag, deliveries) = channel.basic_consume_rx(BasicConsumeArguments::new(queue, "")).await.unwrap();
    deliveries
}

async fn next(deliveries: &mut UnboundedReceiver<ConsumerMessage>) -> (Deliver, String) {
    let message = deliveries.recv().await.expect("a delivery");
    (message.deliver.unwrap(), String::from_utf8(message.content.unwrap()).unwrap())
}

/// Takes one message; the queue must have one.
async fn get(channel: &Channel, queue: &str) -> (u64, bool, String) {
    let (ok, _, body) = channel.basic_get(BasicGetArguments::new(queue)).await.unwrap().expect("a message");
    (ok.delivery_tag(), ok.redelivered(), String::from_utf8(body).unwrap())
}

/// The bodies that are in a queue now. The publishes before it were made on the same channel.
async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let arguments = BasicGetArguments::new(queue).no_ack(true).finish();
    while let Some((_, _, body)) = channel.basic_get(arguments.clone()).await.unwrap() {
        bodies.push(String::from_utf8(body).unwrap());
    }
    bodies
}

async fn ack(channel: &Channel, tag: u64, multiple: bool) {
    channel.basic_ack(BasicAckArguments::new(tag, multiple)).await.unwrap();
}

async fn ready(channel: &Channel, queue: &str) -> u32 {
    let arguments = QueueDeclareArguments::new(queue).passive(true).finish();
    channel.queue_declare(arguments).await.unwrap().unwrap().1
}

/// Waits until every tag up to `last` is confirmed, each exactly once.
async fn confirmed(heard: &mut Receiver<Said>, last: u64) {
    let mut open: BTreeSet<u64> = (1..=last).collect();
    while !open.is_empty() {
        match heard.recv().await.expect("a confirm") {
            Said::Ack { tag, multiple: false } => assert!(open.remove(&tag), "{tag} confirmed twice"),
            Said::Ack { tag, multiple: true } => {
                let later = open.split_off(&(tag + 1));
                assert!(!open.is_empty(), "nothing left to confirm up to {tag}");
                open = later;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn publish_and_consume() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        assert!(connection.server_properties().capabilities().basic_nack());
        assert!(connection.channel_max() >= 2047 && connection.frame_max() >= 131_072);
        let channel = connection.open_channel(None).await.unwrap();
        let queue = queue(&channel).await;
        channel
            .queue_bind(QueueBindArguments::new(&queue, "amq.topic", &format!("{queue}.#")))
            .await
            .unwrap();
        let mut deliveries = consume(&channel, &queue).await;
        for body in ["one", "", "three"] {
            publish(&channel, "amq.topic", &format!("{queue}.key"), body).await;
        }
        for (tag, expected) in [(1, "one"), (2, ""), (3, "three")] {
            let (deliver, body) = next(&mut deliveries).await;
            assert_eq!((deliver.delivery_tag(), body.as_str()), (tag, expected));
            assert_eq!((deliver.exchange().as_str(), deliver.redelivered()), ("amq.topic", false));
            assert_eq!(deliver.routing_key(), &format!("{queue}.key"));
            ack(&channel, deliver.delivery_tag(), false).await;
        }
        channel.close().await.unwrap();
        // A connection ends when it is dropped. Its `close` fails now and then: it marks the connection closed first, and
        // the reader, if it is just done with a frame, then ends before the close is registered.
    });
}

#[test]
fn every_publish_is_confirmed_once() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (channel, mut heard) = listening_channel(&connection).await;
        let name = unique("confirms");
        channel.queue_declare(QueueDeclareArguments::durable_client_named(&name)).await.unwrap();
        channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
        for i in 0..1_000 {
            let mut properties = BasicProperties::default();
            if i % 2 == 0 {
                properties.with_delivery_mode(DELIVERY_MODE_PERSISTENT);
            }
            let key = if i % 10 == 9 { "" } else { name.as_str() };
            let arguments = BasicPublishArguments::new("", key);
            channel.basic_publish(properties, format!("{i}").into(), arguments).await.unwrap();
        }
        confirmed(&mut heard, 1_000).await;
        assert_eq!(channel.queue_delete(QueueDeleteArguments::new(&name)).await.unwrap(), Some(900));
    });
}

#[test]
fn a_mandatory_message_without_a_queue_comes_back() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (channel, mut heard) = listening_channel(&connection).await;
        channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
        let key = unique("nowhere");
        let sizes = [4, 0, connection.frame_max() as usize + 10];
        for (tag, size) in (1..).zip(sizes) {
            let properties = BasicProperties::default().with_message_id("m1").finish();
            let arguments = BasicPublishArguments::new("amq.direct", &key).mandatory(true).finish();
            channel.basic_publish(properties, vec![7; size], arguments).await.unwrap();
            let returned = Said::Returned {
                code: 312,
                text: "NO_ROUTE".into(),
                key: key.clone(),
                message_id: Some("m1".into()),
                body: vec![7; size],
            };
            assert_eq!(heard.recv().await, Some(returned));
            assert_eq!(heard.recv().await, Some(Said::Ack { tag, multiple: false }));
        }
    });
}

#[test]
fn get_and_the_ways_to_give_back() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let queue = queue(&channel).await;
        assert!(channel.basic_get(BasicGetArguments::new(&queue)).await.unwrap().is_none());
        for body in ["0", "1", "2", "3"] {
            publish(&channel, "", &queue, body).await;
        }
        for (tag, body) in [(1, "0"), (2, "1"), (3, "2")] {
            assert_eq!(get(&channel, &queue).await, (tag, false, body.into()));
        }
        channel.basic_nack(BasicNackArguments::new(2, false, true)).await.unwrap();
        channel.basic_reject(BasicRejectArguments::new(1, true)).await.unwrap();
        channel.basic_reject(BasicRejectArguments::new(3, false)).await.unwrap();
        for (tag, redelivered, body) in [(4, true, "0"), (5, true, "1"), (6, false, "3")] {
            assert_eq!(get(&channel, &queue).await, (tag, redelivered, body.into()));
        }
        channel.basic_nack(BasicNackArguments::new(6, true, true)).await.unwrap();
        assert_eq!(drain(&channel, &queue).await, ["0", "1", "3"]);
    });
}

#[test]
fn recover_delivers_again() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let queue = queue(&channel).await;
        let mut deliveries = consume(&channel, &queue).await;
        for body in ["a", "b"] {
            publish(&channel, "", &queue, body).await;
            next(&mut deliveries).await;
        }
        ack(&channel, 1, false).await;
        channel.basic_recover(true).await.unwrap();
        let (deliver, body) = next(&mut deliveries).await;
        assert_eq!((body.as_str(), deliver.redelivered()), ("b", true));
    });
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (sender, witness) =
            (connection.open_channel(None).await.unwrap(), connection.open_channel(None).await.unwrap());
        let queue = queue(&witness).await;
        sender.tx_select().await.unwrap();
        publish(&sender, "", &queue, "one").await;
        publish(&sender, "", &queue, "two").await;
        assert_eq!(ready(&sender, &queue).await, 0);
        sender.tx_commit().await.unwrap();
        assert_eq!(ready(&witness, &queue).await, 2);
        publish(&sender, "", &queue, "never").await;
        sender.tx_rollback().await.unwrap();
        let (tag, _, _) = get(&sender, &queue).await;
        ack(&sender, tag, false).await;
        sender.tx_commit().await.unwrap();
        sender.close().await.unwrap();
        assert_eq!(drain(&witness, &queue).await, ["two"]);
    });
}

#[test]
fn topic_and_fanout_exchanges() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let (topic, fanout) = (exchange(&channel, "topic").await, exchange(&channel, "fanout").await);
        let (words, tail, all) = (queue(&channel).await, queue(&channel).await, queue(&channel).await);
        for (queue, exchange, key) in [
            (&words, &topic, "a.*.c"),
            (&tail, &topic, "#.c"),
            (&tail, &topic, "c.#"),
            (&all, &fanout, "ignored"),
        ] {
            channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await.unwrap();
        }
        for key in ["a.b.c", "c", "a.c", "c.d", "a.b.c.d"] {
            publish(&channel, &topic, key, key).await;
            publish(&channel, &fanout, key, key).await;
        }
        assert_eq!(drain(&channel, &words).await, ["a.b.c"]);
        assert_eq!(drain(&channel, &tail).await, ["a.b.c", "c", "a.c", "c.d"]);
        assert_eq!(drain(&channel, &all).await, ["a.b.c", "c", "a.c", "c.d", "a.b.c.d"]);
        channel.queue_unbind(QueueUnbindArguments::new(&tail, &topic, "#.c")).await.unwrap();
        publish(&channel, &topic, "a.c", "a.c").await;
        assert!(drain(&channel, &tail).await.is_empty());
    });
}

fn table<const N: usize>(entries: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.insert(key.try_into().unwrap(), value);
    }
    table
}

#[test]
fn a_headers_exchange_routes_by_values() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let headers = exchange(&channel, "headers").await;
        let (all, any) = (queue(&channel).await, queue(&channel).await);
        for (queue, mode) in [(&all, "all"), (&any, "any")] {
            let criteria =
                table([("x-match", mode.into()), ("kind", "report".into()), ("urgent", true.into())]);
            let arguments = QueueBindArguments::new(queue, &headers, "").arguments(criteria).finish();
            channel.queue_bind(arguments).await.unwrap();
        }
        for (body, kind, urgent) in
            [("both", "report", true), ("kind", "report", false), ("none", "letter", false)]
        {
            let properties = BasicProperties::default()
                .with_headers(table([("kind", kind.into()), ("urgent", urgent.into())]))
                .finish();
            let arguments = BasicPublishArguments::new(&headers, "");
            channel.basic_publish(properties, body.into(), arguments).await.unwrap();
        }
        assert_eq!(drain(&channel, &all).await, ["both"]);
        assert_eq!(drain(&channel, &any).await, ["both", "kind"]);
    });
}

#[test]
fn exchanges_bound_to_exchanges() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let (source, target) = (exchange(&channel, "topic").await, exchange(&channel, "direct").await);
        let queue = queue(&channel).await;
        channel.queue_bind(QueueBindArguments::new(&queue, &target, "a.b")).await.unwrap();
        for pattern in ["a.#", "#.b", "kept"] {
            channel.exchange_bind(ExchangeBindArguments::new(&target, &source, pattern)).await.unwrap();
        }
        publish(&channel, &source, "a.b", "through").await;
        publish(&channel, &source, "a.c", "not in the direct exchange").await;
        assert_eq!(drain(&channel, &queue).await, ["through"]);
        for pattern in ["a.#", "#.b"] {
            channel.exchange_unbind(ExchangeUnbindArguments::new(&target, &source, pattern)).await.unwrap();
        }
        publish(&channel, &source, "a.b", "gone").await;
        assert!(drain(&channel, &queue).await.is_empty());
    });
}

#[test]
fn properties_come_back_as_they_were() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        let queue = queue(&channel).await;
        let headers = table([
            ("bool", true.into()),
            ("i8", FieldValue::b(-1)),
            ("u8", FieldValue::B(255)),
            ("i16", FieldValue::s(-300)),
            ("u16", FieldValue::u(65_535)),
            ("i32", FieldValue::I(i32::MIN)),
            ("u32", FieldValue::i(u32::MAX)),
            ("i64", FieldValue::l(i64::MIN)),
            ("f64", FieldValue::d(-1e300)),
            ("text", "größer".into()),
            ("time", FieldValue::T(1_700_000_000)),
            ("nothing", FieldValue::V),
            ("bytes", FieldValue::x(vec![0, 206, 255].try_into().unwrap())),
            ("list", FieldValue::A(vec![FieldValue::I(1), "two".into()].try_into().unwrap())),
            ("table", FieldValue::F(table([("inner", table([("x", FieldValue::V)]).into())]))),
        ]);
        let properties = BasicProperties::default()
            .with_content_type("application/json")
            .with_content_encoding("identity")
            .with_headers(headers.clone())
            .with_persistence(true)
            .with_priority(7)
            .with_correlation_id("correlation")
            .with_reply_to("reply")
            .with_expiration("60000")
            .with_message_id("id")
            .with_timestamp(1_700_000_000)
            .with_message_type("type")
            .with_user_id("guest")
            .with_app_id("app")
            .finish();
        let arguments = BasicPublishArguments::new("", &queue);
        channel.basic_publish(properties.clone(), b"{}".to_vec(), arguments).await.unwrap();
        let (_, received, body) = channel.basic_get(BasicGetArguments::new(&queue)).await.unwrap().unwrap();
        assert_eq!(body, b"{}");
        assert_eq!(received.headers(), Some(&headers));
        let without_headers =
            |mut properties: BasicProperties| properties.with_headers(FieldTable::new()).to_string();
        assert_eq!(without_headers(received), without_headers(properties));
    });
}

#[test]
fn prefetch_and_several_consumers_on_one_channel() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        channel.basic_qos(BasicQosArguments::new(0, 2, false)).await.unwrap();
        let queue = queue(&channel).await;
        let (mut one, mut two) = (consume(&channel, &queue).await, consume(&channel, &queue).await);
        for i in 0..6 {
            publish(&channel, "", &queue, &i.to_string()).await;
        }
        let mut seen = Vec::new();
        for deliveries in [&mut one, &mut two] {
            seen.push(next(deliveries).await.1);
            seen.push(next(deliveries).await.1);
        }
        assert_eq!(ready(&channel, &queue).await, 2);
        // One multiple acknowledgement covers the deliveries of both.
        ack(&channel, 4, true).await;
        for _ in 0..2 {
            seen.push(or(next(&mut one), next(&mut two)).await.1);
        }
        seen.sort_unstable();
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5"]);
    });
}

#[test]
fn two_thousand_messages_through_a_consumer_object() {
    struct Worker(Sender<Vec<u8>>);

    #[async_trait]
    impl AsyncConsumer for Worker {
        async fn consume(
            &mut self,
            channel: &Channel,
            deliver: Deliver,
            _: BasicProperties,
            content: Vec<u8>,
        ) {
            channel.basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false)).await.unwrap();
            self.0.send(content).await.unwrap();
        }
    }

    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (receiver, sender) =
            (connection.open_channel(None).await.unwrap(), connection.open_channel(None).await.unwrap());
        receiver.basic_qos(BasicQosArguments::new(0, 20, false)).await.unwrap();
        let queue = queue(&receiver).await;
        let (worker, mut done) = channel(10);
        receiver.basic_consume(Worker(worker), BasicConsumeArguments::new(&queue, "worker")).await.unwrap();
        let target = queue.clone();
        let sending = tokio::spawn(async move {
            for i in 0..2_000 {
                publish(&sender, "", &target, &i.to_string()).await;
            }
            sender
        });
        for i in 0..2_000 {
            assert_eq!(done.recv().await.unwrap(), i.to_string().into_bytes());
        }
        sending.await.unwrap();
    });
}

#[test]
fn consumers_are_told_of_the_end_of_their_queue() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (channel, mut heard) = listening_channel(&connection).await;
        let queue = queue(&channel).await;
        channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "mine")).await.unwrap();
        let other = connection.open_channel(None).await.unwrap();
        other.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
        assert_eq!(heard.recv().await, Some(Said::Cancelled { consumer: "mine".into() }));
        assert!(channel.is_open());
    });
}

#[test]
#[ignore = "Leveret has no queue length limits yet"]
fn a_full_queue_answers_with_a_nack() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (channel, mut heard) = listening_channel(&connection).await;
        let limits = table([("x-max-length", FieldValue::I(1)), ("x-overflow", "reject-publish".into())]);
        let arguments = QueueDeclareArguments::exclusive_server_named().arguments(limits).finish();
        let (queue, ..) = channel.queue_declare(arguments).await.unwrap().unwrap();
        channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
        publish(&channel, "", &queue, "fits").await;
        assert_eq!(heard.recv().await, Some(Said::Ack { tag: 1, multiple: false }));
        publish(&channel, "", &queue, "too many").await;
        assert_eq!(heard.recv().await, Some(Said::Nack { tag: 2 }));
        assert_eq!(drain(&channel, &queue).await, ["fits"]);
    });
}

#[test]
fn channel_errors_end_the_channel_only() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let witness = connection.open_channel(None).await.unwrap();
        let missing = unique("missing");

        let (channel, mut heard) = listening_channel(&connection).await;
        let arguments = QueueDeclareArguments::new(&missing).passive(true).finish();
        assert!(channel.queue_declare(arguments).await.is_err());
        let text = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
        assert_eq!(heard.recv().await, Some(Said::Closed { code: 404, text }));

        let (channel, mut heard) = listening_channel(&connection).await;
        publish(&channel, &missing, "", "lost").await;
        let text = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
        assert_eq!(heard.recv().await, Some(Said::Closed { code: 404, text }));

        let (channel, mut heard) = listening_channel(&connection).await;
        ack(&channel, 9, false).await;
        let text = "PRECONDITION_FAILED - unknown delivery tag 9".into();
        assert_eq!(heard.recv().await, Some(Said::Closed { code: 406, text }));

        let queue = queue(&witness).await;
        let elsewhere = connect(broker).await;
        let (channel, mut heard) = listening_channel(&elsewhere).await;
        assert!(channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await.is_err());
        assert!(matches!(heard.recv().await, Some(Said::Closed { code: 405, .. })));

        publish(&witness, "", &queue, "alive").await;
        assert_eq!(drain(&witness, &queue).await, ["alive"]);
        assert!(connection.is_open() && elsewhere.is_open());
    });
}

#[test]
fn a_connection_error_is_told() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (ear, mut heard) = channel(10);
        connection.register_callback(Ear(ear)).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        assert!(channel.basic_recover(false).await.is_err());
        assert!(matches!(heard.recv().await, Some(Said::Closed { code: 540, .. })));
    });
}

#[test]
fn flow_holds_deliveries_back() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.open_channel(None).await.unwrap();
        assert!(channel.flow(true).await.unwrap());
        if std::env::var_os("LEVERET_TEST_URL").is_some() {
            // It may be RabbitMQ, which refuses to switch flow off.
            return;
        }
        let queue = queue(&channel).await;
        let mut deliveries = consume(&channel, &queue).await;
        assert!(!channel.flow(false).await.unwrap());
        publish(&channel, "", &queue, "held").await;
        assert_eq!(ready(&channel, &queue).await, 1);
        assert!(channel.flow(true).await.unwrap());
        assert_eq!(next(&mut deliveries).await.1, "held");
    });
}

#[test]
fn a_refused_login_and_an_unknown_virtual_host_are_errors() {
    with_broker(async |broker| {
        let (host, port) = broker.address.rsplit_once(':').unwrap();
        let wrong = OpenConnectionArguments::new(host, port.parse().unwrap(), "guest", "wrong");
        assert!(Connection::open(&wrong).await.is_err());
        let elsewhere = arguments(broker).virtual_host(&unique("vhost")).finish();
        assert!(Connection::open(&elsewhere).await.is_err());
        let heartbeat = arguments(broker).virtual_host("/").heartbeat(5).finish();
        let connection = Connection::open(&heartbeat).await.unwrap();
        assert_eq!(connection.heartbeat(), 5);
        connection.update_secret("secret", "because").await.unwrap();
        queue(&connection.open_channel(None).await.unwrap()).await;
    });
}
