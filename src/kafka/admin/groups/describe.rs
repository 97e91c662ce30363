//! One group described by its coordinator, as a classic one and as one of KIP-848.

use std::sync::Arc;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, consumer_group_describe_response, describe_groups_response,
};

use super::{Group, GroupKind, Member, verdict};
use crate::kafka::{
    committed::group_id,
    connection::Connection,
    error::{Error, Result},
    group::decode_assignment,
    record::TopicPartition,
    wire::{ConsumerGroupDescribe, DescribeGroups},
};

/// As the one kind, then as the other: no answer says beforehand which it is.
pub(super) async fn describe_either(connection: &Connection, name: &str) -> Result<Group> {
    let names = [Arc::from(name)];
    let unknown = || Error::UnknownGroup { group: name.into() };
    match describe_classic(connection, &names).await?.pop().unwrap_or_else(|| Err(unknown())) {
        Err(Error::UnknownGroup { .. }) if connection.version::<ConsumerGroupDescribe>().is_some() => {
            describe_consumer(connection, &names).await?.pop().unwrap_or_else(|| Err(unknown()))
        }
        described => described,
    }
}

pub(super) async fn describe_classic(connection: &Connection, names: &[Arc<str>]) -> Result<Vec<Result<Group>>> {
    connection.require::<DescribeGroups>("describing groups")?;
    let groups = names.iter().map(|name| group_id(name)).collect();
    let response = connection.request::<DescribeGroups>(DescribeGroupsRequest::default().with_groups(groups)).await?;
    Ok(response.groups.into_iter().map(classic).collect())
}

fn classic(group: describe_groups_response::DescribedGroup) -> Result<Group> {
    let name: Arc<str> = group.group_id.as_str().into();
    let action = format!("describing group {name:?}");
    verdict(action, &name, group.error_code, group.error_message.as_deref())?;
    if &*group.group_state == "Dead" {
        return Err(Error::UnknownGroup { group: name }); // how brokers before 4.0 say it
    }
    let members = group.members.into_iter().map(|member| {
        // other protocols, such as Connect's, put something else there
        let of_consumers = &*group.protocol_type == "consumer";
        let assigned = if of_consumers { decode_assignment(member.member_assignment)? } else { Vec::new() };
        Ok(Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assigned: sorted(assigned),
        })
    });
    Ok(Group {
        members: in_order(members.collect::<Result<_>>()?),
        kind: GroupKind::Classic,
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        coordinator: None,
        name,
    })
}

pub(super) async fn describe_consumer(connection: &Connection, names: &[Arc<str>]) -> Result<Vec<Result<Group>>> {
    connection.require::<ConsumerGroupDescribe>("describing KIP-848 groups")?;
    let groups = names.iter().map(|name| group_id(name)).collect();
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(groups);
    let response = connection.request::<ConsumerGroupDescribe>(request).await?;
    Ok(response.groups.into_iter().map(consumer).collect())
}

fn consumer(group: consumer_group_describe_response::DescribedGroup) -> Result<Group> {
    let name: Arc<str> = group.group_id.as_str().into();
    let action = format!("describing group {name:?}");
    verdict(action, &name, group.error_code, group.error_message.as_deref())?;
    let members = group.members.into_iter().map(|member| {
        let topics = member.assignment.topic_partitions.into_iter();
        let assigned = topics.flat_map(|topic| {
            let name: Arc<str> = topic.topic_name.as_str().into();
            topic.partitions.into_iter().map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
        });
        Member {
            id: member.member_id.to_string(),
            instance_id: member.instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assigned: sorted(assigned.collect()),
        }
    });
    Ok(Group {
        members: in_order(members.collect()),
        kind: GroupKind::Consumer,
        state: group.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        assignor: group.assignor_name.to_string(),
        coordinator: None,
        name,
    })
}

fn sorted(mut partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
    partitions.sort();
    partitions
}

/// Coordinators list members in no order; a screen that is drawn again needs one.
fn in_order(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by(|a, b| (&a.client_id, &a.id).cmp(&(&b.client_id, &b.id)));
    members
}
