//! Class 60: publishing, consuming and settling messages.

class! {
    Method<'a> = 60 "basic";

    /// Client: limits unacknowledged deliveries.
    Qos = 10 "qos" {
        /// Limit in bytes; only 0, no limit, is supported.
        prefetch_size: long,
        /// Limit in messages; 0 is no limit.
        prefetch_count: short,
        /// For the whole channel, instead of each consumer started later.
        global: bit,
    }

    /// Server: the limit holds.
    QosOk = 11 "qos-ok" {}

    /// Client: starts a consumer.
    Consume<'a> = 20 "consume" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// Name of the consumer; empty for one the server makes up.
        consumer_tag: shortstr,
        /// Not the connection's own messages; ignored, as RabbitMQ does.
        no_local: bit,
        /// Messages count as acknowledged when sent.
        no_ack: bit,
        /// The only consumer of the queue.
        exclusive: bit,
        /// No answer is wanted.
        no_wait: bit,
        /// Further arguments.
        arguments: table,
    }

    /// Server: it is started.
    ConsumeOk<'a> = 21 "consume-ok" {
        /// Name of the consumer within its channel.
        consumer_tag: shortstr,
    }

    /// Client: ends a consumer. From the server, RabbitMQ's: its queue is gone.
    Cancel<'a> = 30 "cancel" {
        /// Name of the consumer within its channel.
        consumer_tag: shortstr,
        /// No answer is wanted.
        no_wait: bit,
    }

    /// The other side: it is ended.
    CancelOk<'a> = 31 "cancel-ok" {
        /// Name of the consumer within its channel.
        consumer_tag: shortstr,
    }

    /// Client: a message; content follows.
    Publish<'a> = 40 "publish" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Routing key of the message.
        routing_key: shortstr,
        /// Return it if no queue takes it.
        mandatory: bit,
        /// Return it if no consumer takes it; not supported.
        immediate: bit,
    }

    /// Server: a message that could not be routed; content follows.
    Return<'a> = 50 "return" {
        /// Why, as a number of [`ReplyCode`](crate::protocol::reply::ReplyCode).
        reply_code: short,
        /// Why, in words.
        reply_text: shortstr,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Routing key of the message.
        routing_key: shortstr,
    }

    /// Server: a message for a consumer; content follows.
    Deliver<'a> = 60 "deliver" {
        /// Name of the consumer within its channel.
        consumer_tag: shortstr,
        /// Number of the delivery within its channel.
        delivery_tag: longlong,
        /// It was delivered before.
        redelivered: bit,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Routing key of the message.
        routing_key: shortstr,
    }

    /// Client: asks for one message.
    Get<'a> = 70 "get" {
        /// Of protocol 0-8, ignored.
        ticket: short,
        /// Name of the queue.
        queue: shortstr,
        /// The message counts as acknowledged when sent.
        no_ack: bit,
    }

    /// Server: the message; content follows.
    GetOk<'a> = 71 "get-ok" {
        /// Number of the delivery within its channel.
        delivery_tag: longlong,
        /// It was delivered before.
        redelivered: bit,
        /// Name of the exchange, empty for the default one.
        exchange: shortstr,
        /// Routing key of the message.
        routing_key: shortstr,
        /// Messages left in the queue.
        message_count: long,
    }

    /// Server: there is none.
    GetEmpty<'a> = 72 "get-empty" {
        /// Of protocol 0-8, empty.
        cluster_id: shortstr,
    }

    /// Client: messages are done with. From the server, RabbitMQ's: publishes are confirmed.
    Ack = 80 "ack" {
        /// Number of the delivery, or of the publish, within its channel; 0 with `multiple` is all.
        delivery_tag: longlong,
        /// All up to this tag as well.
        multiple: bit,
    }

    /// Client: refuses one message.
    Reject = 90 "reject" {
        /// Number of the delivery within its channel.
        delivery_tag: longlong,
        /// Back to the queue, instead of dropped or dead-lettered.
        requeue: bit,
    }

    /// Client: [`Recover`] without an answer, the older form.
    RecoverAsync = 100 "recover-async" {
        /// To any consumer, instead of the same ones.
        requeue: bit,
    }

    /// Client: gives all unacknowledged messages of the channel back.
    Recover = 110 "recover" {
        /// To any consumer, instead of the same ones.
        requeue: bit,
    }

    /// Server: they are given back.
    RecoverOk = 111 "recover-ok" {}

    /// RabbitMQ's, client: refuses messages. From the server: publishes are not confirmed.
    Nack = 120 "nack" {
        /// Number of the delivery, or of the publish, within its channel; 0 with `multiple` is all.
        delivery_tag: longlong,
        /// All up to this tag as well.
        multiple: bit,
        /// Back to the queue, instead of dropped or dead-lettered.
        requeue: bit,
    }
}

/// What a basic.publish says, found without decoding it: millions a second go the same few ways.
#[derive(Clone, Copy, Debug)]
pub struct PublishParts<'a> {
    /// Exchange and routing key, each behind its length. Whether they are UTF-8 is not known.
    pub names: &'a [u8],
    /// See [`Publish`].
    pub mandatory: bool,
    /// See [`Publish`].
    pub immediate: bool,
}

impl<'a> PublishParts<'a> {
    /// The parts of a method frame's payload. `None` if that is no basic.publish, or not one to its last byte.
    #[inline]
    #[must_use]
    pub fn find(payload: &'a [u8]) -> Option<Self> {
        const ID: MethodId = <Publish<'static> as Args>::ID;
        let &[c1, c0, m1, m0, _, _, ref rest @ ..] = payload else { return None };
        if (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])) != (ID.class, ID.method) {
            return None;
        }
        let exchange = 1 + usize::from(*rest.first()?);
        let names = exchange + 1 + usize::from(*rest.get(exchange)?);
        let (names, &[bits]) = rest.split_at_checked(names)? else { return None };
        Some(Self { names, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
    }
}
