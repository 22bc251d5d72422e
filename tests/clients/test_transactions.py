"""Clients that want transactions are told at once that there are none, and not after a minute that something took too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiokafka
import aiokafka.errors
import confluent_kafka
import kafka
import kafka.errors
import pytest
from conftest import Address

pytestmark = pytest.mark.clients
#: Each of them waits longer than this for a coordinator that may yet come.
SOON_S = 5.0


def confluent(bootstrap: str) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "transactional.id": "confluent", "log_level": 0})
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        producer.init_transactions(2 * SOON_S)
    error = refused.value.args[0]
    assert error.fatal() and error.code() == confluent_kafka.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert "this broker serves no transactions" in error.str()


def kafka_python(bootstrap: str) -> None:
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id="kafka-python", max_block_ms=2_000 * SOON_S)
    with pytest.raises(kafka.errors.TransactionalIdAuthorizationFailedError):
        producer.init_transactions()
    producer.close(0)


def of_aiokafka(bootstrap: str) -> None:
    async def begin() -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="aiokafka")
        with pytest.raises(aiokafka.errors.TransactionalIdAuthorizationFailed):
            await asyncio.wait_for(producer.start(), 2 * SOON_S)
        await producer.client.close()

    asyncio.run(begin())


@pytest.mark.rule("WIRE-CLUSTER-7")
@pytest.mark.parametrize("client", [confluent, kafka_python, of_aiokafka])
def test_who_wants_transactions_is_told_at_once_that_there_are_none(client: Callable[[str], None], broker: Address) -> None:
    begun = time.monotonic()
    client(broker.bootstrap)
    assert time.monotonic() - begun < SOON_S
