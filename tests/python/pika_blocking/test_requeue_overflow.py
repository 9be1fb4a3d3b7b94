"""Messages that come back to a queue with a limit: RabbitMQ drops what has no room before consumers get any of it."""

from support.messages import Consumer, drain, expect_ready, publish


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
