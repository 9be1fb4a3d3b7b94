//! basic.publish and its content: checks, route, message.

use std::sync::Arc;

use crate::broker::publishing::{check_expiration, sender_selected};
use crate::broker::stamps::Rewrite;
use crate::broker::totals::Event;
use crate::broker::vhost::{REPLY_TO, Route};
use crate::identity::access::Right;
use crate::message::{Body, Marks, Returns};
use crate::output::COPY_LIMIT;
use crate::protocol::content::{Content, ContentHeader};
use crate::protocol::field::TableRef;
use crate::protocol::frame::{FRAME_END, FRAME_HEADER, Frame, FrameKind, Next, next_frame};
use crate::protocol::method::basic::PublishParts;
use crate::protocol::method::{Args, Method, basic};
use crate::protocol::properties::{FLAG_EXPIRATION, FLAG_HEADERS, FLAG_REPLY_TO, FLAG_USER_ID, Properties};
use crate::protocol::reply::{AmqpError, MethodId, ReplyCode};
use crate::session::channel::Mode;
use crate::session::open::{Open, Stop};
use crate::session::tx::Staged;
use crate::session::wire::Wire;

/// The properties that the broker looks at.
const SPECIAL: u16 = FLAG_EXPIRATION | FLAG_USER_ID | FLAG_HEADERS | FLAG_REPLY_TO;

const PUBLISH: MethodId = <basic::Publish<'static> as Args>::ID;

/// A basic.publish whose content is still to come.
#[derive(Debug)]
pub(super) struct Published {
    exchange: Box<str>,
    routing_key: Box<str>,
    mandatory: bool,
    immediate: bool,
}

/// Where a message is to go, as the client said.
#[derive(Clone, Copy)]
struct Address<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    mandatory: bool,
    immediate: bool,
}

/// The content of a message that lies whole in the input.
struct Whole<'a> {
    properties: Properties<'a>,
    body: &'a [u8],
    /// Its header frame and, unless the body is empty, its one body frame.
    frames: &'a [u8],
    /// Bytes of the header frame.
    header_len: usize,
}

/// Looks for the content of a publish: its header frame and, unless it is empty, one body frame with all of it.
/// `None` if it is not all there, or anything about it is not plain; then it is taken frame by frame.
#[inline]
fn whole_content<'a>(channel: u16, rest: &'a [u8], max_payload: u32, max_size: u64) -> Option<Whole<'a>> {
    let Ok(Next::Frame(frame)) = next_frame(rest, max_payload) else { return None };
    if frame.kind != FrameKind::Header || frame.channel != channel {
        return None;
    }
    let header = ContentHeader::parse(frame.payload, PUBLISH).ok()?;
    let (properties, header_len) = (header.properties, frame.wire_len());
    if header.body_size == 0 {
        return Some(Whole { properties, body: &[], frames: &rest[..header_len], header_len });
    }
    let Ok(Next::Frame(body)) = next_frame(&rest[header_len..], max_payload) else { return None };
    let is_all = body.kind == FrameKind::Body
        && body.channel == channel
        && body.payload.len() as u64 == header.body_size
        && header.body_size <= max_size;
    let frames = &rest[..header_len + body.wire_len()];
    is_all.then_some(Whole { properties, body: body.payload, frames, header_len })
}

impl Open {
    /// A basic.publish, of which `parts` were found, at the start of `input`. Takes its content along if that lies whole in
    /// `input`, and returns how much it used behind the method frame.
    #[inline]
    pub(super) fn on_publish(
        &mut self,
        wire: &mut Wire,
        frame: Frame<'_>,
        parts: &PublishParts<'_>,
        input: &[u8],
    ) -> Result<usize, Stop> {
        self.block_if_alarmed(wire);
        let rest = &input[frame.wire_len()..];
        let whole = whole_content(frame.channel, rest, wire.max_payload(), wire.limits.max_message_size);
        if let Some(whole) = &whole
            && let Some(used) = self.publish_known(frame.channel, parts, whole, input, frame.wire_len())
        {
            return Ok(used);
        }
        let &PublishParts { names, mandatory, immediate } = parts;
        let (exchange, routing_key) = match Method::decode(frame.payload)? {
            Method::Basic(basic::Method::Publish(publish)) => (publish.exchange, publish.routing_key),
            _ => return Ok(0),
        };
        if let Some(Whole { properties, body, frames, .. }) = whole {
            let address = Address { exchange, routing_key, mandatory, immediate };
            let result = self.publish(wire, frame.channel, names, address, properties, Body::Borrowed(body));
            return match result {
                Ok(()) => Ok(frames.len()),
                Err(error) => {
                    self.after_method(wire, frame.channel, PUBLISH, Err(error.into())).map(|()| frames.len())
                }
            };
        }
        let published =
            Published { exchange: exchange.into(), routing_key: routing_key.into(), mandatory, immediate };
        self.channel(frame.channel)?.assembler.begin(published);
        Ok(0)
    }

    /// The short way, for a plain message along a known route: names that are known need no check, and its frames are
    /// kept as they came. Takes messages behind it along that are the same but for the body, as a busy publisher sends
    /// them. `input` begins with its method frame, of `method_len` bytes. Returns the bytes that it used behind that;
    /// `None` if it does not go this way.
    #[inline]
    fn publish_known(
        &mut self,
        number: u16,
        parts: &PublishParts<'_>,
        whole: &Whole<'_>,
        input: &[u8],
        method_len: usize,
    ) -> Option<usize> {
        let is_plain = !parts.immediate
            && whole.properties.flags() & SPECIAL == 0
            && whole.body.len() <= COPY_LIMIT
            && !self.intercepts;
        if !is_plain {
            return None;
        }
        let Self { routes, vhost, channels, builder, publishes, tally, .. } = self;
        let route = routes.find(vhost, parts.names)?;
        let confirms = match channels.get(&number)?.mode {
            Mode::Confirm(_) => true,
            Mode::Tx(_) => return None,
            Mode::Plain => false,
        };
        let may_refuse = route.may_refuse();
        if route.queues.is_empty() || confirms && may_refuse || publishes.has_to_wait(confirms, may_refuse) {
            return None;
        }
        if may_refuse {
            publishes.note_may_refuse();
        }
        let &Whole { properties, body, frames, header_len } = whole;
        publishes.add(number, route, builder.build_from_frames(parts.names, frames, header_len, properties));
        let len = method_len + frames.len();
        let mut used = len;
        // One that is told to stop is not read on.
        if !body.is_empty() && !self.blocked {
            let (before, _) = input.split_at(method_len + header_len + FRAME_HEADER);
            while let Some(next) = input.get(used..used + len)
                && let Some(body) = next.strip_prefix(before).and_then(|rest| rest.strip_suffix(&[FRAME_END]))
            {
                publishes.add_alike(builder.build_alike(body));
                used += len;
            }
        }
        let messages = (used / len) as u64;
        tally.count_sizes(body.len() as u64, messages);
        if confirms {
            publishes.count_confirms(number, messages);
        }
        Some(used - method_len)
    }

    /// A content frame was taken; perhaps it completed a message.
    pub(super) fn on_content(
        &mut self,
        wire: &mut Wire,
        number: u16,
        result: Result<Option<Content<Published>>, AmqpError>,
    ) -> Result<(), Stop> {
        let result = match result {
            Ok(None) => return Ok(()),
            Ok(Some(content)) => self.on_message(wire, number, content),
            // It names the method itself, or none where there is none.
            Err(error) if error.closes_connection() => return Err(error.into()),
            Err(error) => Err(error),
        };
        self.after_method(wire, number, PUBLISH, result.map_err(Stop::Error))
    }

    fn on_message(
        &mut self,
        wire: &mut Wire,
        number: u16,
        content: Content<Published>,
    ) -> Result<(), AmqpError> {
        let Content { method, header, body } = content;
        let properties = ContentHeader::assume_valid(&header).properties;
        let address = Address {
            exchange: &method.exchange,
            routing_key: &method.routing_key,
            mandatory: method.mandatory,
            immediate: method.immediate,
        };
        let mut names = Vec::with_capacity(address.exchange.len() + address.routing_key.len() + 2);
        for name in [address.exchange, address.routing_key] {
            names.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            names.extend_from_slice(name.as_bytes());
        }
        self.publish(wire, number, &names, address, properties, Body::Owned(body))
    }

    fn publish(
        &mut self,
        wire: &mut Wire,
        number: u16,
        names: &[u8],
        address: Address<'_>,
        properties: Properties<'_>,
        body: Body<'_>,
    ) -> Result<(), AmqpError> {
        if address.immediate {
            return Err(AmqpError::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        if properties.flags() & SPECIAL != 0 || self.intercepts {
            return self.publish_special(wire, number, names, address, properties, body);
        }
        let route = match self.routes.find(&self.vhost, names) {
            Some(route) => route.clone(),
            None => self.find_route(names, address, None)?,
        };
        let message = self.builder.build(address.exchange, address.routing_key, properties, body);
        self.publish_to(wire, number, address, &route, message)
    }

    /// A message with properties that the broker has to look at.
    fn publish_special(
        &mut self,
        wire: &mut Wire,
        number: u16,
        names: &[u8],
        address: Address<'_>,
        properties: Properties<'_>,
        body: Body<'_>,
    ) -> Result<(), AmqpError> {
        let headers = properties.headers();
        let mut route = match self.routes.find(&self.vhost, names) {
            Some(route) => route.clone(),
            None => self.find_route(names, address, headers)?,
        };
        let rewrite = Rewrite {
            reply_to: self.reply_queue(number, properties)?,
            stamps: wire.limits.stamps(),
            unix_ms: self.unix_ms,
            node: &wire.broker.node_name,
        };
        let changed = rewrite.apply(properties);
        check_expiration(properties)?;
        let more_keys = sender_selected(headers)?;
        if !more_keys.is_empty() {
            self.check_keys(Right::Write, address.exchange, &more_keys)?;
            let keys = [&[address.routing_key], &*more_keys].concat();
            route = self.vhost.route_keys(address.exchange, &keys, headers, &mut self.scratch)?;
        }
        self.check_user_id(properties)?;
        // It is kept for dead letters, and taken out for whoever sees the message.
        let hides_bcc = headers.is_some_and(|headers| headers.get("BCC").is_some());
        let marks = Marks { hides_bcc, ..Marks::default() };
        let Address { exchange, routing_key, .. } = address;
        let properties = changed.as_deref().map_or(properties, Properties::assume_valid);
        let message = self.builder.build_marked(exchange, routing_key, properties, body, marks);
        self.publish_to(wire, number, address, &route, message)
    }

    /// Looks a route up in the topology, if the user may take it, and remembers it if it holds for every message with these
    /// names.
    fn find_route(
        &mut self,
        names: &[u8],
        address: Address<'_>,
        headers: Option<TableRef<'_>>,
    ) -> Result<Arc<Route>, AmqpError> {
        let Address { exchange, routing_key, .. } = address;
        self.tally.count(Event::RouteLookups, 1);
        // Permissions that change from here on change it as well.
        let epoch = self.vhost.epoch();
        self.check_publish(exchange)?;
        let routed = self.vhost.route(exchange, routing_key, headers, &mut self.scratch)?;
        self.check_keys(Right::Write, exchange, &[routing_key])?;
        if routed.cacheable && routed.epoch == epoch {
            self.routes.remember(names, routed.epoch, &routed.route);
        }
        Ok(routed.route)
    }

    /// Puts a message on its way: to its queues, into the transaction, or back to the publisher.
    fn publish_to(
        &mut self,
        wire: &mut Wire,
        number: u16,
        address: Address<'_>,
        route: &Arc<Route>,
        message: crate::message::Message,
    ) -> Result<(), AmqpError> {
        let is_tx = self.channels.get(&number).is_some_and(|channel| matches!(channel.mode, Mode::Tx(_)));
        if self.traced && !is_tx {
            self.trace_publish(wire, number, &message, route);
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if let Mode::Tx(transaction) = &mut channel.mode {
            let staged = Staged { message, route: route.clone(), mandatory: address.mandatory };
            let result = transaction.publish(staged);
            channel.count_uncommitted();
            return result;
        }
        self.tally.count_sizes(message.body_len(), 1);
        let confirms = matches!(channel.mode, Mode::Confirm(_));
        // Its publisher is told of this one and no other.
        let may_refuse = route.may_refuse();
        let is_alone = confirms && may_refuse;
        if is_alone || self.publishes.has_to_wait(confirms, may_refuse) {
            self.flush_publishes();
        }
        if may_refuse && !confirms {
            self.publishes.note_may_refuse();
        }
        if !route.queues.is_empty() {
            self.publishes.add(number, route, message);
        } else {
            self.publishes.count_alone(number, route);
            self.count_unroutable(number, address.mandatory);
            if address.mandatory {
                // Before its confirm, which comes with the batch.
                return_message(wire, number, &message);
            }
        }
        if confirms {
            self.publishes.count_confirms(number, 1);
        }
        if is_alone {
            self.flush_publishes();
        }
        Ok(())
    }

    /// The reply queue that the publisher's channel has, if it asks for replies there.
    fn reply_queue(&self, number: u16, properties: Properties<'_>) -> Result<Option<&str>, AmqpError> {
        if properties.reply_to() != Some(REPLY_TO.as_bytes()) {
            return Ok(None);
        }
        let key = self.channels.get(&number).and_then(|channel| channel.replies);
        match key.and_then(|key| self.consumers.get(key)) {
            Some(consumer) => Ok(Some(&consumer.cell.spec.name)),
            None => {
                let text = "fast reply consumer does not exist";
                Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
            }
        }
    }

    fn check_user_id(&self, properties: Properties<'_>) -> Result<(), AmqpError> {
        let Some(claimed) = properties.user_id() else { return Ok(()) };
        if self.user.may_publish_as(claimed) {
            return Ok(());
        }
        let text = format!(
            "user_id property set to '{}' but authenticated user was '{}'",
            String::from_utf8_lossy(claimed),
            self.user.name
        );
        Err(AmqpError::new(ReplyCode::PreconditionFailed, text))
    }
}

/// Sends an unroutable message back.
pub(super) fn return_message(wire: &mut Wire, number: u16, message: &crate::message::Message) {
    let seen = message.as_seen(Returns::default());
    let message = seen.as_ref().unwrap_or(message);
    let method = basic::Return {
        reply_code: ReplyCode::NoRoute.code(),
        reply_text: "NO_ROUTE",
        exchange: message.exchange(),
        routing_key: message.routing_key(),
    };
    wire.send(number, &method);
    let frame_max = wire.frame_max;
    message.write_content(&mut wire.out, number, frame_max);
}
