"""`fiducial groups`: the consumer groups of a cluster, who is in them, and what is assigned to whom.

Every node is asked for the groups that it coordinates. Members are told of classic groups alone; those of another type (KIP-848, KIP-932,
KIP-1071) are listed as such.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fiducial.cli.cluster import Cluster, Node, Unanswered
from fiducial.cli.screen import NOTHING, columns, counted, printable, show
from fiducial.conformance.codec import INT16, INT32, Malformed, Reader, Version, read_array, read_one
from fiducial.conformance.symbols import error_name
from fiducial.models import messages as m
from fiducial.models.errors import Error

CLASSIC = "classic"
#: The protocol type of a group whose assignments are Kafka's own.
CONSUMER = "consumer"
#: What DescribeGroups says of a group that is none, or not a classic one.
DEAD = "Dead"
#: So many groups are described by one request.
DESCRIBED_AT_ONCE = 100

#: How lengths are written in an assignment.
PLAIN = Version(0, is_flexible=False)

Assigned = tuple[tuple[str, int], ...]  # (topic, partition)


@dataclass(frozen=True)
class Member:
    """One member of a classic group; `assigned`: None if it cannot be read, as it may be of a type that is not Kafka's own."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    assigned: Assigned | None


@dataclass(frozen=True)
class Group:
    """One group; `members`: None if nobody tells; `problem`: why not."""

    group_id: str
    kind: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: int
    members: tuple[Member, ...] | None
    problem: str | None = None

    @property
    def label(self) -> str:
        """Its id; quotes, if it is empty."""
        return self.group_id or '""'


def groups(options: argparse.Namespace) -> int:
    """Show the groups; the exit status."""
    is_detailed = bool(options.group)
    return show(
        options,
        lambda cluster: seen(cluster, options.group),
        lambda found: {"bootstrap": options.bootstrap, "groups": [as_data(one) for one in found]},
        lambda found: details(found) if is_detailed else table(found),
    )


# Asking


def seen(cluster: Cluster, wanted: Sequence[str]) -> list[Group]:
    """The groups that are named, or all, by their ids. Unanswered if one of them is not there."""
    found = {one.group_id: one for node_id in sorted(cluster.addresses) for one in coordinated(cluster.node(node_id), node_id, wanted)}
    missing = [name for name in dict.fromkeys(wanted) if name not in found]
    if missing:
        raise Unanswered(f"there is no group {' and no group '.join(missing)}")
    return [group for _, group in sorted(found.items())]


def coordinated(node: Node, node_id: int, wanted: Sequence[str]) -> list[Group]:
    """Of these groups, or of all, those that a node coordinates."""
    listed = node.ask(m.ListGroupsRequest())
    if listed.error_code != Error.NONE:
        raise Unanswered(f"{node.called} does not list its groups: {error_name(listed.error_code)}")
    here = [one for one in listed.groups if not wanted or one.group_id in wanted]
    names = [one.group_id for one in here]
    asked = (m.DescribeGroupsRequest(tuple(names[at : at + DESCRIBED_AT_ONCE])) for at in range(0, len(names), DESCRIBED_AT_ONCE))
    described = {group.group_id: group for answer in node.ask_all(asked) for group in answer.groups}
    return [group_of(one, described[one.group_id], node_id) for one in here]


def group_of(listed: m.ListedGroup, described: m.DescribedGroup, node_id: int) -> Group:
    """A group by what its coordinator says of it; older ones say neither the type nor, in the list, the state."""
    kind = listed.group_type or CLASSIC
    state = listed.group_state or described.group_state
    if described.group_state == DEAD or described.error_code != Error.NONE:
        problem = error_name(described.error_code) if kind == CLASSIC and described.error_code != Error.NONE else None
        return Group(listed.group_id, kind, state, listed.protocol_type, "", node_id, None, problem)
    members = tuple(member_of(one, listed.protocol_type) for one in sorted(described.members, key=lambda one: (one.client_id, one.member_id)))
    return Group(listed.group_id, kind, state, listed.protocol_type, described.protocol_data, node_id, members)


def member_of(one: m.DescribedGroupMember, protocol_type: str) -> Member:
    """A member."""
    assigned = assignment(one.member_assignment) if protocol_type == CONSUMER else None
    return Member(one.member_id, one.group_instance_id, one.client_id, one.client_host.removeprefix("/"), assigned)


def assignment(data: bytes) -> Assigned | None:
    """The partitions in an assignment (Kafka's ConsumerProtocolAssignment): its version, topics, and what its reader may have to say; None if it is none."""
    if not data:
        return ()
    reader = Reader(data)
    assigned = []
    try:
        reader.number(INT16)
        for _ in range(reader.number(INT32)):
            topic = read_one(reader, "string", False, PLAIN)
            assigned += [(topic, index) for index in read_array(reader, "int32", False, PLAIN) or ()]
    except Malformed:
        return None
    return tuple(sorted(assigned))


# Showing


def as_data(group: Group) -> dict[str, Any]:
    """A group as JSON has it."""
    return {
        "group": group.group_id,
        "type": group.kind,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "coordinator": group.coordinator,
        "members": None if group.members is None else [member_data(one) for one in group.members],
        "error": group.problem,
    }


def member_data(member: Member) -> dict[str, Any]:
    """A member as JSON has it."""
    assigned = None if member.assigned is None else [{"topic": topic, "partition": index} for topic, index in member.assigned]
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": assigned,
    }


def table(found: Iterable[Group]) -> list[str]:
    """A line for each group."""
    rows = [
        (one.label, one.kind, one.state, protocol_of(one), None if one.members is None else len(one.members), one.coordinator)
        for one in found
    ]
    return columns(("GROUP", "TYPE", "STATE", "PROTOCOL", " MEMBERS", " COORDINATOR"), rows) if rows else ["no groups"]


def details(found: Iterable[Group]) -> list[str]:
    """Each group with its members."""
    lines: list[str] = []
    for group in found:
        lines += ["", title(group)] if lines else [title(group)]
        if group.members:
            rows = [(one.member_id, one.instance_id, one.client_id, one.host, partitions_of(one)) for one in group.members]
            lines += columns(("MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"), rows, "  ")
    return lines


def title(group: Group) -> str:
    """A group in one line."""
    members = f"members not told{f' ({group.problem})' if group.problem else ''}" if group.members is None else counted(len(group.members), "member")
    protocol = protocol_of(group)
    parts = (group.state, group.kind, *([protocol] if protocol else []), members, f"coordinator {group.coordinator}")
    return printable(f"{group.label}: {', '.join(parts)}")


def protocol_of(group: Group) -> str | None:
    """What the members agreed on, such as consumer/range."""
    return "/".join(filter(None, (group.protocol_type, group.protocol))) or None


def partitions_of(member: Member) -> str:
    """What is assigned to a member, in short: orders 0-3, 7."""
    if member.assigned is None:
        return "not readable"
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for topic, index in member.assigned:
        by_topic[topic].append(index)
    return "; ".join(f"{topic} {ranges(indexes)}" for topic, indexes in by_topic.items()) or NOTHING


def ranges(indexes: Sequence[int]) -> str:
    """Ascending numbers, those that follow one another as a range."""
    runs = (list(run) for _, run in groupby(enumerate(indexes), lambda pair: pair[1] - pair[0]))
    return ", ".join(str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs)
