//! Class 20: opening, pausing and closing channels.

class! {
    Method<'a> = 20 "channel";

    /// Client: opens the channel.
    Open<'a> = 10 "open" {
        /// Of protocol 0-8, ignored.
        out_of_band: shortstr,
    }

    /// Server: the channel is open.
    OpenOk<'a> = 11 "open-ok" {
        /// Of protocol 0-9, empty.
        channel_id: longstr,
    }

    /// Either side: pauses or resumes the content that the other side sends.
    Flow = 20 "flow" {
        /// Content may be sent.
        active: bit,
    }

    /// The other side: done.
    FlowOk = 21 "flow-ok" {
        /// As in the request.
        active: bit,
    }

    /// Either side: ends the channel.
    Close<'a> = 40 "close" {
        /// Why, as a number of [`ReplyCode`](crate::protocol::reply::ReplyCode).
        reply_code: short,
        /// Why, in words.
        reply_text: shortstr,
        /// Class of the method at fault, or 0.
        class_id: short,
        /// Id of the method at fault, or 0.
        method_id: short,
    }

    /// The other side: the channel is ended.
    CloseOk = 41 "close-ok" {}
}
