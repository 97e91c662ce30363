//! A membership's questions as requests of the protocol, and the answers as its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::{
    messages::{
        ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
        consumer_group_heartbeat_request::TopicPartitions, join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{
    GroupConfig,
    assignor::{Assignor, Member, Plan},
    membership::{Ask, Event, Joined, Told},
    protocol::{Subscription, decode_assignment, encode_assignment},
    text,
};
use crate::kafka::{
    cluster::{Cluster, NodeId, Role, topic_name},
    committed::group_id,
    coordinator::Coordinated,
    error::{Code, Error, Result, check},
    record::TopicPartition,
    wire::{ConsumerGroupHeartbeat, Heartbeat, JoinGroup, LeaveGroup, SyncGroup},
};

/// The name of what groups of consumers coordinate, as all clients have it.
const CONSUMERS: StrBytes = StrBytes::from_static_str("consumer");
/// How long a Join may take beyond the time that the coordinator waits for the other members.
const BEYOND_REBALANCE: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub cluster: Cluster,
    pub config: Arc<GroupConfig>,
}

impl Asker {
    /// One question, asked once: whether to ask again the membership decides.
    pub(crate) async fn ask(&self, ask: Ask) -> Event {
        let answer = match ask {
            Ask::Join { member_id, generation, owned } => self.join(&member_id, generation, owned).await,
            Ask::Counts(topics) => self.counts(&topics).await.map(Event::Counts),
            Ask::Sync { member_id, generation, assignor, plan } => {
                self.sync(&member_id, generation, assignor, plan).await.map(Event::Synced)
            }
            Ask::Heartbeat { member_id, generation } => self.heartbeat(&member_id, generation).await,
            Ask::Leave { member_id } => self.leave(&member_id).await,
            Ask::Tell { member_id, epoch, full, owned } => self.tell(&member_id, epoch, full, owned).await,
        };
        answer.unwrap_or_else(|error| {
            if error.has_moved_coordinator() {
                self.cluster.forget_coordinator(Coordinated::Group, &self.config.group);
            }
            Event::Refused(error)
        })
    }

    async fn coordinator(&self) -> Result<NodeId> {
        self.cluster.coordinator(Coordinated::Group, &self.config.group).await
    }

    fn action(&self, what: &str) -> String {
        format!("{what} group {:?}", self.config.group)
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.config.instance_id.as_ref().map(|id| text(id))
    }

    /// On a connection of its own, because the answer comes when all members have asked.
    async fn join(&self, member_id: &Arc<str>, generation: i32, owned: Vec<TopicPartition>) -> Result<Event> {
        let config = &self.config;
        let connection = self.cluster.own_connection(self.coordinator().await?).await?;
        let version = connection.require::<JoinGroup>("consumer groups")?;
        let subscription = Subscription { topics: config.topics.clone(), owned, generation };
        let protocol = |assignor: &Assignor| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription.encode(*assignor))
        };
        let mut request = JoinGroupRequest::default()
            .with_group_id(group_id(&config.group))
            .with_session_timeout_ms(millis(config.session_timeout))
            .with_rebalance_timeout_ms(millis(config.max_handling))
            .with_member_id(text(member_id))
            .with_protocol_type(CONSUMERS)
            .with_protocols(config.assignors.iter().map(protocol).collect());
        if version >= 5 {
            request = request.with_group_instance_id(self.instance_id());
        } else if config.instance_id.is_some() {
            let why = "the broker does not know static members (instance ids): it needs Kafka 2.3 or newer";
            return Err(Error::Invalid(self.action("joining") + ": " + why));
        }
        let limit = config.max_handling + BEYOND_REBALANCE;
        let response = connection.start_within::<JoinGroup>(request, limit).await?.await?;
        if Code(response.error_code) == Code::MEMBER_ID_REQUIRED {
            return Ok(Event::Named(response.member_id.as_str().into()));
        }
        check(|| self.action("joining"), response.error_code)?;
        let leads = response.leader == response.member_id;
        let members = response.members.into_iter().map(|member| {
            Ok(Member {
                id: member.member_id.as_str().into(),
                instance_id: member.group_instance_id.map(|id| id.as_str().into()),
                subscription: Subscription::decode(member.metadata)?,
            })
        });
        Ok(Event::Joined(Joined {
            generation: response.generation_id,
            member_id: response.member_id.as_str().into(),
            assignor: response.protocol_name.map(|name| name.to_string()).unwrap_or_default(),
            lead: if leads { Some(members.collect::<Result<_>>()?) } else { None },
            skip_assignment: response.skip_assignment,
        }))
    }

    /// A topic that is not there has no partitions to divide.
    pub(crate) async fn counts(&self, topics: &BTreeSet<Arc<str>>) -> Result<BTreeMap<Arc<str>, i32>> {
        let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
        match self.cluster.refresh(&names, false).await {
            Err(error) if error.is_transient() => return Err(error),
            _ => {} // one that may not be seen is left out as well
        }
        let count = |name: &Arc<str>| Some((Arc::clone(name), self.cluster.known(name)?.count()));
        Ok(topics.iter().filter_map(count).collect())
    }

    async fn sync(
        &self,
        member_id: &Arc<str>,
        generation: i32,
        assignor: String,
        plan: Plan,
    ) -> Result<Vec<TopicPartition>> {
        let connection = self.cluster.connection(Role::Control, self.coordinator().await?).await?;
        let version = connection.require::<SyncGroup>("consumer groups")?;
        let assignment = |(id, partitions): (&Arc<str>, &Vec<TopicPartition>)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(encode_assignment(partitions))
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.config.group))
            .with_generation_id(generation)
            .with_member_id(text(member_id))
            .with_assignments(plan.iter().map(assignment).collect());
        if version >= 3 {
            request = request.with_group_instance_id(self.instance_id());
        }
        if version >= 5 {
            request =
                request.with_protocol_type(Some(CONSUMERS)).with_protocol_name(Some(StrBytes::from_string(assignor)));
        }
        // the answer comes when the leader has divided the partitions
        let limit = self.config.max_handling.min(self.cluster.options().request_timeout);
        let response = connection.start_within::<SyncGroup>(request, limit).await?.await?;
        check(|| self.action("taking the assignment of"), response.error_code)?;
        if response.assignment.is_empty() { Ok(Vec::new()) } else { decode_assignment(response.assignment) }
    }

    async fn heartbeat(&self, member_id: &Arc<str>, generation: i32) -> Result<Event> {
        let connection = self.cluster.connection(Role::Control, self.coordinator().await?).await?;
        let mut request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.config.group))
            .with_generation_id(generation)
            .with_member_id(text(member_id));
        if connection.require::<Heartbeat>("consumer groups")? >= 3 {
            request = request.with_group_instance_id(self.instance_id());
        }
        let response = connection.start_within::<Heartbeat>(request, self.heartbeat_limit()).await?.await?;
        check(|| self.action("heartbeat to"), response.error_code)?;
        Ok(Event::Beaten)
    }

    async fn leave(&self, member_id: &Arc<str>) -> Result<Event> {
        let connection = self.cluster.connection(Role::Control, self.coordinator().await?).await?;
        let request = LeaveGroupRequest::default().with_group_id(group_id(&self.config.group));
        let request = if connection.require::<LeaveGroup>("consumer groups")? >= 3 {
            let member = MemberIdentity::default().with_member_id(text(member_id)).with_group_instance_id(None);
            request.with_members(vec![member])
        } else {
            request.with_member_id(text(member_id))
        };
        connection.start_within::<LeaveGroup>(request, self.heartbeat_limit()).await?.await?;
        Ok(Event::Left)
    }

    async fn tell(
        &self,
        member_id: &Arc<str>,
        epoch: i32,
        full: bool,
        owned: Option<Vec<TopicPartition>>,
    ) -> Result<Event> {
        let config = &self.config;
        let connection = self.cluster.connection(Role::Control, self.coordinator().await?).await?;
        connection.require::<ConsumerGroupHeartbeat>("the group protocol \"consumer\" (KIP-848)")?;
        let topics = full.then(|| config.topics.iter().map(|name| topic_name(name)).collect());
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&config.group))
            .with_member_id(text(member_id))
            .with_member_epoch(epoch)
            .with_instance_id(self.instance_id())
            .with_rack_id(None)
            .with_rebalance_timeout_ms(if full { millis(config.max_handling) } else { -1 })
            .with_subscribed_topic_names(topics)
            .with_server_assignor(None)
            .with_topic_partitions(owned.map(|owned| self.with_ids(&owned)));
        let response =
            connection.start_within::<ConsumerGroupHeartbeat>(request, self.heartbeat_limit()).await?.await?;
        if response.error_code != 0 {
            let words = response.error_message.as_deref();
            return Err(Error::refused(self.action("heartbeat to"), response.error_code, words));
        }
        let assignment = match response.assignment {
            None => None,
            Some(assignment) => {
                let by_id = assignment.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions));
                Some(self.with_names(by_id.collect()).await?)
            }
        };
        Ok(Event::Told(Told {
            member_id: response.member_id.map(|id| id.as_str().into()),
            epoch: response.member_epoch,
            heartbeat_interval: Duration::from_millis(response.heartbeat_interval_ms.max(0) as u64),
            assignment,
        }))
    }

    fn with_ids(&self, owned: &[TopicPartition]) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for partition in owned {
            if let Some(topic) = self.cluster.known(&partition.topic) {
                topics.entry(topic.id).or_default().push(partition.partition);
            }
        }
        let topic = |(id, partitions)| TopicPartitions::default().with_topic_id(id).with_partitions(partitions);
        topics.into_iter().map(topic).collect()
    }

    /// The coordinator may have heard of a topic before this client has.
    async fn with_names(&self, assigned: Vec<(Uuid, Vec<i32>)>) -> Result<BTreeSet<TopicPartition>> {
        let names = || -> BTreeMap<Uuid, Arc<str>> {
            let known = self.config.topics.iter().filter_map(|name| self.cluster.known(name));
            known.map(|topic| (topic.id, Arc::clone(&topic.name))).collect()
        };
        let mut by_id = names();
        if assigned.iter().any(|(id, _)| !by_id.contains_key(id)) {
            self.counts(&self.config.topics.iter().cloned().collect()).await?;
            by_id = names();
        }
        if assigned.iter().any(|(id, _)| !by_id.contains_key(id)) {
            // the next heartbeat says everything, and is answered with everything
            return Err(Error::broker(self.action("looking up the topics assigned by"), Code::UNKNOWN_TOPIC.0));
        }
        let partitions = assigned.into_iter().filter_map(|(id, numbers)| Some((by_id.get(&id)?.clone(), numbers)));
        Ok(partitions
            .flat_map(|(name, numbers)| {
                numbers.into_iter().map(move |number| TopicPartition::new(Arc::clone(&name), number))
            })
            .collect())
    }

    /// A heartbeat that is late for the session is asked again on a new connection while there is still time.
    fn heartbeat_limit(&self) -> Duration {
        (self.config.session_timeout / 3).min(self.cluster.options().request_timeout)
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
