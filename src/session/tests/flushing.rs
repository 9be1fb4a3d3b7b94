//! Streams that take bytes before the socket does.

use super::*;

/// A client that has just been sent something, of which the stream holds some back.
fn held_back() -> Client {
    let mut client = Client::new(&broker(Journal::in_memory()));
    client.now = 100_000;
    client.declare("q", false);
    assert_eq!(client.received(), ["queue.declare-ok"]);
    client.session.handle_flushing(true, Now::at(client.now));
    client
}

#[test]
fn a_peer_is_cut_that_does_not_take_what_the_stream_holds_back() {
    let mut client = held_back();
    assert_eq!(client.session.poll_timeout(), Some(Moment(130_000)));
    client.session.handle_timeout(Now::at(129_999));
    assert!(!client.session.is_over(Now::at(129_999)));
    client.session.handle_timeout(Now::at(130_000));
    assert!(client.session.is_over(Now::at(130_000)) && client.session.ends_abruptly(Now::at(130_000)));
}

#[test]
fn one_that_takes_it_in_the_end_goes_on() {
    let mut client = held_back();
    client.session.handle_timeout(Now::at(120_000));
    client.session.handle_flushing(false, Now::at(120_000));
    assert_eq!(client.session.poll_timeout(), None);
    client.session.handle_timeout(Now::at(140_000));
    assert!(!client.session.is_over(Now::at(140_000)));
    // Its time begins anew with the next.
    client.session.handle_flushing(true, Now::at(200_000));
    client.session.handle_timeout(Now::at(229_999));
    assert!(!client.session.is_over(Now::at(229_999)));
}

#[test]
fn one_that_is_told_goodbye_is_waited_for_without_asking_again_and_again() {
    let mut client = Client::new(&broker(Journal::in_memory()));
    client.now = 100_000;
    client.send(&channel::Close::default());
    let mut bytes = Vec::new();
    write_method(&mut bytes, 0, &connection::Close::default());
    client.session.handle_input(&bytes, Now::at(100_000));
    assert_eq!(client.received(), ["channel.close-ok", "connection.close-ok"]);
    client.session.handle_flushing(true, Now::at(100_000));
    assert!(!client.session.is_fin_due(Now::at(100_000)));
    assert_eq!(client.session.poll_timeout(), Some(Moment(101_000)), "only the end is due, and that later");
    client.session.handle_flushing(false, Now::at(100_500));
    assert!(client.session.is_fin_due(Now::at(100_500)));
    client.session.handle_fin_sent();
    assert_eq!(client.session.poll_timeout(), Some(Moment(101_000)));
    assert!(client.session.is_over(Now::at(101_000)));
}

#[test]
fn a_slow_one_that_takes_some_of_it_in_time_goes_on() {
    let mut client = held_back();
    client.session.handle_progress(Now::at(125_000));
    client.session.handle_flushing(true, Now::at(125_000));
    client.session.handle_timeout(Now::at(154_999));
    assert!(!client.session.is_over(Now::at(154_999)));
    client.session.handle_timeout(Now::at(155_000));
    assert!(client.session.is_over(Now::at(155_000)), "and then nothing more");
}
