"""The requests about configurations: DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources.

A resource is a type and a name. Topics and the broker have configurations here; loggers, client metrics and groups can be asked about, and
have none that can be changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING

from immutables import Map

from fiducial.models import configs, topics
from fiducial.models.configs import Entry, Source
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Outcome
from fiducial.models.messages import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    AlterConfigsResponseResourceResponse,
    ConfigResource,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsResponse,
    IncrementalAlterConfigsResponseAlterConfigsResourceResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.settings import DYNAMIC, HIDDEN, TOPIC, Definition, Kind
from fiducial.models.topics import ConfigChanged
from fiducial.models.values import EMPTY, value

if TYPE_CHECKING:
    from fiducial.models.state import Broker


class Resource(IntEnum):
    """The types of resource."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class Operation(IntEnum):
    """What IncrementalAlterConfigs does to one configuration."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@value
class Change:
    """What is asked of one resource: operations by configuration, and what the request has in common for it. A description is a change of nothing."""

    kind: int
    name: str
    operations: tuple[IncrementalAlterConfigsRequestAlterableConfig, ...] = ()
    times_named: int = 1
    replaces: bool = False  # all that the resource sets itself, as the legacy request does


# Which resource is meant


@rule("WIRE-CONFIG-10")
def type_is_unknown(_broker: Broker, change: Change) -> bool:
    """Not one of topic, broker, broker logger, client metrics, group."""
    return change.kind not in tuple(Resource)


@rule("WIRE-CONFIG-11")
def name_is_empty(_broker: Broker, change: Change) -> bool:
    """Only the broker's name may be empty: it then means the whole cluster. A topic's is judged as any name."""
    return change.name == "" and change.kind not in (Resource.BROKER, Resource.TOPIC)


@rule("WIRE-CONFIG-12")
def topic_name_is_invalid(_broker: Broker, change: Change) -> bool:
    """A name that no topic can have."""
    return change.kind == Resource.TOPIC and not topics.is_valid_name(change.name)


@rule("WIRE-CONFIG-13")
def topic_is_unknown(broker: Broker, change: Change) -> bool:
    """No topic of this name."""
    return change.kind == Resource.TOPIC and change.name not in broker.topics.by_name


@rule("WIRE-CONFIG-14")
def broker_is_another(broker: Broker, change: Change) -> bool:
    """A broker answers for itself alone; its logger too."""
    own = str(broker.cluster.broker_id)
    if change.kind == Resource.BROKER:
        return change.name not in ("", own)
    return change.kind == Resource.BROKER_LOGGER and change.name != own


#: Arguments: the broker, a change of nothing.
DESCRIBE_CHECK = Ladder(
    "describe a configuration",
    [
        rung(type_is_unknown, Error.INVALID_REQUEST),
        rung(name_is_empty, Error.INVALID_REQUEST),
        rung(broker_is_another, Error.INVALID_REQUEST),
        rung(topic_name_is_invalid, Error.INVALID_TOPIC_EXCEPTION),
        rung(topic_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


# DescribeConfigs


@rule("WIRE-CONFIG-17")
def describe_configs(
    broker: Broker, request: DescribeConfigsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Each resource is answered, as often as it is asked about; but one of an unknown type is what all are refused for."""
    rules: list[str] = []
    results: list[DescribeConfigsResult] = []
    changes = [Change(asked.resource_type, asked.resource_name) for asked in request.resources]
    unknown = [change for change in changes if type_is_unknown(broker, change)]
    for asked, change in zip(request.resources, changes, strict=True):
        refusal = DESCRIBE_CHECK.refusal(broker, unknown[0] if unknown else change)
        if refusal is not None:
            rules.append(refusal.rule)
            message = "" if refusal.error == Error.UNKNOWN_TOPIC_OR_PARTITION else f"{asked.resource_name!r}: {WHY_NOT[refusal.rule]}"
            results.append(DescribeConfigsResult(refusal.error, message, asked.resource_type, asked.resource_name, ()))
            continue
        entries = entries_of(broker, asked.resource_type, asked.resource_name)
        found = tuple(described(asked, entry, request) for entry in entries if is_asked(asked, entry))
        results.append(DescribeConfigsResult(Error.NONE, "", asked.resource_type, asked.resource_name, found))
    return Outcome(broker, DescribeConfigsResponse(results=tuple(results)), tuple(rules))


@rule("WIRE-CONFIG-18")
def is_asked(asked: DescribeConfigsResource, entry: Entry) -> bool:
    """No names mean all; names that the resource does not have are left out."""
    return not asked.configuration_keys or entry.name in asked.configuration_keys


@rule("WIRE-CONFIG-15")
def entries_of(broker: Broker, kind: int, name: str) -> tuple[Entry, ...]:
    """Every configuration of a resource; for the whole cluster, only those that are set."""
    if kind == Resource.TOPIC:
        return configs.entries_of_topic(broker, broker.topics.by_name[name].overrides)
    if kind == Resource.BROKER and name == "":
        texts: Map[str, str] = broker.topics.broker_configs.get("", EMPTY)
        return tuple(
            Entry(DYNAMIC[key], text, Source.DYNAMIC_CLUSTER, (configs.Origin(key, text, Source.DYNAMIC_CLUSTER),))
            for key, text in sorted(texts.items())
        )
    return configs.entries_of_broker(broker) if kind == Resource.BROKER else ()


@rule("WIRE-CONFIG-16")
def described(asked: DescribeConfigsResource, entry: Entry, request: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    """Value, source, type; synonyms and documentation if asked for."""
    is_fixed = asked.resource_type == Resource.BROKER and entry.name not in DYNAMIC
    synonyms = tuple(DescribeConfigsSynonym(origin.name, origin.text, origin.source) for origin in entry.origins)
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.text if entry.text or entry.definition.kind in (Kind.LIST, Kind.STRING) else None,
        read_only=is_fixed,
        config_source=entry.source,
        is_sensitive=False,
        synonyms=synonyms if request.include_synonyms else (),
        config_type=entry.definition.kind,
        documentation=entry.definition.doc if request.include_documentation else None,
    )


# Altering


@rule("WIRE-CONFIG-20")
def resource_is_named_twice(_broker: Broker, change: Change) -> bool:
    """An error for each entry, and nothing is changed."""
    return change.times_named > 1


@rule("WIRE-CONFIG-21")
def config_is_named_twice(_broker: Broker, change: Change) -> bool:
    """Two operations on one configuration, whichever they are."""
    return len({operation.name for operation in change.operations}) < len(change.operations)


@rule("WIRE-CONFIG-22")
def value_is_missing(_broker: Broker, change: Change) -> bool:
    """Only a deletion has no value."""
    return any(one.value is None and one.config_operation != Operation.DELETE for one in change.operations)


@rule("WIRE-CONFIG-23")
def operation_is_unknown(_broker: Broker, change: Change) -> bool:
    """0 to 3."""
    return any(one.config_operation not in tuple(Operation) for one in change.operations)


@rule("WIRE-CONFIG-34")
def topic_is_unnamed(_broker: Broker, change: Change) -> bool:
    """There are no settings for all topics at once."""
    return change.kind == Resource.TOPIC and change.name == ""


@rule("WIRE-CONFIG-35")
def logger_is_replaced(_broker: Broker, change: Change) -> bool:
    """The legacy request takes no logger, even to change nothing."""
    return change.kind == Resource.BROKER_LOGGER and change.replaces


@rule("WIRE-CONFIG-24")
def resource_has_no_configs(_broker: Broker, change: Change) -> bool:
    """Loggers, client metrics and groups have nothing here that can be changed."""
    return change.kind in (Resource.BROKER_LOGGER, Resource.CLIENT_METRICS, Resource.GROUP) and bool(change.operations)


@rule("WIRE-CONFIG-25")
def config_is_unknown(_broker: Broker, change: Change) -> bool:
    """A name that the resource does not have, deletions included."""
    return any(one.name not in names_of(change.kind) for one in change.operations)


@rule("WIRE-CONFIG-26")
def is_no_list(_broker: Broker, change: Change) -> bool:
    """Appending to, or subtracting from, what is not a list, or is not known."""
    lists = {name for name, definition in names_of(change.kind).items() if definition.kind == Kind.LIST}
    return change.kind != Resource.BROKER_LOGGER and any(
        one.config_operation in (Operation.APPEND, Operation.SUBTRACT) and one.name not in lists for one in change.operations
    )


@rule("WIRE-CONFIG-27")
def topic_config_is_bad(broker: Broker, change: Change) -> bool:
    """The outcome would not be accepted."""
    return change.kind == Resource.TOPIC and configs.fault_of_topic(broker, texts_after(broker, change)) is not None


@rule("WIRE-CONFIG-28")
def broker_config_is_bad(broker: Broker, change: Change) -> bool:
    """The same, for the broker: another code."""
    return change.kind == Resource.BROKER and configs.fault_of_broker(texts_after(broker, change)) is not None


@rule("WIRE-CONFIG-29")
def broker_config_is_fixed(_broker: Broker, change: Change) -> bool:
    """A setting that cannot be changed while the broker runs, or does not exist."""
    return change.kind == Resource.BROKER and any(one.name not in DYNAMIC for one in change.operations)


def names_of(kind: int) -> Mapping[str, Definition]:
    """The configurations that a resource has, and that can be changed."""
    match kind:
        case Resource.TOPIC:
            return {**TOPIC, **HIDDEN}
        case Resource.BROKER:
            return DYNAMIC
        case _:
            return {}


#: Arguments: the broker, the change. That a topic does not exist is told last: a change that is wrong in itself is told so even then.
CHANGE_CHECK = Ladder(
    "change a configuration",
    [
        rung(resource_is_named_twice, Error.INVALID_REQUEST),
        rung(config_is_named_twice, Error.INVALID_REQUEST),
        rung(value_is_missing, Error.INVALID_REQUEST),
        rung(type_is_unknown, Error.INVALID_REQUEST),
        rung(broker_is_another, Error.INVALID_REQUEST),
        rung(logger_is_replaced, Error.INVALID_REQUEST),
        rung(operation_is_unknown, Error.INVALID_REQUEST, also=(Error.UNKNOWN_SERVER_ERROR,)),
        rung(is_no_list, Error.INVALID_CONFIG),
        rung(name_is_empty, Error.INVALID_REQUEST),
        rung(topic_is_unnamed, Error.INVALID_REQUEST),
        rung(topic_name_is_invalid, Error.INVALID_TOPIC_EXCEPTION),
        rung(resource_has_no_configs, Error.INVALID_REQUEST, also=(Error.NONE, Error.INVALID_CONFIG)),
        rung(broker_config_is_fixed, Error.INVALID_REQUEST, also=(Error.NONE,)),
        rung(config_is_unknown, Error.INVALID_CONFIG, also=(Error.NONE, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        rung(topic_config_is_bad, Error.INVALID_CONFIG),
        rung(broker_config_is_bad, Error.INVALID_REQUEST),
        rung(topic_is_unknown, Error.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)


def texts_now(broker: Broker, change: Change) -> Map[str, str]:
    """What the resource sets itself."""
    if change.kind == Resource.TOPIC:
        topic = broker.topics.by_name.get(change.name)
        return topic.overrides if topic is not None else EMPTY
    return broker.topics.broker_configs.get(change.name, EMPTY)


@rule("WIRE-CONFIG-30")
def texts_after(broker: Broker, change: Change) -> Map[str, str]:
    """What the resource sets itself after the change: all operations or none."""
    texts = EMPTY if change.replaces else texts_now(broker, change)
    for one in change.operations:
        match one.config_operation:
            case Operation.SET:
                texts = texts.set(one.name, one.value or "")
            case Operation.DELETE:
                texts = topics.with_text(texts, one.name, None)
            case _:
                texts = texts.set(one.name, relisted(change, texts, one))
    return texts


@rule("WIRE-CONFIG-31")
def relisted(change: Change, texts: Map[str, str], one: IncrementalAlterConfigsRequestAlterableConfig) -> str:
    """A list with entries appended (those already there are skipped) or taken out, each as it is written, from its default if none is set."""
    current = texts.get(one.name, names_of(change.kind)[one.name].default)
    parts = [part for part in current.split(",") if part]
    named = pieces(one.value or "")
    if one.config_operation == Operation.APPEND:
        return ",".join([*parts, *(part for part in dict.fromkeys(named) if part not in parts)])
    return ",".join(part for part in parts if part not in named)


def pieces(text: str) -> list[str]:
    """The entries of a list as it is sent: those that are empty count, but at its end; an empty text is one."""
    return text.rstrip(",").split(",") if text.strip(",") or not text else []


@rule("WIRE-CONFIG-32")
def altered(
    broker: Broker, changes: tuple[Change, ...], validate_only: bool, now: int
) -> tuple[Broker, list[tuple[Change, Error, str | None]], list[str], list[Effect]]:
    """Judge every resource by itself and change those that can be changed."""
    answers: list[tuple[Change, Error, str | None]] = []
    rules: list[str] = []
    effects: list[Effect] = []
    for change in changes:
        refusal = CHANGE_CHECK.refusal(broker, change)
        if refusal is not None:
            rules.append(refusal.rule)
            answers.append((change, refusal.error, why_not_changed(broker, change, refusal)))
            continue
        answers.append((change, Error.NONE, None))
        if not validate_only and change.kind in (Resource.TOPIC, Resource.BROKER):
            broker, made = topics.applied(broker, records_of(broker, change, texts_after(broker, change)), now)
            effects.extend(made)
    return broker, answers, rules, effects


#: Why a configuration is not changed, or told, in words, for people who read what their clients print.
WHY_NOT: Mapping[str, str] = {
    "WIRE-CONFIG-10": "there is no such type of resource",
    "WIRE-CONFIG-11": "it has no name",
    "WIRE-CONFIG-12": "no topic can have this name",
    "WIRE-CONFIG-13": "there is no such topic",
    "WIRE-CONFIG-14": "this is another broker",
    "WIRE-CONFIG-20": "it is named more than once in the request",
    "WIRE-CONFIG-21": "a configuration is named more than once",
    "WIRE-CONFIG-22": "a configuration is to be set to no value",
    "WIRE-CONFIG-23": "there is no such operation",
    "WIRE-CONFIG-24": "it has no configurations here that can be changed",
    "WIRE-CONFIG-26": "only to lists something can be appended, and only from lists taken out",
    "WIRE-CONFIG-34": "there are no configurations for all topics at once",
    "WIRE-CONFIG-35": "a logger's levels cannot be replaced all at once",
}


def why_not_changed(broker: Broker, change: Change, refusal: Rung) -> str:
    """What is wrong with a change, in words: of a configuration its name, what is accepted, and what was sent."""
    unknown = ", ".join(repr(one.name) for one in change.operations if one.name not in names_of(change.kind))
    match refusal.rule:
        case "WIRE-CONFIG-25":
            return f"{change.name!r}: there is no configuration {unknown}"
        case "WIRE-CONFIG-29":
            return f"{change.name!r}: there is no setting {unknown} that can be changed while the broker runs"
        case "WIRE-CONFIG-27":
            return f"{change.name!r}: {configs.fault_of_topic(broker, texts_after(broker, change))}"
        case "WIRE-CONFIG-28":
            return f"{change.name!r}: {configs.fault_of_broker(texts_after(broker, change))}"
        case _:
            return f"{change.name!r}: {WHY_NOT[refusal.rule]}"


def records_of(broker: Broker, change: Change, after: Map[str, str]) -> tuple[ConfigChanged, ...]:
    """One record for each configuration that differs."""
    before, is_topic = texts_now(broker, change), change.kind == Resource.TOPIC
    names = sorted({*before, *after})
    return tuple(
        ConfigChanged(is_topic, change.name, name, after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def incremental_alter_configs(
    broker: Broker, request: IncrementalAlterConfigsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Single operations on configurations (KIP-339)."""
    times = Counter((entry.resource_type, entry.resource_name) for entry in request.resources)
    changes = tuple(
        Change(entry.resource_type, entry.resource_name, entry.configs, times[entry.resource_type, entry.resource_name])
        for entry in request.resources
    )
    broker, answers, rules, effects = altered(broker, changes, request.validate_only, now)
    responses = tuple(
        IncrementalAlterConfigsResponseAlterConfigsResourceResponse(error, message, change.kind, change.name)
        for change, error, message in answers
    )
    return Outcome(broker, IncrementalAlterConfigsResponse(responses=responses), tuple(rules), tuple(effects))


@rule("WIRE-CONFIG-33")
def alter_configs(
    broker: Broker, request: AlterConfigsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """All that a resource sets itself at once: what is not given is unset."""
    times = Counter((entry.resource_type, entry.resource_name) for entry in request.resources)
    changes = tuple(
        Change(
            entry.resource_type,
            entry.resource_name,
            tuple(IncrementalAlterConfigsRequestAlterableConfig(one.name, Operation.SET, one.value) for one in entry.configs),
            times[entry.resource_type, entry.resource_name],
            replaces=True,
        )
        for entry in request.resources
    )
    broker, answers, rules, effects = altered(broker, changes, request.validate_only, now)
    responses = tuple(
        AlterConfigsResponseResourceResponse(error, message, change.kind, change.name) for change, error, message in answers
    )
    return Outcome(broker, AlterConfigsResponse(responses=responses), tuple(rules), tuple(effects))


# ListConfigResources


@rule("WIRE-CONFIG-40")
def some_type_is_unknown(request: ListConfigResourcesRequest) -> bool:
    """A type that is no resource."""
    return any(kind not in tuple(Resource) for kind in request.resource_types)


LIST_CHECK = Ladder("list config resources", [rung(some_type_is_unknown, Error.UNSUPPORTED_VERSION)])


@rule("WIRE-CONFIG-41")
def list_config_resources(
    broker: Broker, request: ListConfigResourcesRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Topics, this broker, its logger; version 0 asks for client metrics only, of which there are none."""
    refusal = LIST_CHECK.refusal(request)
    if refusal is not None:
        return Outcome(broker, ListConfigResourcesResponse(error_code=refusal.error), (refusal.rule,))
    kinds = set(request.resource_types) or set(Resource)
    if api_version == 0:
        kinds = {Resource.CLIENT_METRICS}
    found: list[ConfigResource] = []
    if Resource.TOPIC in kinds:
        found += [ConfigResource(name, Resource.TOPIC) for name in sorted(broker.topics.by_name)]
    found += [
        ConfigResource(str(broker.cluster.broker_id), kind)
        for kind in (Resource.BROKER, Resource.BROKER_LOGGER)
        if kind in kinds
    ]
    return Outcome(broker, ListConfigResourcesResponse(config_resources=tuple(found)))
