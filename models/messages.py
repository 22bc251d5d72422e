"""Requests and replies, free of versions: one frozen class for each layout, with the protocol's own field names.

A broker's codec fills these by name; a field that the request's version lacks holds the layout's default, and a reply field that the version
lacks is left out on the wire. What a version changes in meaning is decided by the model, which is told the version.
Held against kio's layouts of every version by tests/models/test_messages.py. Ids are 16 bytes, all zero for "none".
"""

from __future__ import annotations

from fiducial.models.batches import SentRecords, Slice
from fiducial.models.values import ZERO_UUID, Uuid, value


@value
class PartitionProduceData:
    """Part of ProduceRequest."""

    index: int = 0
    records: SentRecords | None = None


@value
class TopicProduceData:
    """Part of ProduceRequest."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partition_data: tuple[PartitionProduceData, ...] = ()


@value
class ProduceRequest:
    """API key 0."""

    transactional_id: str | None = None
    acks: int = 0
    timeout_ms: int = 0
    topic_data: tuple[TopicProduceData, ...] = ()


@value
class BatchIndexAndErrorMessage:
    """Part of ProduceResponse."""

    batch_index: int = 0
    batch_index_error_message: str | None = None


@value
class ProduceResponseLeaderIdAndEpoch:
    """Part of ProduceResponse."""

    leader_id: int = -1
    leader_epoch: int = -1


@value
class PartitionProduceResponse:
    """Part of ProduceResponse."""

    index: int = 0
    error_code: int = 0
    base_offset: int = 0
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    record_errors: tuple[BatchIndexAndErrorMessage, ...] = ()
    error_message: str | None = None
    current_leader: ProduceResponseLeaderIdAndEpoch = ProduceResponseLeaderIdAndEpoch()


@value
class TopicProduceResponse:
    """Part of ProduceResponse."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partition_responses: tuple[PartitionProduceResponse, ...] = ()


@value
class ProduceResponseNodeEndpoint:
    """Part of ProduceResponse."""

    node_id: int = 0
    host: str = ""
    port: int = 0
    rack: str | None = None


@value
class ProduceResponse:
    """API key 0."""

    responses: tuple[TopicProduceResponse, ...] = ()
    throttle_time_ms: int = 0
    node_endpoints: tuple[ProduceResponseNodeEndpoint, ...] = ()


@value
class ReplicaState:
    """Part of FetchRequest."""

    replica_id: int = -1
    replica_epoch: int = -1


@value
class FetchPartition:
    """Part of FetchRequest."""

    partition: int = 0
    current_leader_epoch: int = -1
    fetch_offset: int = 0
    last_fetched_epoch: int = -1
    log_start_offset: int = -1
    partition_max_bytes: int = 0
    replica_directory_id: Uuid = ZERO_UUID
    high_watermark: int = 9223372036854775807


@value
class FetchTopic:
    """Part of FetchRequest."""

    topic: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[FetchPartition, ...] = ()


@value
class ForgottenTopic:
    """Part of FetchRequest."""

    topic: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[int, ...] = ()


@value
class FetchRequest:
    """API key 1."""

    cluster_id: str | None = None
    replica_id: int = -1
    replica_state: ReplicaState = ReplicaState()
    max_wait_ms: int = 0
    min_bytes: int = 0
    max_bytes: int = 2147483647
    isolation_level: int = 0
    session_id: int = 0
    session_epoch: int = -1
    topics: tuple[FetchTopic, ...] = ()
    forgotten_topics_data: tuple[ForgottenTopic, ...] = ()
    rack_id: str = ""


@value
class FetchResponseEpochEndOffset:
    """Part of FetchResponse."""

    epoch: int = -1
    end_offset: int = -1


@value
class FetchResponseLeaderIdAndEpoch:
    """Part of FetchResponse."""

    leader_id: int = -1
    leader_epoch: int = -1


@value
class SnapshotId:
    """Part of FetchResponse."""

    end_offset: int = -1
    epoch: int = -1


@value
class AbortedTransaction:
    """Part of FetchResponse."""

    producer_id: int = 0
    first_offset: int = 0


@value
class PartitionData:
    """Part of FetchResponse."""

    partition_index: int = 0
    error_code: int = 0
    high_watermark: int = 0
    last_stable_offset: int = -1
    log_start_offset: int = -1
    diverging_epoch: FetchResponseEpochEndOffset = FetchResponseEpochEndOffset()
    current_leader: FetchResponseLeaderIdAndEpoch = FetchResponseLeaderIdAndEpoch()
    snapshot_id: SnapshotId = SnapshotId()
    aborted_transactions: tuple[AbortedTransaction, ...] | None = ()
    preferred_read_replica: int = -1
    records: Slice | None = None


@value
class FetchableTopicResponse:
    """Part of FetchResponse."""

    topic: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[PartitionData, ...] = ()


@value
class FetchResponseNodeEndpoint:
    """Part of FetchResponse."""

    node_id: int = 0
    host: str = ""
    port: int = 0
    rack: str | None = None


@value
class FetchResponse:
    """API key 1."""

    throttle_time_ms: int = 0
    error_code: int = 0
    session_id: int = 0
    responses: tuple[FetchableTopicResponse, ...] = ()
    node_endpoints: tuple[FetchResponseNodeEndpoint, ...] = ()


@value
class ListOffsetsPartition:
    """Part of ListOffsetsRequest."""

    partition_index: int = 0
    current_leader_epoch: int = -1
    timestamp: int = 0


@value
class ListOffsetsTopic:
    """Part of ListOffsetsRequest."""

    name: str = ""
    partitions: tuple[ListOffsetsPartition, ...] = ()


@value
class ListOffsetsRequest:
    """API key 2."""

    replica_id: int = 0
    isolation_level: int = 0
    topics: tuple[ListOffsetsTopic, ...] = ()
    timeout_ms: int = 0


@value
class ListOffsetsPartitionResponse:
    """Part of ListOffsetsResponse."""

    partition_index: int = 0
    error_code: int = 0
    timestamp: int = -1
    offset: int = -1
    leader_epoch: int = -1


@value
class ListOffsetsTopicResponse:
    """Part of ListOffsetsResponse."""

    name: str = ""
    partitions: tuple[ListOffsetsPartitionResponse, ...] = ()


@value
class ListOffsetsResponse:
    """API key 2."""

    throttle_time_ms: int = 0
    topics: tuple[ListOffsetsTopicResponse, ...] = ()


@value
class MetadataRequestTopic:
    """Part of MetadataRequest."""

    topic_id: Uuid = ZERO_UUID
    name: str | None = ""


@value
class MetadataRequest:
    """API key 3."""

    topics: tuple[MetadataRequestTopic, ...] | None = ()
    allow_auto_topic_creation: bool = True
    include_cluster_authorized_operations: bool = False
    include_topic_authorized_operations: bool = False


@value
class MetadataResponseBroker:
    """Part of MetadataResponse."""

    node_id: int = 0
    host: str = ""
    port: int = 0
    rack: str | None = None


@value
class MetadataResponsePartition:
    """Part of MetadataResponse."""

    error_code: int = 0
    partition_index: int = 0
    leader_id: int = 0
    leader_epoch: int = -1
    replica_nodes: tuple[int, ...] = ()
    isr_nodes: tuple[int, ...] = ()
    offline_replicas: tuple[int, ...] = ()


@value
class MetadataResponseTopic:
    """Part of MetadataResponse."""

    error_code: int = 0
    name: str | None = ""
    topic_id: Uuid = ZERO_UUID
    is_internal: bool = False
    partitions: tuple[MetadataResponsePartition, ...] = ()
    topic_authorized_operations: int = -2147483648


@value
class MetadataResponse:
    """API key 3."""

    throttle_time_ms: int = 0
    brokers: tuple[MetadataResponseBroker, ...] = ()
    cluster_id: str | None = None
    controller_id: int = -1
    topics: tuple[MetadataResponseTopic, ...] = ()
    cluster_authorized_operations: int = -2147483648
    error_code: int = 0


@value
class DescribeTopicPartitionsRequestTopicRequest:
    """Part of DescribeTopicPartitionsRequest."""

    name: str = ""


@value
class DescribeTopicPartitionsRequestCursor:
    """Part of DescribeTopicPartitionsRequest."""

    topic_name: str = ""
    partition_index: int = 0


@value
class DescribeTopicPartitionsRequest:
    """API key 75."""

    topics: tuple[DescribeTopicPartitionsRequestTopicRequest, ...] = ()
    response_partition_limit: int = 2000
    cursor: DescribeTopicPartitionsRequestCursor | None = None


@value
class DescribeTopicPartitionsResponsePartition:
    """Part of DescribeTopicPartitionsResponse."""

    error_code: int = 0
    partition_index: int = 0
    leader_id: int = 0
    leader_epoch: int = -1
    replica_nodes: tuple[int, ...] = ()
    isr_nodes: tuple[int, ...] = ()
    eligible_leader_replicas: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None
    offline_replicas: tuple[int, ...] = ()


@value
class DescribeTopicPartitionsResponseTopic:
    """Part of DescribeTopicPartitionsResponse."""

    error_code: int = 0
    name: str | None = ""
    topic_id: Uuid = ZERO_UUID
    is_internal: bool = False
    partitions: tuple[DescribeTopicPartitionsResponsePartition, ...] = ()
    topic_authorized_operations: int = -2147483648


@value
class DescribeTopicPartitionsResponseCursor:
    """Part of DescribeTopicPartitionsResponse."""

    topic_name: str = ""
    partition_index: int = 0


@value
class DescribeTopicPartitionsResponse:
    """API key 75."""

    throttle_time_ms: int = 0
    topics: tuple[DescribeTopicPartitionsResponseTopic, ...] = ()
    next_cursor: DescribeTopicPartitionsResponseCursor | None = None


@value
class ApiVersionsRequest:
    """API key 18."""

    client_software_name: str = ""
    client_software_version: str = ""


@value
class ApiVersion:
    """Part of ApiVersionsResponse."""

    api_key: int = 0
    min_version: int = 0
    max_version: int = 0


@value
class SupportedFeatureKey:
    """Part of ApiVersionsResponse."""

    name: str = ""
    min_version: int = 0
    max_version: int = 0


@value
class FinalizedFeatureKey:
    """Part of ApiVersionsResponse."""

    name: str = ""
    max_version_level: int = 0
    min_version_level: int = 0


@value
class ApiVersionsResponse:
    """API key 18."""

    error_code: int = 0
    api_keys: tuple[ApiVersion, ...] = ()
    throttle_time_ms: int = 0
    supported_features: tuple[SupportedFeatureKey, ...] = ()
    finalized_features_epoch: int = -1
    finalized_features: tuple[FinalizedFeatureKey, ...] = ()
    zk_migration_ready: bool = False


@value
class CreatableReplicaAssignment:
    """Part of CreateTopicsRequest."""

    partition_index: int = 0
    broker_ids: tuple[int, ...] = ()


@value
class CreatableTopicConfig:
    """Part of CreateTopicsRequest."""

    name: str = ""
    value: str | None = ""


@value
class CreatableTopic:
    """Part of CreateTopicsRequest."""

    name: str = ""
    num_partitions: int = 0
    replication_factor: int = 0
    assignments: tuple[CreatableReplicaAssignment, ...] = ()
    configs: tuple[CreatableTopicConfig, ...] = ()


@value
class CreateTopicsRequest:
    """API key 19."""

    topics: tuple[CreatableTopic, ...] = ()
    timeout_ms: int = 60000
    validate_only: bool = False


@value
class CreatableTopicConfigs:
    """Part of CreateTopicsResponse."""

    name: str = ""
    value: str | None = ""
    read_only: bool = False
    config_source: int = -1
    is_sensitive: bool = False


@value
class CreatableTopicResult:
    """Part of CreateTopicsResponse."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    error_code: int = 0
    error_message: str | None = ""
    topic_config_error_code: int = 0
    num_partitions: int = -1
    replication_factor: int = -1
    configs: tuple[CreatableTopicConfigs, ...] | None = ()


@value
class CreateTopicsResponse:
    """API key 19."""

    throttle_time_ms: int = 0
    topics: tuple[CreatableTopicResult, ...] = ()


@value
class DeleteTopicState:
    """Part of DeleteTopicsRequest."""

    name: str | None = None
    topic_id: Uuid = ZERO_UUID


@value
class DeleteTopicsRequest:
    """API key 20."""

    topics: tuple[DeleteTopicState, ...] = ()
    topic_names: tuple[str, ...] = ()
    timeout_ms: int = 0


@value
class DeletableTopicResult:
    """Part of DeleteTopicsResponse."""

    name: str | None = ""
    topic_id: Uuid = ZERO_UUID
    error_code: int = 0
    error_message: str | None = None


@value
class DeleteTopicsResponse:
    """API key 20."""

    throttle_time_ms: int = 0
    responses: tuple[DeletableTopicResult, ...] = ()


@value
class CreatePartitionsAssignment:
    """Part of CreatePartitionsRequest."""

    broker_ids: tuple[int, ...] = ()


@value
class CreatePartitionsTopic:
    """Part of CreatePartitionsRequest."""

    name: str = ""
    count: int = 0
    assignments: tuple[CreatePartitionsAssignment, ...] | None = ()


@value
class CreatePartitionsRequest:
    """API key 37."""

    topics: tuple[CreatePartitionsTopic, ...] = ()
    timeout_ms: int = 0
    validate_only: bool = False


@value
class CreatePartitionsTopicResult:
    """Part of CreatePartitionsResponse."""

    name: str = ""
    error_code: int = 0
    error_message: str | None = None


@value
class CreatePartitionsResponse:
    """API key 37."""

    throttle_time_ms: int = 0
    results: tuple[CreatePartitionsTopicResult, ...] = ()


@value
class DeleteRecordsPartition:
    """Part of DeleteRecordsRequest."""

    partition_index: int = 0
    offset: int = 0


@value
class DeleteRecordsTopic:
    """Part of DeleteRecordsRequest."""

    name: str = ""
    partitions: tuple[DeleteRecordsPartition, ...] = ()


@value
class DeleteRecordsRequest:
    """API key 21."""

    topics: tuple[DeleteRecordsTopic, ...] = ()
    timeout_ms: int = 0


@value
class DeleteRecordsPartitionResult:
    """Part of DeleteRecordsResponse."""

    partition_index: int = 0
    low_watermark: int = 0
    error_code: int = 0


@value
class DeleteRecordsTopicResult:
    """Part of DeleteRecordsResponse."""

    name: str = ""
    partitions: tuple[DeleteRecordsPartitionResult, ...] = ()


@value
class DeleteRecordsResponse:
    """API key 21."""

    throttle_time_ms: int = 0
    topics: tuple[DeleteRecordsTopicResult, ...] = ()


@value
class DescribeConfigsResource:
    """Part of DescribeConfigsRequest."""

    resource_type: int = 0
    resource_name: str = ""
    configuration_keys: tuple[str, ...] | None = ()


@value
class DescribeConfigsRequest:
    """API key 32."""

    resources: tuple[DescribeConfigsResource, ...] = ()
    include_synonyms: bool = False
    include_documentation: bool = False


@value
class DescribeConfigsSynonym:
    """Part of DescribeConfigsResponse."""

    name: str = ""
    value: str | None = ""
    source: int = 0


@value
class DescribeConfigsResourceResult:
    """Part of DescribeConfigsResponse."""

    name: str = ""
    value: str | None = ""
    read_only: bool = False
    config_source: int = -1
    is_sensitive: bool = False
    synonyms: tuple[DescribeConfigsSynonym, ...] = ()
    config_type: int = 0
    documentation: str | None = ""


@value
class DescribeConfigsResult:
    """Part of DescribeConfigsResponse."""

    error_code: int = 0
    error_message: str | None = ""
    resource_type: int = 0
    resource_name: str = ""
    configs: tuple[DescribeConfigsResourceResult, ...] = ()


@value
class DescribeConfigsResponse:
    """API key 32."""

    throttle_time_ms: int = 0
    results: tuple[DescribeConfigsResult, ...] = ()


@value
class IncrementalAlterConfigsRequestAlterableConfig:
    """Part of IncrementalAlterConfigsRequest."""

    name: str = ""
    config_operation: int = 0
    value: str | None = ""


@value
class IncrementalAlterConfigsRequestAlterConfigsResource:
    """Part of IncrementalAlterConfigsRequest."""

    resource_type: int = 0
    resource_name: str = ""
    configs: tuple[IncrementalAlterConfigsRequestAlterableConfig, ...] = ()


@value
class IncrementalAlterConfigsRequest:
    """API key 44."""

    resources: tuple[IncrementalAlterConfigsRequestAlterConfigsResource, ...] = ()
    validate_only: bool = False


@value
class IncrementalAlterConfigsResponseAlterConfigsResourceResponse:
    """Part of IncrementalAlterConfigsResponse."""

    error_code: int = 0
    error_message: str | None = ""
    resource_type: int = 0
    resource_name: str = ""


@value
class IncrementalAlterConfigsResponse:
    """API key 44."""

    throttle_time_ms: int = 0
    responses: tuple[IncrementalAlterConfigsResponseAlterConfigsResourceResponse, ...] = ()


@value
class AlterConfigsRequestAlterableConfig:
    """Part of AlterConfigsRequest."""

    name: str = ""
    value: str | None = ""


@value
class AlterConfigsRequestResource:
    """Part of AlterConfigsRequest."""

    resource_type: int = 0
    resource_name: str = ""
    configs: tuple[AlterConfigsRequestAlterableConfig, ...] = ()


@value
class AlterConfigsRequest:
    """API key 33."""

    resources: tuple[AlterConfigsRequestResource, ...] = ()
    validate_only: bool = False


@value
class AlterConfigsResponseResourceResponse:
    """Part of AlterConfigsResponse."""

    error_code: int = 0
    error_message: str | None = ""
    resource_type: int = 0
    resource_name: str = ""


@value
class AlterConfigsResponse:
    """API key 33."""

    throttle_time_ms: int = 0
    responses: tuple[AlterConfigsResponseResourceResponse, ...] = ()


@value
class ListConfigResourcesRequest:
    """API key 74."""

    resource_types: tuple[int, ...] = ()


@value
class ConfigResource:
    """Part of ListConfigResourcesResponse."""

    resource_name: str = ""
    resource_type: int = 16


@value
class ListConfigResourcesResponse:
    """API key 74."""

    throttle_time_ms: int = 0
    error_code: int = 0
    config_resources: tuple[ConfigResource, ...] = ()


@value
class InitProducerIdRequest:
    """API key 22."""

    transactional_id: str | None = ""
    transaction_timeout_ms: int = 0
    producer_id: int = -1
    producer_epoch: int = -1


@value
class InitProducerIdResponse:
    """API key 22."""

    throttle_time_ms: int = 0
    error_code: int = 0
    producer_id: int = -1
    producer_epoch: int = 0


@value
class DescribeClusterRequest:
    """API key 60."""

    include_cluster_authorized_operations: bool = False
    endpoint_type: int = 1
    include_fenced_brokers: bool = False


@value
class DescribeClusterBroker:
    """Part of DescribeClusterResponse."""

    broker_id: int = 0
    host: str = ""
    port: int = 0
    rack: str | None = None
    is_fenced: bool = False


@value
class DescribeClusterResponse:
    """API key 60."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = None
    endpoint_type: int = 1
    cluster_id: str = ""
    controller_id: int = -1
    brokers: tuple[DescribeClusterBroker, ...] = ()
    cluster_authorized_operations: int = -2147483648


@value
class FindCoordinatorRequest:
    """API key 10."""

    key: str = ""
    key_type: int = 0
    coordinator_keys: tuple[str, ...] = ()


@value
class Coordinator:
    """Part of FindCoordinatorResponse."""

    key: str = ""
    node_id: int = 0
    host: str = ""
    port: int = 0
    error_code: int = 0
    error_message: str | None = ""


@value
class FindCoordinatorResponse:
    """API key 10."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = ""
    node_id: int = 0
    host: str = ""
    port: int = 0
    coordinators: tuple[Coordinator, ...] = ()


@value
class DescribeProducersRequestTopicRequest:
    """Part of DescribeProducersRequest."""

    name: str = ""
    partition_indexes: tuple[int, ...] = ()


@value
class DescribeProducersRequest:
    """API key 61."""

    topics: tuple[DescribeProducersRequestTopicRequest, ...] = ()


@value
class ProducerState:
    """Part of DescribeProducersResponse."""

    producer_id: int = 0
    producer_epoch: int = 0
    last_sequence: int = -1
    last_timestamp: int = -1
    coordinator_epoch: int = 0
    current_txn_start_offset: int = -1


@value
class PartitionResponse:
    """Part of DescribeProducersResponse."""

    partition_index: int = 0
    error_code: int = 0
    error_message: str | None = None
    active_producers: tuple[ProducerState, ...] = ()


@value
class TopicResponse:
    """Part of DescribeProducersResponse."""

    name: str = ""
    partitions: tuple[PartitionResponse, ...] = ()


@value
class DescribeProducersResponse:
    """API key 61."""

    throttle_time_ms: int = 0
    topics: tuple[TopicResponse, ...] = ()


@value
class OffsetForLeaderPartition:
    """Part of OffsetForLeaderEpochRequest."""

    partition: int = 0
    current_leader_epoch: int = -1
    leader_epoch: int = 0


@value
class OffsetForLeaderTopic:
    """Part of OffsetForLeaderEpochRequest."""

    topic: str = ""
    partitions: tuple[OffsetForLeaderPartition, ...] = ()


@value
class OffsetForLeaderEpochRequest:
    """API key 23."""

    replica_id: int = -2
    topics: tuple[OffsetForLeaderTopic, ...] = ()


@value
class OffsetForLeaderEpochResponseEpochEndOffset:
    """Part of OffsetForLeaderEpochResponse."""

    error_code: int = 0
    partition: int = 0
    leader_epoch: int = -1
    end_offset: int = -1


@value
class OffsetForLeaderTopicResult:
    """Part of OffsetForLeaderEpochResponse."""

    topic: str = ""
    partitions: tuple[OffsetForLeaderEpochResponseEpochEndOffset, ...] = ()


@value
class OffsetForLeaderEpochResponse:
    """API key 23."""

    throttle_time_ms: int = 0
    topics: tuple[OffsetForLeaderTopicResult, ...] = ()


@value
class DescribableLogDirTopic:
    """Part of DescribeLogDirsRequest."""

    topic: str = ""
    partitions: tuple[int, ...] = ()


@value
class DescribeLogDirsRequest:
    """API key 35."""

    topics: tuple[DescribableLogDirTopic, ...] | None = ()


@value
class DescribeLogDirsPartition:
    """Part of DescribeLogDirsResponse."""

    partition_index: int = 0
    partition_size: int = 0
    offset_lag: int = 0
    is_future_key: bool = False


@value
class DescribeLogDirsTopic:
    """Part of DescribeLogDirsResponse."""

    name: str = ""
    partitions: tuple[DescribeLogDirsPartition, ...] = ()


@value
class DescribeLogDirsResult:
    """Part of DescribeLogDirsResponse."""

    error_code: int = 0
    log_dir: str = ""
    topics: tuple[DescribeLogDirsTopic, ...] = ()
    total_bytes: int = -1
    usable_bytes: int = -1
    is_cordoned: bool = False


@value
class DescribeLogDirsResponse:
    """API key 35."""

    throttle_time_ms: int = 0
    error_code: int = 0
    results: tuple[DescribeLogDirsResult, ...] = ()


@value
class OffsetCommitRequestPartition:
    """Part of OffsetCommitRequest."""

    partition_index: int = 0
    committed_offset: int = 0
    committed_leader_epoch: int = -1
    committed_metadata: str | None = ""


@value
class OffsetCommitRequestTopic:
    """Part of OffsetCommitRequest."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[OffsetCommitRequestPartition, ...] = ()


@value
class OffsetCommitRequest:
    """API key 8."""

    group_id: str = ""
    generation_id_or_member_epoch: int = -1
    member_id: str = ""
    group_instance_id: str | None = None
    retention_time_ms: int = -1
    topics: tuple[OffsetCommitRequestTopic, ...] = ()


@value
class OffsetCommitResponsePartition:
    """Part of OffsetCommitResponse."""

    partition_index: int = 0
    error_code: int = 0


@value
class OffsetCommitResponseTopic:
    """Part of OffsetCommitResponse."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[OffsetCommitResponsePartition, ...] = ()


@value
class OffsetCommitResponse:
    """API key 8."""

    topics: tuple[OffsetCommitResponseTopic, ...] = ()
    throttle_time_ms: int = 0


@value
class OffsetFetchRequestTopic:
    """Part of OffsetFetchRequest."""

    name: str = ""
    partition_indexes: tuple[int, ...] = ()


@value
class OffsetFetchRequestTopics:
    """Part of OffsetFetchRequest."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partition_indexes: tuple[int, ...] = ()


@value
class OffsetFetchRequestGroup:
    """Part of OffsetFetchRequest."""

    group_id: str = ""
    member_id: str | None = None
    member_epoch: int = -1
    topics: tuple[OffsetFetchRequestTopics, ...] | None = ()


@value
class OffsetFetchRequest:
    """API key 9."""

    group_id: str = ""
    topics: tuple[OffsetFetchRequestTopic, ...] | None = ()
    groups: tuple[OffsetFetchRequestGroup, ...] = ()
    require_stable: bool = False


@value
class OffsetFetchResponsePartition:
    """Part of OffsetFetchResponse."""

    partition_index: int = 0
    committed_offset: int = 0
    committed_leader_epoch: int = -1
    metadata: str | None = ""
    error_code: int = 0


@value
class OffsetFetchResponseTopic:
    """Part of OffsetFetchResponse."""

    name: str = ""
    partitions: tuple[OffsetFetchResponsePartition, ...] = ()


@value
class OffsetFetchResponsePartitions:
    """Part of OffsetFetchResponse."""

    partition_index: int = 0
    committed_offset: int = 0
    committed_leader_epoch: int = -1
    metadata: str | None = ""
    error_code: int = 0


@value
class OffsetFetchResponseTopics:
    """Part of OffsetFetchResponse."""

    name: str = ""
    topic_id: Uuid = ZERO_UUID
    partitions: tuple[OffsetFetchResponsePartitions, ...] = ()


@value
class OffsetFetchResponseGroup:
    """Part of OffsetFetchResponse."""

    group_id: str = ""
    topics: tuple[OffsetFetchResponseTopics, ...] = ()
    error_code: int = 0


@value
class OffsetFetchResponse:
    """API key 9."""

    topics: tuple[OffsetFetchResponseTopic, ...] = ()
    error_code: int = 0
    groups: tuple[OffsetFetchResponseGroup, ...] = ()
    throttle_time_ms: int = 0


@value
class JoinGroupRequestProtocol:
    """Part of JoinGroupRequest."""

    name: str = ""
    metadata: bytes = b""


@value
class JoinGroupRequest:
    """API key 11."""

    group_id: str = ""
    session_timeout_ms: int = 0
    rebalance_timeout_ms: int = -1
    member_id: str = ""
    group_instance_id: str | None = None
    protocol_type: str = ""
    protocols: tuple[JoinGroupRequestProtocol, ...] = ()
    reason: str | None = None


@value
class JoinGroupResponseMember:
    """Part of JoinGroupResponse."""

    member_id: str = ""
    group_instance_id: str | None = None
    metadata: bytes = b""


@value
class JoinGroupResponse:
    """API key 11."""

    error_code: int = 0
    generation_id: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = ""
    leader: str = ""
    skip_assignment: bool = False
    member_id: str = ""
    members: tuple[JoinGroupResponseMember, ...] = ()
    throttle_time_ms: int = 0


@value
class HeartbeatRequest:
    """API key 12."""

    group_id: str = ""
    generation_id: int = 0
    member_id: str = ""
    group_instance_id: str | None = None


@value
class HeartbeatResponse:
    """API key 12."""

    error_code: int = 0
    throttle_time_ms: int = 0


@value
class MemberIdentity:
    """Part of LeaveGroupRequest."""

    member_id: str = ""
    group_instance_id: str | None = None
    reason: str | None = None


@value
class LeaveGroupRequest:
    """API key 13."""

    group_id: str = ""
    member_id: str = ""
    members: tuple[MemberIdentity, ...] = ()


@value
class MemberResponse:
    """Part of LeaveGroupResponse."""

    member_id: str = ""
    group_instance_id: str | None = ""
    error_code: int = 0


@value
class LeaveGroupResponse:
    """API key 13."""

    error_code: int = 0
    members: tuple[MemberResponse, ...] = ()
    throttle_time_ms: int = 0


@value
class SyncGroupRequestAssignment:
    """Part of SyncGroupRequest."""

    member_id: str = ""
    assignment: bytes = b""


@value
class SyncGroupRequest:
    """API key 14."""

    group_id: str = ""
    generation_id: int = 0
    member_id: str = ""
    group_instance_id: str | None = None
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignments: tuple[SyncGroupRequestAssignment, ...] = ()


@value
class SyncGroupResponse:
    """API key 14."""

    error_code: int = 0
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""
    throttle_time_ms: int = 0


@value
class DescribeGroupsRequest:
    """API key 15."""

    groups: tuple[str, ...] = ()
    include_authorized_operations: bool = False


@value
class DescribedGroupMember:
    """Part of DescribeGroupsResponse."""

    member_id: str = ""
    group_instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    member_metadata: bytes = b""
    member_assignment: bytes = b""


@value
class DescribedGroup:
    """Part of DescribeGroupsResponse."""

    error_code: int = 0
    error_message: str | None = None
    group_id: str = ""
    group_state: str = ""
    protocol_type: str = ""
    protocol_data: str = ""
    members: tuple[DescribedGroupMember, ...] = ()
    authorized_operations: int = -2147483648


@value
class DescribeGroupsResponse:
    """API key 15."""

    groups: tuple[DescribedGroup, ...] = ()
    throttle_time_ms: int = 0


@value
class ListGroupsRequest:
    """API key 16."""

    states_filter: tuple[str, ...] = ()
    types_filter: tuple[str, ...] = ()


@value
class ListedGroup:
    """Part of ListGroupsResponse."""

    group_id: str = ""
    protocol_type: str = ""
    group_state: str = ""
    group_type: str = ""


@value
class ListGroupsResponse:
    """API key 16."""

    error_code: int = 0
    groups: tuple[ListedGroup, ...] = ()
    throttle_time_ms: int = 0


@value
class DeleteGroupsRequest:
    """API key 42."""

    groups_names: tuple[str, ...] = ()


@value
class DeletableGroupResult:
    """Part of DeleteGroupsResponse."""

    group_id: str = ""
    error_code: int = 0


@value
class DeleteGroupsResponse:
    """API key 42."""

    results: tuple[DeletableGroupResult, ...] = ()
    throttle_time_ms: int = 0


@value
class OffsetDeleteRequestPartition:
    """Part of OffsetDeleteRequest."""

    partition_index: int = 0


@value
class OffsetDeleteRequestTopic:
    """Part of OffsetDeleteRequest."""

    name: str = ""
    partitions: tuple[OffsetDeleteRequestPartition, ...] = ()


@value
class OffsetDeleteRequest:
    """API key 47."""

    group_id: str = ""
    topics: tuple[OffsetDeleteRequestTopic, ...] = ()


@value
class OffsetDeleteResponsePartition:
    """Part of OffsetDeleteResponse."""

    partition_index: int = 0
    error_code: int = 0


@value
class OffsetDeleteResponseTopic:
    """Part of OffsetDeleteResponse."""

    name: str = ""
    partitions: tuple[OffsetDeleteResponsePartition, ...] = ()


@value
class OffsetDeleteResponse:
    """API key 47."""

    error_code: int = 0
    topics: tuple[OffsetDeleteResponseTopic, ...] = ()
    throttle_time_ms: int = 0
