//! Where whoever runs a node asks: it knows the machines of this node and carries looks to them.
//!
//! The number of requests in the making and the time of each are bounded: looking must not be a way
//! to keep a node from working.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use seriatim_engine::admin::{AdminKey, Denied};
use seriatim_engine::entry::Entry;
use seriatim_engine::gateway::Gateway;
use seriatim_engine::ids::{ChannelKey, SeqNo, ShardId};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{ADMIN_ANSWER_TIMEOUT, ADMIN_REQUESTS_MAX};
use seriatim_engine::owner::Owner;
use seriatim_engine::time::MonoTime;
use seriatim_engine::token::TokenKeys;
use seriatim_world::{World, clock};

use crate::config::Operations;
use crate::look::Look;
use crate::metrics::Metrics;
use crate::{gateway, messages};

/// The inboxes of this node's owners.
pub(crate) type Owners = Vec<(ShardId, mpsc::Sender<messages::Arrival>)>;

pub(crate) struct Desk {
    world: World,
    metrics: Metrics,
    owners: Owners,
    gateway: Option<mpsc::Sender<gateway::Arrival>>,
    admin_key: Option<watch::Receiver<AdminKey>>,
    token_keys: Option<watch::Receiver<TokenKeys>>,
    requests: Arc<Semaphore>,
}

/// The roles that this node has.
pub(crate) struct Has {
    pub(crate) gateway: bool,
    pub(crate) owners: bool,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error("this node has no admin.key; start it with one in its data folder")]
    NoKey,
    #[error("{0}")]
    Denied(#[from] Denied),
    #[error("{ADMIN_REQUESTS_MAX} admin requests are being answered; ask again in a second")]
    Full,
    #[error("this node has no {0}; ask one that has")]
    Absent(&'static str),
    #[error("{0} did not answer in time; it may be opening its store: see /readyz")]
    Silent(&'static str),
}

impl Desk {
    pub(crate) fn new(
        world: World,
        metrics: Metrics,
        owners: Owners,
        gateway: Option<mpsc::Sender<gateway::Arrival>>,
        operations: &Operations,
    ) -> Self {
        let (admin_key, token_keys) = (operations.admin_key.clone(), operations.token_keys.clone());
        let requests = Arc::new(Semaphore::new(ADMIN_REQUESTS_MAX));
        Self { world, metrics, owners, gateway, admin_key, token_keys, requests }
    }

    /// Lets an operator in; the request is being answered until what it gives is dropped.
    ///
    /// # Errors
    /// [`DeskError`]
    pub(crate) fn admit(
        &self,
        authorization: Option<&str>,
    ) -> Result<OwnedSemaphorePermit, DeskError> {
        let key = self.admin_key.as_ref().ok_or(DeskError::NoKey)?;
        if let Err(denied) = key.borrow().check(authorization) {
            self.metrics.gauges().admin_denied.add(1);
            return Err(denied.into());
        }
        self.metrics.gauges().admin_requests.add(1);
        self.requests.clone().try_acquire_owned().map_err(|_| {
            self.metrics.hit(Limit::AdminRequests);
            DeskError::Full
        })
    }

    /// What signs tokens, if this node has it.
    ///
    /// # Errors
    /// [`DeskError::Absent`]
    pub(crate) fn token_keys(&self) -> Result<TokenKeys, DeskError> {
        let keys = self.token_keys.as_ref().ok_or(DeskError::Absent("token.key"))?;
        Ok(keys.borrow().clone())
    }

    /// Has the gateway send its clients elsewhere, or take them again.
    ///
    /// # Errors
    /// [`DeskError`]
    pub(crate) async fn drain(&self, spread: Option<Duration>) -> Result<(), DeskError> {
        let inbox = self.gateway.as_ref().ok_or(DeskError::Absent("gateway"))?;
        self.metrics.set_draining(spread.is_some());
        let arrival = match spread {
            Some(spread) => gateway::Arrival::Drain { spread },
            None => gateway::Arrival::Serve,
        };
        inbox.send(arrival).await.map_err(|_| DeskError::Silent("the gateway"))?;
        // Whoever asks how far it has come after this is told of it.
        self.gateway(|_, _| ()).await
    }

    /// Looks into the gateway.
    ///
    /// # Errors
    /// [`DeskError`]
    pub(crate) async fn gateway<T: Send + 'static>(
        &self,
        of: impl FnOnce(&Gateway, MonoTime) -> T + Send + 'static,
    ) -> Result<T, DeskError> {
        let inbox = self.gateway.as_ref().ok_or(DeskError::Absent("gateway"))?;
        let (look, answer) = Look::new(of);
        self.ask("the gateway", inbox, gateway::Arrival::Look(look), answer).await
    }

    /// Looks into each owner.
    ///
    /// # Errors
    /// [`DeskError`]
    pub(crate) async fn owners<T: Send + 'static>(
        &self,
        of: impl Fn(&Owner, MonoTime) -> T + Clone + Send + 'static,
    ) -> Result<Vec<(ShardId, T)>, DeskError> {
        if self.owners.is_empty() {
            return Err(DeskError::Absent("shards"));
        }
        let mut answers = Vec::new();
        for (shard, inbox) in &self.owners {
            let (look, answer) = Look::new(of.clone());
            let arrival = messages::Arrival::Look(look);
            answers.push((*shard, self.ask("a shard's owner", inbox, arrival, answer).await?));
        }
        Ok(answers)
    }

    /// What the log of the shard holds at a position, if anything.
    ///
    /// # Errors
    /// [`DeskError`]
    pub(crate) async fn entry(
        &self,
        shard: ShardId,
        channel: ChannelKey,
        seq: SeqNo,
    ) -> Result<Option<Entry>, DeskError> {
        let owner = self.owners.iter().find(|(owned, _)| *owned == shard);
        let (_, inbox) = owner.ok_or(DeskError::Absent("such shard"))?;
        let (answer, answered) = oneshot::channel();
        let arrival = messages::Arrival::Entry { channel, seq, answer };
        self.ask("a shard's owner", inbox, arrival, answered).await
    }

    /// Whether this node has a gateway, or owners.
    pub(crate) fn has(&self) -> Has {
        Has { gateway: self.gateway.is_some(), owners: !self.owners.is_empty() }
    }

    async fn ask<A, T>(
        &self,
        whom: &'static str,
        inbox: &mpsc::Sender<A>,
        arrival: A,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, DeskError> {
        let asked = async {
            // Neither comes when the node is stopping.
            inbox.send(arrival).await.ok()?;
            answer.await.ok()
        };
        match clock::timeout(&*self.world.clock, ADMIN_ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.ok_or(DeskError::Silent(whom)),
            Err(clock::TimedOut) => {
                self.metrics.hit(Limit::AdminAnswerTime);
                Err(DeskError::Silent(whom))
            }
        }
    }
}
