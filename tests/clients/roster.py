"""The clients that there are, and who of them can do what. A new one is a file beside this and its class in CLIENTS."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet

from clients.aiokafka import Aiokafka
from clients.client import COMPRESSIONS, DELIVERIES, Client
from clients.confluent import Confluent
from clients.java import Java
from clients.kafka_python import KafkaPython
from clients.kcat import Kcat

CLIENTS: tuple[type[Client], ...] = (Confluent, KafkaPython, Aiokafka, Java, Kcat)

#: What no test is made of, and why: (client, what it lacks) -> reason. The run ends with it.
LEFT_OUT: dict[tuple[str, str], str] = {}


def can(client: type[Client], *abilities: str) -> bool:
    """Can the client do all of this? What it cannot is noted."""
    missing = [ability for ability in abilities if ability in client.lacks]
    LEFT_OUT.update({(client.name, ability): client.lacks[ability] for ability in missing})
    return not missing


def who_can(*abilities: str) -> list[ParameterSet]:
    """The clients that can do all of this."""
    return [pytest.param(client, id=client.name) for client in CLIENTS if can(client, *abilities)]


def ways_to_produce() -> list[ParameterSet]:
    """Every client with every compression and every delivery that it has."""
    return [
        pytest.param(client, compression, delivery, id=f"{client.name}-{compression}-{delivery}")
        for client in CLIENTS
        for compression in COMPRESSIONS
        for delivery in DELIVERIES
        if can(client, compression, str(delivery))
    ]
