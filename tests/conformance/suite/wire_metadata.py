"""What there is: Metadata, DescribeTopicPartitions, DescribeCluster, FindCoordinator, DescribeLogDirs (WIRE-META, -PARTS, -CLUSTER, -DIRS)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Step, Topic, case, delete_records, produce
from fiducial.conformance.suite.wire_requests import (
    delete,
    dirs,
    identified,
    metadata,
    metadata_of_all,
    parts,
    topics,
)
from fiducial.conformance.suite.wire_topics import BAD_NAMES
from fiducial.conformance.symbols import UNKNOWN_ID, Batch, OldIdOf
from fiducial.models import messages as m
from fiducial.models.values import ZERO_UUID

#: Metadata has ids from the first of these versions on, and is asked by them from the last on.
IDS_EARLY, IDS = (10, 11), 12
THREE = topics(a=Topic(partitions=3), b=Topic())
NAMELESS = m.MetadataRequestTopic(ZERO_UUID, None)


def asking(id: str, *story: Step, **more: Any) -> Case:
    """A story about Metadata, in every version."""
    return case(id, *story, **{"topics": topics("absent", a=Topic(partitions=2), b=Topic()), "sweep": m.MetadataRequest, **more})


def asking_by_id(id: str, *story: Step, **more: Any) -> Case:
    """A story about Metadata by ids."""
    return asking(id, *(Step(step.body, version=IDS) for step in story), **{"sweep": None, **more})


METADATA = (
    *(
        asking(f"WIRE-META-1/{slug}-version-{version}", metadata("b", wanted, "b", version=version), sweep=None)
        for version in IDS_EARLY
        for slug, wanted in {"id": identified("a", "a"), "unknown-id": identified(UNKNOWN_ID, "a"), "no-name": NAMELESS}.items()
    ),
    *(
        asking(f"WIRE-META-2/{slug}", metadata(*wanted, version=IDS), metadata("a"), sweep=None)
        for slug, wanted in {"alone": (NAMELESS,), "beside-names": ("a", NAMELESS, "absent", "a")}.items()
    ),
    asking_by_id("WIRE-META-3/never-given", metadata(identified(UNKNOWN_ID), of_topics=True), also=("WIRE-META-10", "WIRE-META-14")),
    asking("WIRE-META-3/given-before", delete("a"), metadata(identified(OldIdOf("a")), version=IDS), sweep=m.DeleteTopicsRequest),
    *(asking(f"WIRE-META-4/{slug}", metadata(name, "a", name), metadata(name, creates=True)) for slug, name in BAD_NAMES.items()),
    asking("WIRE-META-4/too-long", metadata("absent", creates=True), topics=(("absent", Topic(partitions=0, characters=250)),)),
    case(
        "WIRE-META-5/no-topic",
        metadata("absent"),
        metadata("absent"),
        topics=topics("absent"),
        sweep=None,
        also=("WIRE-META-8", "WIRE-META-10"),
    ),
    asking("WIRE-META-6/name-twice", metadata("a", "b", "a", "absent", "absent", "b")),
    asking_by_id("WIRE-META-6/id-twice", metadata(identified("a"), identified("b"), identified("a"), identified(UNKNOWN_ID), identified(UNKNOWN_ID))),
    asking_by_id("WIRE-META-6/names-beside-an-id", metadata("a", identified("b"), "absent", NAMELESS)),
    asking_by_id("WIRE-META-6/name-beside-its-id", metadata(identified("a", "b"), identified("b", "absent"))),
    asking("WIRE-META-7/none", metadata()),
    *(asking(f"WIRE-META-7/all-version-{version}", metadata_of_all(version=version), sweep=None) for version in range(1, 14)),
    asking("WIRE-META-7/null-version-0", metadata_of_all(version=0), metadata("a", version=0), sweep=None, also=("WIRE-FRAME-8",)),
    asking("WIRE-META-8/wanted", metadata("absent", creates=True), metadata("absent"), needs_one_node=True, also=("WIRE-META-5", "WIRE-META-11")),
    asking("WIRE-META-8/not-wanted", metadata("absent"), metadata("absent")),
    asking("WIRE-META-9/every-partition", metadata("a", "b")),
    asking_by_id("WIRE-META-9/by-id", metadata(identified("a"), of_topics=True)),
    asking("WIRE-META-10/by-name", metadata("absent", "a"), topics=topics("absent", a=Topic())),
    asking("WIRE-META-11/controllers-log", metadata("__cluster_metadata", creates=True), metadata("__cluster_metadata", creates=True)),
    asking(
        "WIRE-META-11/too-much-like-another",
        metadata("x_y", creates=True),
        metadata("x_y"),
        topics=topics("x_y", **{"x.y": Topic()}),
    ),
    asking("WIRE-META-12/errors-last", metadata("absent", "a", "a/b", "b", "")),
    asking("WIRE-META-13/brokers", metadata(), topics=()),
    asking("WIRE-META-14/of-topics", metadata("a", "absent", "a/b", of_topics=True)),
    asking("WIRE-META-14/of-the-cluster", metadata("a", of_cluster=True)),
)


def paging(id: str, *story: Step, **more: Any) -> Case:
    """A story about DescribeTopicPartitions."""
    return case(id, *story, **{"topics": (("absent", Topic(partitions=0)), *THREE), "sweep": m.DescribeTopicPartitionsRequest, **more})


PARTS = (
    paging("WIRE-PARTS-1/not-asked-for", parts("a", "b", "a", cursor=("absent", 0)), parts("a", cursor=("b", 0))),
    paging("WIRE-PARTS-1/asked-for-and-absent", parts("absent", "b", cursor=("absent", 0))),
    paging("WIRE-PARTS-2/negative", parts("a", "b", "a", cursor=("a", -1))),
    paging("WIRE-PARTS-2/of-all", parts(cursor=("a", -1))),
    *(paging(f"WIRE-PARTS-3/{slug}", parts(name, "a", cursor=None)) for slug, name in BAD_NAMES.items() if name),
    paging("WIRE-PARTS-3/no-name", parts("", "a"), is_info=True),
    paging("WIRE-PARTS-4/no-topic", parts("absent", "a"), parts("absent"), metadata("absent"), also=("WIRE-PARTS-8",)),
    paging("WIRE-PARTS-5/sorted-and-once", parts("b", "absent", "a", "b")),
    paging("WIRE-PARTS-5/all", parts(limit=1, cursor=("a", 0)), parts(limit=1, cursor=("a", 1)), parts()),
    paging("WIRE-PARTS-6/within-a-topic", parts("a", "b", limit=2), parts("a", "b", limit=2, cursor=("a", 2))),
    paging(
        "WIRE-PARTS-6/at-a-topic-s-end",
        parts("a", "b", limit=3),
        parts("a", "absent", "b", limit=3),
        parts("a", "absent", "b", limit=3, cursor=("absent", 0)),
    ),
    paging("WIRE-PARTS-6/beyond-the-last-partition", parts("a", "b", cursor=("a", 3)), parts("a", "b", limit=1, cursor=("a", 99))),
    paging("WIRE-PARTS-6/errors-cost-nothing", parts("a/b", "absent", "b", limit=1), parts("a/b", "absent", limit=1)),
    paging("WIRE-PARTS-7/at-least-1", parts("a", "b", limit=0), parts("a", limit=-1)),
    paging("WIRE-PARTS-7/as-many-as-there-may-be", parts("a", "b", limit=2**31 - 1)),
    paging("WIRE-PARTS-8/as-in-metadata", parts("a", "absent", "b")),
)


def cluster(operations: bool = False, endpoint_type: int = 1, fenced: bool = False, **step: Any) -> Step:
    """A DescribeCluster request."""
    return Step(m.DescribeClusterRequest(operations, endpoint_type, fenced), **step)


def coordinator(*keys: str, kind: int, **step: Any) -> Step:
    """A FindCoordinator request."""
    return Step(m.FindCoordinatorRequest(keys[0], kind, keys), **step)


def of_the_cluster(id: str, *story: Step, **more: Any) -> Case:
    """A story in which there are no topics."""
    return case(id, *story, **{"topics": (), "sweep": None, **more})


CLUSTER = (
    *(of_the_cluster(f"WIRE-CLUSTER-1/version-{version}", cluster(True, 2, version=version)) for version in (1, 2)),
    *(
        of_the_cluster(f"WIRE-CLUSTER-2/{slug}-version-{version}", cluster(True, kind, version=version))
        for version in (1, 2)
        for slug, kind in {"none": 0, "three": 3, "negative": -1}.items()
    ),
    of_the_cluster("WIRE-CLUSTER-3/brokers", cluster(), sweep=m.DescribeClusterRequest, also=("WIRE-VERSIONS-4",)),
    of_the_cluster("WIRE-CLUSTER-3/operations", cluster(operations=True), sweep=m.DescribeClusterRequest, also=("WIRE-META-14",)),
    of_the_cluster("WIRE-CLUSTER-3/fenced-too", cluster(fenced=True), sweep=m.DescribeClusterRequest),
    *(
        of_the_cluster(f"WIRE-CLUSTER-4/{slug}-version-{version}", coordinator("fiducial", kind=kind, version=version))
        for version in range(1, 7)
        for slug, kind in {"unknown": 9, "negative": -1, "share-group-too-early": 2}.items()
        if (kind, version) != (2, 6)
    ),
    *(of_the_cluster(f"WIRE-CLUSTER-6/many-keys-version-{version}", coordinator("c", "a", "b", "a", kind=9, version=version)) for version in (1, 4, 5, 6)),
)

SOUND = Batch()


def weighing(id: str, *story: Step, **more: Any) -> Case:
    """A story about DescribeLogDirs, in every version."""
    return case(id, *story, **{"topics": (("absent", Topic(partitions=0)), *THREE), "sweep": m.DescribeLogDirsRequest, **more})


DIRS = (
    weighing("WIRE-DIRS-1/sizes", dirs(("a", (0, 1))), produce(SOUND), produce(SOUND), produce(SOUND, index=1), dirs(("a", (0, 1, 2)), ("b", (0,)))),
    weighing("WIRE-DIRS-1/nothing-is-left", dirs(("absent", (0,)), ("a", (7, -1)), ("b", (0, 9)))),
    weighing("WIRE-DIRS-1/deleted-records-count", produce(SOUND), produce(SOUND), delete_records(1), dirs(("a", (0,)))),
    weighing("WIRE-DIRS-2/none", produce(SOUND), dirs()),
    weighing("WIRE-DIRS-2/all", produce(SOUND), Step(m.DescribeLogDirsRequest(None))),
    weighing("WIRE-DIRS-2/topic-twice", dirs(("a", (0, 0)), ("b", (0,)), ("a", (1, 0)))),
)

CASES: tuple[Case, ...] = (*METADATA, *PARTS, *CLUSTER, *DIRS)
