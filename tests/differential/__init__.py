"""The differential test: random operations on RabbitMQ and on Leveret, and whatever differs."""
