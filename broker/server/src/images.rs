//! What a shard knows of the cluster: the metadata image and the placement made for it, as one immutable value.
//!
//! What a newcomer would get wrong: all shards have the same view, but not at the same instant. Who changes metadata
//! waits until every shard has the new one before it answers, so that a client may go on at any of them.

use std::future::Future;
use std::sync::Arc;

use metadata::image::Image;
use metadata::image::brokers::Broker;
use metadata::image::topics::Topic;
use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, Offset, Partition, TopicId};
use shards::{ShardId, mesh};

use crate::partition::roles;
use crate::placement::Placement;
use crate::shard::Node;

/// Topics that brokers keep for themselves (`Topic.INTERNAL_TOPICS`).
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
/// The most characters of a topic's name (`Topic.MAX_NAME_LENGTH`).
const NAME_MOST: usize = 249;

/// The metadata up to one offset. Never changed, only replaced.
#[derive(Clone, Debug)]
pub struct View {
    /// Everything that the metadata log says.
    pub image: Image,
    /// The offset behind the last record that the image holds; -1 before any.
    pub offset: Offset,
    placement: Placement,
    this: BrokerId,
}

impl View {
    /// A view of nothing, for a node with that many shards.
    pub fn empty(this: BrokerId, shards: u16) -> View {
        View {
            image: Image::default(),
            offset: Offset(-1),
            placement: Placement::new(shards),
            this,
        }
    }

    /// The view of a newer image; what is placed stays where it is.
    pub fn next(&self, image: Image, offset: Offset) -> View {
        let mine = |topic: &Arc<Topic>| (topic.id, topic.partitions_count());
        let placement = self.placement.update(image.topics().iter().map(mine));
        View {
            image,
            offset,
            placement,
            this: self.this,
        }
    }

    /// The topic of that name.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub fn topic_by_name(&self, name: &str) -> Result<&Arc<Topic>, ErrorCode> {
        self.image
            .topics()
            .get(name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// The topic of that id.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_ID.
    pub fn topic_by_id(&self, id: TopicId) -> Result<&Arc<Topic>, ErrorCode> {
        self.image.topics().by_id(id).ok_or(ErrorCode::UnknownTopicId)
    }

    /// The shard of this node that owns a partition.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub fn owner(&self, topic: TopicId, partition: Partition) -> Result<ShardId, ErrorCode> {
        let owner = self.placement.owner(topic, partition);
        owner.map(ShardId).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// Partitions owned by each shard.
    pub fn load(&self) -> &[usize] {
        self.placement.load()
    }

    /// The brokers with where clients of the listener of that name reach them.
    pub fn brokers<'v>(&'v self, listener: &str) -> Vec<Reachable<'v>> {
        let reachable = |broker: &'v Broker| {
            let endpoint = broker.listeners.iter().find(|one| one.name == listener)?;
            Some(Reachable {
                broker,
                host: &endpoint.host,
                port: endpoint.port,
            })
        };
        self.image.brokers().filter_map(reachable).collect()
    }

    /// Where clients send what the controller decides: this broker, which passes it on.
    pub fn controller_id(&self) -> BrokerId {
        self.this
    }

    /// Replicas on brokers that are not there to serve them.
    pub fn offline(&self, replicas: &[BrokerId]) -> Vec<i32> {
        let is_offline = |id: &&BrokerId| self.image.broker(**id).is_none_or(|broker| broker.is_fenced);
        replicas.iter().filter(is_offline).map(|id| id.0).collect()
    }

    /// Whether brokers keep the topic for themselves.
    pub fn is_internal(name: &str) -> bool {
        INTERNAL.contains(&name)
    }

    /// Whether a topic may have that name (`Topic.validate`).
    pub fn is_valid_name(name: &str) -> bool {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.len() <= NAME_MOST
            && name.chars().all(is_legal)
    }
}

/// A broker and where clients reach it.
#[derive(Copy, Clone, Debug)]
pub struct Reachable<'v> {
    /// The broker.
    pub broker: &'v Broker,
    /// The host that clients are told.
    pub host: &'v str,
    /// The port.
    pub port: u16,
}

/// Numbers of brokers as the wire has them.
pub fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

/// Puts a newer view in place on every shard, and resolves when it is: first every shard opens the partitions that it
/// owns in it, so that nobody is sent to one that is not there.
pub async fn publish(view: Arc<View>) {
    on_every_shard(
        &view,
        |node, view| async move { roles::open_all(&node, &view).await },
    )
    .await;
    on_every_shard(&view, |node, view| {
        node.set_view(view);
        std::future::ready(())
    })
    .await;
}

/// Removes the partitions that the views in place do not know any more, with their files; resolves when they are gone,
/// so that a topic of the same name can be made anew.
pub async fn remove_deleted() {
    let view = Node::current().view();
    on_every_shard(&view, |node, view| async move {
        roles::remove_all(&node, &view).await
    })
    .await;
}

async fn on_every_shard<F, Fut>(view: &Arc<View>, act: F)
where
    F: FnOnce(std::rc::Rc<Node>, Arc<View>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let call = |shard| {
        let (view, act) = (view.clone(), act.clone());
        mesh::call(shard, move || act(Node::current(), view))
    };
    let calls: Vec<_> = shards::current().all().map(call).collect();
    for call in calls {
        if call.await.is_err() {
            // A shard ends only with the process.
            tracing::debug!("a shard stopped before it had the newest metadata");
        }
    }
}

/// Runs `act` on every shard, all at once; what each gave, in order.
///
/// # Errors
/// One line: a shard has ended.
pub async fn every<R, Fut>(act: fn() -> Fut) -> Result<Vec<R>, String>
where
    R: Send + 'static,
    Fut: Future<Output = R> + 'static,
{
    let calls: Vec<_> = shards::current()
        .all()
        .map(|shard| mesh::call(shard, act))
        .collect();
    let mut results = Vec::with_capacity(calls.len());
    for call in calls {
        results.push(call.await.map_err(|error| error.to_string())?);
    }
    Ok(results)
}
