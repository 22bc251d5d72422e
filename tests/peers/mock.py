"""librdkafka's mock broker, which comes with every client of it: `python -m peers.mock` prints its HOST:PORT, and ends with its standard input."""

from __future__ import annotations

import sys

from confluent_kafka import Producer


def main() -> int:
    """Serve until standard input ends."""
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "its own"})
    (broker,) = client.list_topics(timeout=10).brokers.values()
    print(f"{broker.host}:{broker.port}", flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
