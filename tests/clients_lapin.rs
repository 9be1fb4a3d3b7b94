//! Leveret seen through lapin, used as its users use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_lite::StreamExt;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::*;
use lapin::protocol::basic::AMQPProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, Error, ErrorKind, ExchangeKind};
use support::{Broker, unique, with_broker};

fn url(broker: &Broker) -> String {
    format!("amqp://guest:guest@{}/%2f", broker.address)
}

async fn connect(broker: &Broker) -> Connection {
    Connection::connect(&url(broker), ConnectionProperties::default()).await.expect("a connection")
}

async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// An exclusive queue named by the server.
async fn queue(channel: &Channel) -> ShortString {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap().name().clone()
}

async fn exchange(channel: &Channel, kind: ExchangeKind) -> ShortString {
    let name = ShortString::from(unique("exchange"));
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    channel.exchange_declare(name.clone(), kind, options, FieldTable::default()).await.unwrap();
    name
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
    arguments: FieldTable,
) {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.clone(), key.into(), options, arguments).await.unwrap();
}

/// Publishes on a confirming channel and waits for the confirm.
async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], properties: AMQPProperties) {
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

async fn fill(channel: &Channel, queue: &ShortString, bodies: &[&str]) {
    for body in bodies {
        publish(channel, "", queue.as_str(), body.as_bytes(), AMQPProperties::default()).await;
    }
}

async fn consume(channel: &Channel, queue: &ShortString, no_ack: bool) -> Consumer {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    consumer.next().await.expect("a delivery").expect("no error")
}

async fn get(channel: &Channel, queue: &ShortString) -> Option<BasicGetMessage> {
    channel.basic_get(queue.clone(), BasicGetOptions { no_ack: false }).await.unwrap()
}

/// The bodies that are in a queue now.
async fn drain(channel: &Channel, queue: &ShortString) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(message) =
        channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await.unwrap()
    {
        bodies.push(text(&message));
    }
    bodies
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).unwrap()
}

/// Checks that an operation failed with an AMQP reply code.
fn assert_code<T: std::fmt::Debug>(result: Result<T, Error>, code: u16) -> String {
    let error = result.expect_err("an error");
    let ErrorKind::ProtocolError(amqp) = error.kind() else { panic!("not from the broker: {error}") };
    assert_eq!(amqp.get_id(), code, "{amqp}");
    amqp.get_message().to_string()
}

#[test]
fn publish_and_consume() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let queue = queue(&channel).await;
        let mut consumer = consume(&channel, &queue, false).await;
        fill(&channel, &queue, &["one", "", "three"]).await;
        for (tag, body) in [(1, "one"), (2, ""), (3, "three")] {
            let delivery = next(&mut consumer).await;
            assert_eq!((delivery.delivery_tag, text(&delivery).as_str()), (tag, body));
            assert_eq!((delivery.exchange.as_str(), &delivery.routing_key), ("", &queue));
            assert!(!delivery.redelivered);
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        connection.close(200, "done".into()).await.unwrap();
    });
}

#[test]
fn many_messages_in_order_with_prefetch_and_multiple_acks() {
    with_broker(async |broker| {
        let connection = Arc::new(connect(broker).await);
        let receiver = connection.create_channel().await.unwrap();
        let queue = queue(&receiver).await;
        receiver.basic_qos(100, BasicQosOptions::default()).await.unwrap();
        let mut consumer = consume(&receiver, &queue, false).await;
        let publisher = confirming(&connection).await;
        let target = queue.clone();
        let sending = tokio::spawn(async move {
            for i in 0..5_000_u32 {
                let options = BasicPublishOptions::default();
                let body = i.to_be_bytes();
                let properties = AMQPProperties::default();
                drop(
                    publisher
                        .basic_publish("".into(), target.clone(), options, &body, properties)
                        .await
                        .unwrap(),
                );
            }
            publisher.wait_for_confirms().await.unwrap()
        });
        for i in 0..5_000_u32 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.data, i.to_be_bytes());
            if i % 50 == 49 {
                delivery.ack(BasicAckOptions { multiple: true }).await.unwrap();
            }
        }
        assert!(sending.await.unwrap().is_empty());
        assert_eq!(receiver.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap(), 0);
    });
}

#[test]
fn a_mandatory_message_without_a_queue_comes_back_with_its_confirm() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = AMQPProperties::default().with_message_id("m1".into()).with_priority(3);
        let key = ShortString::from(unique("nowhere"));
        let confirm = channel
            .basic_publish("amq.direct".into(), key.clone(), options, b"back", properties.clone())
            .await
            .unwrap();
        let confirmation = confirm.await.unwrap();
        assert!(confirmation.is_ack());
        let returned = confirmation.take_message().expect("the message");
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
        assert_eq!((returned.exchange.as_str(), &returned.routing_key), ("amq.direct", &key));
        assert_eq!((returned.data.as_slice(), &returned.properties), (b"back".as_slice(), &properties));
        publish(&channel, "amq.direct", key.as_str(), b"dropped", AMQPProperties::default()).await;
        assert!(channel.wait_for_confirms().await.unwrap().is_empty());
    });
}

#[test]
fn get_and_the_ways_to_give_back() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let queue = queue(&channel).await;
        assert!(get(&channel, &queue).await.is_none());
        fill(&channel, &queue, &["0", "1", "2", "3"]).await;
        let (zero, one, two) = (
            get(&channel, &queue).await.unwrap(),
            get(&channel, &queue).await.unwrap(),
            get(&channel, &queue).await.unwrap(),
        );
        assert_eq!([zero.message_count, one.message_count, two.message_count], [3, 2, 1]);
        one.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        zero.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        two.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        for (body, redelivered) in [("0", true), ("1", true), ("3", false)] {
            let message = get(&channel, &queue).await.unwrap();
            assert_eq!((text(&message).as_str(), message.redelivered), (body, redelivered));
        }
        assert!(get(&channel, &queue).await.is_none());
        channel.basic_nack(0, BasicNackOptions { requeue: true, multiple: true }).await.unwrap();
        assert_eq!(drain(&channel, &queue).await, ["0", "1", "3"]);
    });
}

#[test]
fn recover_delivers_again() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let queue = queue(&channel).await;
        let mut consumer = consume(&channel, &queue, false).await;
        fill(&channel, &queue, &["a", "b", "c"]).await;
        for _ in 0..3 {
            let delivery = next(&mut consumer).await;
            if text(&delivery) == "b" {
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
        channel.basic_recover(BasicRecoverOptions { requeue: true }).await.unwrap();
        for body in ["a", "c"] {
            let delivery = next(&mut consumer).await;
            assert_eq!((text(&delivery).as_str(), delivery.redelivered), (body, true));
        }
    });
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let (sender, witness) = (connection.create_channel().await.unwrap(), confirming(&connection).await);
        let queue = queue(&witness).await;
        sender.tx_select().await.unwrap();
        let send = async |body: &[u8]| {
            let (options, properties) = (BasicPublishOptions::default(), AMQPProperties::default());
            drop(sender.basic_publish("".into(), queue.clone(), options, body, properties).await.unwrap());
        };
        send(b"one").await;
        send(b"two").await;
        assert!(get(&witness, &queue).await.is_none());
        sender.tx_commit().await.unwrap();
        send(b"never").await;
        sender.tx_rollback().await.unwrap();

        let taken = get(&sender, &queue).await.unwrap();
        taken.ack(BasicAckOptions::default()).await.unwrap();
        sender.tx_rollback().await.unwrap();
        assert_eq!(drain(&witness, &queue).await, ["two"]);
        // The acknowledgement was taken back, so the message is still held by the channel.
        sender.close(200, "".into()).await.unwrap();
        assert_eq!(drain(&witness, &queue).await, ["one"]);
    });
}

#[test]
fn a_topic_exchange_routes_by_pattern() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let topic = exchange(&channel, ExchangeKind::Topic).await;
        let mut queues = BTreeMap::new();
        for pattern in ["#", "stock.*.nyse", "stock.#", "*.usd.*"] {
            let queue = queue(&channel).await;
            bind(&channel, &queue, &topic, pattern, FieldTable::default()).await;
            queues.insert(pattern, queue);
        }
        bind(&channel, &queues["stock.#"], &topic, "stock.usd.*", FieldTable::default()).await;
        let keys = ["stock.usd.nyse", "stock.nyse", "stock", "bond.usd.ldn", "stock.eur.nyse.late"];
        for key in keys {
            publish(&channel, topic.as_str(), key, key.as_bytes(), AMQPProperties::default()).await;
        }
        assert_eq!(drain(&channel, &queues["#"]).await, keys);
        assert_eq!(drain(&channel, &queues["stock.*.nyse"]).await, ["stock.usd.nyse"]);
        let stock = ["stock.usd.nyse", "stock.nyse", "stock", "stock.eur.nyse.late"];
        assert_eq!(drain(&channel, &queues["stock.#"]).await, stock);
        assert_eq!(drain(&channel, &queues["*.usd.*"]).await, ["stock.usd.nyse", "bond.usd.ldn"]);
    });
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

#[test]
fn a_headers_exchange_routes_by_values() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let headers = exchange(&channel, ExchangeKind::Headers).await;
        let (all, any) = (queue(&channel).await, queue(&channel).await);
        for (queue, mode) in [(&all, "all"), (&any, "any")] {
            let criteria = table([
                ("x-match", AMQPValue::LongString(mode.into())),
                ("format", AMQPValue::LongString("pdf".into())),
                ("pages", AMQPValue::LongInt(10)),
            ]);
            bind(&channel, queue, &headers, "", criteria).await;
        }
        for (body, format, pages) in [
            ("same", "pdf", AMQPValue::LongInt(10)),
            ("other width", "pdf", AMQPValue::LongLongInt(10)),
            ("text", "odt", AMQPValue::LongString("10".into())),
            ("number", "odt", AMQPValue::ShortInt(10)),
        ] {
            let properties = AMQPProperties::default()
                .with_headers(table([("format", AMQPValue::LongString(format.into())), ("pages", pages)]));
            publish(&channel, headers.as_str(), "", body.as_bytes(), properties).await;
        }
        assert_eq!(drain(&channel, &all).await, ["same", "other width"]);
        assert_eq!(drain(&channel, &any).await, ["same", "other width", "number"]);
    });
}

#[test]
fn exchanges_bound_to_exchanges() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let (source, target) =
            (exchange(&channel, ExchangeKind::Direct).await, exchange(&channel, ExchangeKind::Fanout).await);
        let queue = queue(&channel).await;
        bind(&channel, &queue, &target, "", FieldTable::default()).await;
        let (key, options) = (ShortString::from("through"), ExchangeBindOptions::default());
        for source_key in [key.clone(), "also".into()] {
            channel
                .exchange_bind(target.clone(), source.clone(), source_key, options, FieldTable::default())
                .await
                .unwrap();
        }
        for body in ["through", "also", "not"] {
            publish(&channel, source.as_str(), body, body.as_bytes(), AMQPProperties::default()).await;
        }
        assert_eq!(drain(&channel, &queue).await, ["through", "also"]);
        let options = ExchangeUnbindOptions::default();
        channel.exchange_unbind(target, source.clone(), key, options, FieldTable::default()).await.unwrap();
        publish(&channel, source.as_str(), "through", b"gone", AMQPProperties::default()).await;
        assert!(drain(&channel, &queue).await.is_empty());
    });
}

#[test]
fn properties_and_headers_come_back_as_they_were() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let queue = queue(&channel).await;
        let inner = table([("deep", AMQPValue::FieldTable(table([("x", AMQPValue::Void)])))]);
        let headers = table([
            ("bool", AMQPValue::Boolean(true)),
            ("i8", AMQPValue::ShortShortInt(-1)),
            ("u8", AMQPValue::ShortShortUInt(255)),
            ("i16", AMQPValue::ShortInt(-300)),
            ("u16", AMQPValue::ShortUInt(65_535)),
            ("i32", AMQPValue::LongInt(i32::MIN)),
            ("u32", AMQPValue::LongUInt(u32::MAX)),
            ("i64", AMQPValue::LongLongInt(i64::MIN)),
            ("f32", AMQPValue::Float(0.5)),
            ("f64", AMQPValue::Double(-1e300)),
            ("text", AMQPValue::LongString("größer".into())),
            ("bytes", AMQPValue::ByteArray(vec![0, 206, 255].into())),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
            ("list", AMQPValue::FieldArray(vec![AMQPValue::LongInt(1), AMQPValue::Void].into())),
            ("table", AMQPValue::FieldTable(inner)),
        ]);
        let properties = AMQPProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("identity".into())
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_priority(4)
            .with_correlation_id("correlation".into())
            .with_reply_to("reply".into())
            .with_expiration("60000".into())
            .with_message_id("id".into())
            .with_timestamp(1_700_000_000)
            .with_type("kind".into())
            .with_user_id("guest".into())
            .with_app_id("app".into())
            .with_cluster_id("cluster".into());
        publish(&channel, "", queue.as_str(), b"{}", properties.clone()).await;
        assert_eq!(get(&channel, &queue).await.unwrap().properties, properties);
        publish(&channel, "", queue.as_str(), b"bare", AMQPProperties::default()).await;
        assert_eq!(get(&channel, &queue).await.unwrap().properties, AMQPProperties::default());
    });
}

#[test]
fn a_body_of_four_mebibytes() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = confirming(&connection).await;
        let queue = queue(&channel).await;
        let body: Vec<u8> =
            (0..4 * 1024 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        publish(&channel, "", queue.as_str(), &body, AMQPProperties::default().with_delivery_mode(2)).await;
        let mut consumer = consume(&channel, &queue, true).await;
        assert!(next(&mut consumer).await.data == body);
    });
}

#[test]
fn channel_errors_end_the_channel_only() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let witness = confirming(&connection).await;
        let queue = queue(&witness).await;
        let channel = async || connection.create_channel().await.unwrap();
        let missing = ShortString::from(unique("missing"));

        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel().await.queue_declare(missing.clone(), passive, FieldTable::default()).await;
        assert_eq!(assert_code(declared, 404), format!("NOT_FOUND - no queue '{missing}' in vhost '/'"));

        let got = channel().await.basic_get(missing.clone(), BasicGetOptions::default()).await;
        assert_code(got.map(|message| message.is_some()), 404);

        let reserved = ShortString::from(format!("amq.{missing}"));
        let declared = channel()
            .await
            .queue_declare(reserved, QueueDeclareOptions::default(), FieldTable::default())
            .await;
        assert_code(declared, 403);

        let (kind, options) =
            (ExchangeKind::Fanout, ExchangeDeclareOptions { durable: true, ..Default::default() });
        let declared =
            channel().await.exchange_declare("amq.direct".into(), kind, options, FieldTable::default()).await;
        assert!(
            assert_code(declared, 406)
                .contains("inequivalent arg 'type' for exchange 'amq.direct' in vhost '/'")
        );

        let other = connect(broker).await;
        let purged = other
            .create_channel()
            .await
            .unwrap()
            .queue_purge(queue.clone(), QueuePurgeOptions::default())
            .await;
        assert_code(purged, 405);

        assert!(connection.status().connected());
        fill(&witness, &queue, &["alive"]).await;
        assert_eq!(drain(&witness, &queue).await, ["alive"]);
    });
}

#[test]
fn an_unknown_delivery_tag_and_a_missing_exchange_end_the_channel() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.create_channel().await.unwrap();
        let queue = queue(&channel).await;
        let mut consumer = consume(&channel, &queue, false).await;
        channel.basic_ack(5, BasicAckOptions::default()).await.unwrap();
        let end = consumer.next().await.expect("the reason of the end");
        assert_eq!(assert_code(end, 406), "PRECONDITION_FAILED - unknown delivery tag 5");

        let channel = confirming(&connection).await;
        let (key, options) = (ShortString::default(), BasicPublishOptions::default());
        let missing = ShortString::from(unique("missing"));
        let confirm =
            channel.basic_publish(missing, key, options, b"x", AMQPProperties::default()).await.unwrap();
        assert_code(confirm.await, 404);
        assert!(connection.status().connected());
    });
}

#[test]
fn connection_errors_tell_their_code() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let channel = connection.create_channel().await.unwrap();
        let queue = queue(&channel).await;
        let options = BasicConsumeOptions::default();
        let _first =
            channel.basic_consume(queue.clone(), "tag".into(), options, FieldTable::default()).await.unwrap();
        let second = connection.create_channel().await.unwrap();
        let _same_tag_elsewhere =
            second.basic_consume(queue, "tag".into(), options, FieldTable::default()).await.unwrap();
        assert!(channel.channel_flow(ChannelFlowOptions { active: true }).await.unwrap());
        let kept = BasicRecoverOptions { requeue: false };
        assert_code(second.basic_recover(kept).await, 540);
        assert!(!connection.status().connected());

        let wrong = url(broker).replace("guest:guest", "guest:wrong");
        assert_code(Connection::connect(&wrong, ConnectionProperties::default()).await.map(|_| ()), 403);
        let elsewhere = url(broker).replace("%2f", &unique("vhost"));
        assert_code(Connection::connect(&elsewhere, ConnectionProperties::default()).await.map(|_| ()), 530);
    });
}

#[test]
fn several_consumers_share_a_queue_and_are_told_of_its_end() {
    with_broker(async |broker| {
        let connection = connect(broker).await;
        let publisher = confirming(&connection).await;
        let queue = queue(&publisher).await;
        let mut consumers = Vec::new();
        for _ in 0..3 {
            let channel = connection.create_channel().await.unwrap();
            channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
            consumers.push((consume(&channel, &queue, false).await, channel));
        }
        fill(&publisher, &queue, &["0", "1", "2", "3", "4", "5"]).await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            for (consumer, _channel) in &mut consumers {
                let delivery = next(consumer).await;
                seen.push(text(&delivery));
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5"]);
        publisher.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
        for (consumer, _channel) in &mut consumers {
            assert!(consumer.next().await.is_none());
        }
    });
}

#[test]
fn what_a_closed_connection_held_goes_to_the_next() {
    with_broker(async |broker| {
        let name = ShortString::from(unique("handover"));
        let (first, second) = (connect(broker).await, connect(broker).await);
        let channel = confirming(&first).await;
        channel
            .queue_declare(name.clone(), QueueDeclareOptions::durable(), FieldTable::default())
            .await
            .unwrap();
        fill(&channel, &name, &["a", "b"]).await;
        let mut holder = consume(&channel, &name, false).await;
        next(&mut holder).await;
        next(&mut holder).await;
        let channel = second.create_channel().await.unwrap();
        let mut heir = consume(&channel, &name, false).await;
        first.close(200, "bye".into()).await.unwrap();
        for body in ["a", "b"] {
            let delivery = next(&mut heir).await;
            assert_eq!((text(&delivery).as_str(), delivery.redelivered), (body, true));
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        assert_eq!(channel.queue_delete(name, QueueDeleteOptions::default()).await.unwrap(), 0);
    });
}
