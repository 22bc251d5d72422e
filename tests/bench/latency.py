"""How long an acknowledgement takes, and a record to who waits for it: idle, under load, and beside what keeps the rest of a broker busy.

Idle: one batch of one record after the other. Under load: batches of 16 KB, sent when they are due, whether or not what came before is answered; what
is late counts from then. Both are given the same load, 30 % of what Kafka does at most, as measured in this run; and then each 30 % of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from bench import floor, load
from bench.brokers import ApacheKafka, Broker, Fiducial, HoggedFiducial, create_topic
from bench.generator import QUANTILES, Found, Lane
from bench.goals import Goal, Judged
from bench.load import Target
from bench.report import Spread, Table, say
from bench.throughput import FLOOR, topic
from fiducial.conformance.exploration.steps import request_frame
from fiducial.models import messages as m
from fiducial.models.apis import APIS

#: How long each case is measured in a round, and what is sent before that; how long the most that a broker does (s). Kafka is warmed for longer.
TURN_S, WARM_S, CAPACITY_S, KAFKA_WARM_S = 2.0, 0.3, 2.0, 5.0
SHARE = 0.3
CONNECTIONS, RECORDS = 4, 150
#: What is asked for beside the batches, all the while: the configurations of so many topics.
DESCRIBE_CONFIGS, OF_TOPICS, DESCRIBED = 32, 2, 50
#: Where the first error code stands in its answer, from the length on.
DESCRIBED_ERROR_AT = 14

IDLE, SLOW, HOGGED = "idle", "beside slow requests", "beside a GIL hog"
SAME, OWN, TAILED = "30 % of Kafka's most", "30 % of its own most", "the same, and 4 consumers"
CASES = (IDLE, SLOW, HOGGED, OWN, SAME, TAILED)
#: Of Kafka's, and in ms.
IDLE_OF_KAFKA, HOGGED_MS = 0.2, 1.0


class Bench:
    """The brokers, ready; what each does at most (requests a second); and all that was measured."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self.brokers = brokers
        self.names = itertools.count()
        self.most: dict[str, float] = {}
        self.beside = {broker.name: slow_lane(broker) for broker in brokers}
        self.found: dict[tuple[str, str], list[Found]] = {}
        self.measures: Mapping[str, Callable[[Broker], Found]] = {
            IDLE: self.idle,
            SLOW: self.beside_slow_requests,
            HOGGED: self.idle,
            SAME: lambda broker: self.under_load(broker, SHARE * self.most_of_all),
            OWN: lambda broker: self.under_load(broker, SHARE * self.most[broker.name]),
            TAILED: lambda broker: self.under_load(broker, SHARE * self.most_of_all, is_tailed=True),
        }

    @property
    def most_of_all(self) -> float:
        """What Kafka does, or, if it is not there, ours."""
        return self.most.get(ApacheKafka.name, self.most[Fiducial.name])

    @contextmanager
    def topic(self, broker: Broker, partitions: int) -> Iterator[Target]:
        """A topic for a while."""
        with topic(broker, f"timed-{next(self.names)}", partitions) as target:
            yield target

    def warm(self) -> None:
        """What each does at most, warm."""
        for broker in self.brokers:
            if broker.name == HoggedFiducial.name:
                continue
            say(f"{broker.name}: what it does at most")
            is_kafka = broker.name == ApacheKafka.name
            with self.topic(broker, CONNECTIONS) as target:
                lanes = [load.produce_lane(target, index, RECORDS) for index in range(CONNECTIONS)]
                found = load.produced(target, lanes, RECORDS, CAPACITY_S, warm_s=KAFKA_WARM_S if is_kafka else WARM_S)
            self.most[broker.name] = found.requests / found.wall_s
            if is_kafka:
                self.idle(broker, KAFKA_WARM_S)
                self.beside_slow_requests(broker, KAFKA_WARM_S)

    def idle(self, broker: Broker, warm_s: float = WARM_S, beside: Sequence[Lane] = ()) -> Found:
        """One batch of one record after the other."""
        with self.topic(broker, 1) as target:
            return load.produced(target, [load.produce_lane(target, 0, 1, window=1)], 1, TURN_S, warm_s=warm_s, beside=beside)

    def kernel_alone(self) -> Found:
        """What of that is the kernel's, on the same machine: its two sides wake each other, and the page cache is written."""
        with self.topic(self.brokers[0], 1) as target:
            return floor.measured([load.produce_lane(target, 0, 1, window=1)], TURN_S)

    def beside_slow_requests(self, broker: Broker, warm_s: float = WARM_S) -> Found:
        """The same, and one slow request after the other on another connection."""
        return self.idle(broker, warm_s, [self.beside[broker.name]])

    def under_load(self, broker: Broker, rate: float, *, is_tailed: bool = False) -> Found:
        """So many requests a second; perhaps each partition is read as it grows."""
        with self.topic(broker, CONNECTIONS) as target:
            lanes = [load.produce_lane(target, index, RECORDS) for index in range(CONNECTIONS)]
            tails = [load.tail_lane(target, index, RECORDS, index) for index in range(CONNECTIONS if is_tailed else 0)]
            return load.produced(target, lanes, RECORDS, TURN_S, warm_s=WARM_S, rate=rate, beside=tails)

    def round(self, number: int, rounds: int) -> None:
        """Every case with each broker that it is for, in an order that changes from round to round."""
        for case in CASES:
            brokers = [broker for broker in self.brokers if (broker.name == HoggedFiducial.name) == (case == HOGGED)]  # Kafka has no GIL
            for broker in brokers if number % 2 == 0 else brokers[::-1]:
                say(f"round {number + 1} of {rounds}: {case}, {broker.name}")
                self.found.setdefault((case, broker.name), []).append(self.measures[case](broker))
        say(f"round {number + 1} of {rounds}: {IDLE}, {FLOOR}")
        self.found.setdefault((IDLE, FLOOR), []).append(self.kernel_alone())


def slow_lane(broker: Broker) -> Lane:
    """A connection that asks for the configurations of many topics, one request after the other."""
    names = [f"described-{number}" for number in range(DESCRIBED)]
    for name in names:
        create_topic(broker, name, 1)
    resources = tuple(m.DescribeConfigsResource(OF_TOPICS, name, None) for name in names)
    request = request_frame(DESCRIBE_CONFIGS, APIS[DESCRIBE_CONFIGS].max_version, m.DescribeConfigsRequest(resources))
    return Lane((load.with_length(request),), 1, DESCRIBED_ERROR_AT, 0, is_bulky=True, is_counted=False)


def measured(brokers: Sequence[Broker], rounds: int) -> Bench:
    """The brokers run; ours is the first."""
    bench = Bench(brokers)
    bench.warm()
    for number in range(rounds):
        bench.round(number, rounds)
    say("")
    return bench


# Tables

COLUMNS = ("case", "by", "requests/s", *(f"{name} µs" for name in QUANTILES), "of Kafka's p99", "goal", "CPU-s per M requests")
DELAY_COLUMNS = ("case", "by", *(f"{name} µs" for name in QUANTILES), "batches/s")
NOTE = f"""From when a batch is sent, or was due, until it is acknowledged (acks=-1); medians of the rounds, of p99 the least and the most too. Idle: one connection, one batch of one record at a time.
Under load: {CONNECTIONS} connections, batches of 16 KB. Beside slow requests: another connection asks for all configurations of {DESCRIBED} topics, again and again;
beside a GIL hog: a thread of the broker's process burns Python. Kernel alone: a program that receives, writes to the page cache and acknowledges, and does nothing else (floor.cpp). The same, and 4 consumers: they wait for the batches of each partition."""
DELAY_NOTE = "From when a batch was due to be sent until a consumer, which waits for it, has it; one consumer for each of the partitions."


def quantiles(of: Sequence[tuple[float, ...]]) -> list[Spread]:
    """One after the other, over the rounds."""
    return [Spread.of(one) for one in zip(*of, strict=True)]


def judged(bench: Bench) -> dict[str, Judged]:
    """By case."""
    found = {}
    p99 = {key: quantiles([one.latency_us for one in of])[1].median for key, of in bench.found.items()}
    if (IDLE, ApacheKafka.name) in p99:
        found[IDLE] = Judged(Goal("idle ack, p99, of Kafka's", IDLE_OF_KAFKA, is_least=False), p99[IDLE, Fiducial.name] / p99[IDLE, ApacheKafka.name])
    for case, name in ((SLOW, Fiducial.name), (HOGGED, HoggedFiducial.name)):
        found[case] = Judged(Goal(f"ack {case}, p99, ms", HOGGED_MS, is_least=False), p99[case, name] / 1000)
    return found


def row(bench: Bench, case: str, name: str, goals: Mapping[str, Judged]) -> tuple[Any, ...]:
    """One case with one broker."""
    of, theirs = bench.found[case, name], bench.found.get((case, ApacheKafka.name), [])
    p50, p99, p999, most = quantiles([one.latency_us for one in of])
    goal = str(goals[case]) if case in goals and name in (Fiducial.name, HoggedFiducial.name) else ""
    ratio = Spread.of([a.latency_us[1] / b.latency_us[1] for a, b in zip(of, theirs, strict=False)]) if theirs and name != ApacheKafka.name else None
    rate, cost = (Spread.of(numbers).median for numbers in ([one.requests / one.wall_s for one in of], [one.broker_cpu_s / one.requests * 1e6 for one in of]))
    return (case, name, rate, p50.median, p99, p999.median, most.median, ratio, goal, cost)


def tables(bench: Bench, rounds: int) -> list[Table]:
    """Acknowledgements, and records on their way to consumers."""
    goals = judged(bench)
    rows = [row(bench, case, name, goals) for case, name in sorted(bench.found, key=lambda key: CASES.index(key[0]))]
    delays = [
        (case, name, p50.median, p99, p999.median, most.median, Spread.of([one.batches_read / one.wall_s for one in of]).median)
        for (case, name), of in bench.found.items()
        if case == TAILED
        for p50, p99, p999, most in [quantiles([one.delay_us for one in of])]
    ]
    return [
        Table(f"Acknowledgements, {rounds} rounds", COLUMNS, rows, NOTE),
        Table("From the producer to the consumer", DELAY_COLUMNS, list(delays), DELAY_NOTE),
    ]


def as_data(bench: Bench) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{"case": case, "broker": broker, "rounds": [asdict(one) for one in of]} for (case, broker), of in bench.found.items()]
