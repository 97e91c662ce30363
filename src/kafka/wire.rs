//! kafka-protocol's messages inside rskafka's `Messenger`.
//!
//! rskafka moves frames and matches answers to requests; kafka-protocol knows the messages of current protocol
//! versions. This file is the seam between the two, and the only one that names either's traits. An [`Api`] is one
//! request at a range of versions; the messenger takes the highest that both sides speak.
//! Why two libraries: `docs/decisions/0001-rskafka-carries-the-connection.md`.

use std::io::Cursor;

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::*,
    protocol::{Decodable, Encodable, Message, Request},
};
use rskafka::protocol::{
    api_key::ApiKey as WireKey,
    api_version::{ApiVersion, ApiVersionRange},
    messages::{ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType},
    primitives::Int16,
    traits::{ReadError, WriteError},
};

use super::guard::Guarded;

/// One request of the protocol at the versions that this client speaks.
pub(crate) trait Api: Send + 'static {
    type Request: Request<Response = Self::Response> + Send;
    type Response: Decodable + Send + 'static;
    const NAME: &'static str;
    const KEY: i16 = <Self::Request as Request>::KEY;
    const MIN: i16;
    const MAX: i16;
    /// First version whose request header has tagged fields.
    const FLEXIBLE: i16;
    /// The same for the response header; ApiVersions never has them (KIP-511).
    const FLEXIBLE_RESPONSE: i16 = Self::FLEXIBLE;
}

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident = $request:ident -> $response:ident, $min:literal..=$max:literal, flexible from $flexible:literal $(, response never $never:literal)?;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}
        impl Api for $name {
            type Request = $request;
            type Response = $response;
            const NAME: &'static str = stringify!($name);
            const MIN: i16 = $min;
            const MAX: i16 = $max;
            const FLEXIBLE: i16 = $flexible;
            $(const FLEXIBLE_RESPONSE: i16 = $never;)?
        }
        // A range outside what the codec can encode would only show at run time.
        const _: () = assert!($min >= <$request as Message>::VERSIONS.min && $max <= <$request as Message>::VERSIONS.max);
    )*};
}

apis! {
    ApiVersions = ApiVersionsRequest -> ApiVersionsResponse, 0..=3, flexible from 3, response never 32767;
    /// From version 4 on a request can say that it does not want topics made.
    Metadata = MetadataRequest -> MetadataResponse, 4..=13, flexible from 9;
    /// Capped below version 12, from which a transactional produce implies KIP-890's second half (an epoch per
    /// transaction); this client adds partitions by `AddPartitionsToTxn`, which every broker since 0.11 knows.
    Produce = ProduceRequest -> ProduceResponse, 3..=11, flexible from 9;
    /// Topics by name: the embedded broker, and brokers before 3.1.
    FetchByName = FetchRequest -> FetchResponse, 4..=12, flexible from 12;
    /// Topics by id (KIP-516): a topic that was deleted and made again is not mistaken for the old one.
    FetchById = FetchRequest -> FetchResponse, 13..=17, flexible from 12;
    ListOffsets = ListOffsetsRequest -> ListOffsetsResponse, 1..=8, flexible from 6;
    /// From version 1 on the exchange travels in requests of its own (KIP-152).
    SaslHandshake = SaslHandshakeRequest -> SaslHandshakeResponse, 1..=1, flexible from 32767;
    /// From version 1 on the answer tells the session's lifetime (KIP-368).
    SaslAuthenticate = SaslAuthenticateRequest -> SaslAuthenticateResponse, 0..=2, flexible from 2;
    FindCoordinator = FindCoordinatorRequest -> FindCoordinatorResponse, 1..=4, flexible from 3;
    JoinGroup = JoinGroupRequest -> JoinGroupResponse, 2..=9, flexible from 6;
    SyncGroup = SyncGroupRequest -> SyncGroupResponse, 1..=5, flexible from 4;
    Heartbeat = HeartbeatRequest -> HeartbeatResponse, 1..=4, flexible from 4;
    LeaveGroup = LeaveGroupRequest -> LeaveGroupResponse, 1..=5, flexible from 4;
    OffsetCommit = OffsetCommitRequest -> OffsetCommitResponse, 2..=9, flexible from 8;
    OffsetFetch = OffsetFetchRequest -> OffsetFetchResponse, 2..=9, flexible from 6;
    ListGroups = ListGroupsRequest -> ListGroupsResponse, 0..=5, flexible from 3;
    DescribeGroups = DescribeGroupsRequest -> DescribeGroupsResponse, 0..=6, flexible from 5;
    DeleteGroups = DeleteGroupsRequest -> DeleteGroupsResponse, 0..=2, flexible from 2;
    /// KIP-848: members whose partitions the coordinator assigns. From version 1 on they make their own ids.
    ConsumerGroupHeartbeat = ConsumerGroupHeartbeatRequest -> ConsumerGroupHeartbeatResponse, 0..=1, flexible from 0;
    ConsumerGroupDescribe = ConsumerGroupDescribeRequest -> ConsumerGroupDescribeResponse, 0..=1, flexible from 0;
    InitProducerId = InitProducerIdRequest -> InitProducerIdResponse, 0..=4, flexible from 2;
    AddPartitionsToTxn = AddPartitionsToTxnRequest -> AddPartitionsToTxnResponse, 0..=3, flexible from 3;
    EndTxn = EndTxnRequest -> EndTxnResponse, 0..=3, flexible from 3;
    CreateTopics = CreateTopicsRequest -> CreateTopicsResponse, 2..=7, flexible from 5;
    DeleteTopics = DeleteTopicsRequest -> DeleteTopicsResponse, 1..=5, flexible from 4;
    CreatePartitions = CreatePartitionsRequest -> CreatePartitionsResponse, 0..=3, flexible from 2;
    DeleteRecords = DeleteRecordsRequest -> DeleteRecordsResponse, 0..=2, flexible from 2;
    DescribeConfigs = DescribeConfigsRequest -> DescribeConfigsResponse, 1..=4, flexible from 4;
    /// From version 1 on it tells times (KIP-836).
    DescribeQuorum = DescribeQuorumRequest -> DescribeQuorumResponse, 1..=2, flexible from 0;
    IncrementalAlterConfigs = IncrementalAlterConfigsRequest -> IncrementalAlterConfigsResponse, 0..=1, flexible from 1;
}

/// How rskafka names an API. Always by number, so that the table of versions and the requests agree on every key,
/// the ones included that rskafka has no name for.
pub(crate) fn wire_key(key: i16) -> WireKey {
    WireKey::Unknown(Int16(key))
}

pub(crate) fn wire_range(min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(min)), ApiVersion(Int16(max)))
}

pub(crate) struct Outgoing<A: Api>(pub A::Request);
pub(crate) struct Incoming<A: Api>(pub A::Response);

impl<A: Api> RequestBody for Outgoing<A> {
    type ResponseBody = Incoming<A>;
    const API_KEY: WireKey = WireKey::Unknown(Int16(A::KEY));
    const API_VERSION_RANGE: ApiVersionRange =
        ApiVersionRange::new(ApiVersion(Int16(A::MIN)), ApiVersion(Int16(A::MAX)));
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(A::FLEXIBLE));
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion = ApiVersion(Int16(A::FLEXIBLE_RESPONSE));
}

impl<A: Api> WriteVersionedType<Vec<u8>> for Outgoing<A> {
    fn write_versioned(&self, out: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        let version = version.0.0;
        let size = self.0.compute_size(version).map_err(unwritable)?;
        out.reserve_exact(size);
        self.0.encode(out, version).map_err(unwritable)
    }
}

fn unwritable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> WriteVersionedError {
    WriteVersionedError::WriteError(WriteError::Malformed(error.into()))
}

/// Concrete over the cursor, not generic over `Read`: the answer's buffer is taken over whole, and record batches
/// are slices of it.
impl<A: Api> ReadVersionedType<Cursor<Vec<u8>>> for Incoming<A> {
    fn read_versioned(reader: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let at = reader.position() as usize;
        let mut body = Bytes::from(std::mem::take(reader.get_mut()));
        reader.set_position(0); // the messenger compares position and length; both are 0 now
        body.advance(at.min(body.len()));
        let mut body = Guarded::new(body, version.0.0 >= A::FLEXIBLE);
        let response = A::Response::decode(&mut body, version.0.0)
            .map_err(|error| ReadVersionedError::ReadError(ReadError::Malformed(error.into())))?;
        if body.remaining() == 0 {
            Ok(Incoming(response))
        } else {
            let rest = format!("{} bytes behind the end of the message", body.remaining());
            Err(ReadVersionedError::ReadError(ReadError::Malformed(rest.into())))
        }
    }
}
