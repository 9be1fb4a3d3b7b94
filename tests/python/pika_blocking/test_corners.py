"""What random operations on RabbitMQ and on Leveret found different: see tests/differential."""

import time

import pika

from support.messages import Consumer, bound_queue, drain, expect_ready, publish, ready


def test_what_comes_back_to_a_full_queue_is_dead_lettered_before_it_is_delivered(connect, channel, name):
    letters = channel.queue_declare(name("letters")).method.queue
    arguments = {"x-max-length": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters}
    queue = channel.queue_declare(name("q"), arguments=arguments).method.queue
    leaving = connect().channel()
    first = Consumer(leaving, queue)
    publish(channel, "", queue, "m")
    (delivery,) = first.take(1)
    second = Consumer(channel, queue)
    leaving.basic_nack(delivery.tag)
    expect_ready(channel, letters, 1)
    assert drain(channel, letters) == ["m"]
    assert first.texts() == ["m"]
    assert second.texts() == []


def test_what_has_room_comes_back(channel, name):
    queue = channel.queue_declare(name("q"), arguments={"x-max-length": 1}).method.queue
    consumer = Consumer(channel, queue)
    publish(channel, "", queue, "m")
    (delivery,) = consumer.take(1)
    channel.basic_nack(delivery.tag)
    assert consumer.take(2)[1].method.redelivered


def test_one_key_of_cc_that_leads_somewhere_keeps_a_message_from_the_alternate_exchange(channel, name):
    alternate, exchange = name("alternate"), name("x")
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    found, other = bound_queue(channel, exchange, "k"), bound_queue(channel, alternate, "")
    for key, copies in (("k", ["x"]), ("x", ["k", "y"])):
        publish(channel, exchange, key, key, properties=pika.BasicProperties(headers={"CC": copies}))
    publish(channel, exchange, "x", "lost", properties=pika.BasicProperties(headers={"BCC": ["y"]}))
    expect_ready(channel, found, 2)
    expect_ready(channel, other, 1)
    assert (drain(channel, found), drain(channel, other)) == (["k", "x"], ["lost"])


def test_get_does_not_count_what_is_over_its_time_behind_what_it_takes(channel, name):
    queue = channel.queue_declare(name("q")).method.queue
    publish(channel, "", queue, "first")
    publish(channel, "", queue, "second", properties=pika.BasicProperties(expiration="20"))
    time.sleep(0.1)
    assert ready(channel, queue) == 2
    method, _, body = channel.basic_get(queue)
    assert (method.message_count, body) == (0, b"first")
    assert ready(channel, queue) == 0
