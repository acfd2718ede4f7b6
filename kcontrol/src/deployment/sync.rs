//! Carries out what the plans of a rollout say.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kcore::client::{Api, DeleteOptions};
use kcore::event::reference_to;
use kcore::object::controller_of;

use super::facts::{DESIRED, REVISION, is_recreate, number, replicas, same_template, size, split};
use super::plan::{self, Resize};
use super::revision::{annotate_new, annotate_size, new_set, next_revision};
use super::status::{
    self, NEW_AVAILABLE, PROGRESSING, Say, TIMED_OUT, compute_status, condition, rollout_status,
    set_condition,
};
use super::{old_pods_run, template_hash};
use crate::reconciler::{Action, Context};
use crate::{Error, Result};

/// One look at one Deployment.
pub(super) struct Rollout<'a> {
    ctx: &'a Context,
    deployment: Arc<Deployment>,
    new: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        deployment: Arc<Deployment>,
        sets: Vec<Arc<ReplicaSet>>,
    ) -> Self {
        let (new, old) = split(&deployment, sets);
        Self { ctx, deployment, new, old }
    }

    fn namespace(&self) -> &str {
        self.deployment.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    fn deployments(&self) -> Api<Deployment> {
        self.ctx.api(self.namespace())
    }

    fn sets(&self) -> Api<ReplicaSet> {
        self.ctx.api(self.namespace())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.new.iter().chain(&self.old)
    }

    /// Takes the Deployment one step further.
    pub(super) async fn sync(mut self) -> Result<Action> {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.write_counts().await;
        }
        self.note_pause().await?;
        let paused = self.deployment.spec.paused == Some(true);
        if paused || self.is_scaling() {
            if let Some(new) = self.new.clone() {
                self.adjust(&new).await?;
            }
            let resizes = plan::plan_scaling(&self.deployment, self.new.as_ref(), &self.old);
            self.resize(resizes).await?;
            if paused {
                self.clean_up().await?;
            }
            return self.write_counts().await;
        }
        if is_recreate(&self.deployment) { self.recreate().await } else { self.roll().await }
    }

    /// Whether the size changed since the active sets were sized.
    fn is_scaling(&self) -> bool {
        let wanted = i64::from(replicas(&self.deployment));
        self.all().filter(|set| size(set) > 0).any(|set| {
            let noted = number(set.metadata.annotations.as_ref(), DESIRED);
            noted.is_some_and(|noted| noted != wanted)
        })
    }

    async fn roll(mut self) -> Result<Action> {
        let new = self.ensure_new().await?;
        let resizes = plan::plan_rolling(&self.deployment, &new, &self.old);
        if resizes.is_empty() && self.is_done() {
            self.clean_up().await?;
        }
        self.resize(resizes).await?;
        self.write_rollout().await
    }

    async fn recreate(mut self) -> Result<Action> {
        if let Some(new) = self.new.clone() {
            self.adjust(&new).await?;
        }
        let active = self.old.iter().filter(|set| size(set) > 0);
        let downs: Vec<_> = active.map(|set| Resize { set: Arc::clone(set), to: 0 }).collect();
        let busy = !downs.is_empty();
        self.resize(downs).await?;
        if busy || old_pods_run(self.ctx, &self.old) {
            return self.write_rollout().await;
        }
        let new = self.ensure_new().await?;
        let wanted = replicas(&self.deployment);
        if size(&new) != wanted {
            self.resize(vec![Resize { set: new, to: wanted }]).await?;
        }
        if self.is_done() {
            self.clean_up().await?;
        }
        self.write_rollout().await
    }

    fn is_done(&self) -> bool {
        let known = self.deployment.status.clone().unwrap_or_default();
        status::is_complete(&self.deployment, &known)
    }

    /// Makes sure that the set of the template exists, with its revision.
    async fn ensure_new(&mut self) -> Result<Arc<ReplicaSet>> {
        if let Some(new) = self.new.clone() {
            return self.adjust(&new).await;
        }
        let collisions = self.deployment.status.as_ref().and_then(|one| one.collision_count);
        let hash = template_hash(&self.deployment.spec.template, collisions.unwrap_or(0));
        let revision = next_revision(&self.old);
        let total = self.old.iter().map(|set| size(set)).sum();
        let start = plan::new_size(&self.deployment, 0, total);
        let set = new_set(&self.deployment, &hash, revision, start);
        let name = set.metadata.name.clone().unwrap_or_default();
        let created = match self.sets().create(set).await {
            Ok(created) => {
                if start > 0 {
                    self.tell(format!("Scaled up replica set {name} from 0 to {start}"));
                }
                created
            }
            Err(error) if error.is_already_exists() => self.taken(&name).await?,
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {error}");
                let say = Say::new(PROGRESSING, "False", "ReplicaSetCreateError", message);
                self.say(&say).await?;
                return Err(error.into());
            }
        };
        self.new = Some(Arc::clone(&created));
        self.annotate_revision(revision).await?;
        let message = format!("Created new replica set {name:?}");
        self.say(&Say::new(PROGRESSING, "True", "NewReplicaSetCreated", message)).await?;
        Ok(created)
    }

    /// The set of that name: ours, which the cache does not show yet, or a collision of hashes.
    async fn taken(&mut self, name: &str) -> Result<Arc<ReplicaSet>> {
        let there = self.sets().get(name).await?;
        let ours = controller_of(&there.metadata)
            .is_some_and(|owner| Some(&owner.uid) == self.deployment.metadata.uid.as_ref());
        let template = there.spec.template.as_ref();
        if ours && template.is_some_and(|one| same_template(&self.deployment.spec.template, one)) {
            return Ok(there);
        }
        let mut next = (*self.deployment).clone();
        let status = next.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.deployments().update_status(next).await?;
        Err(Error::Collision { object: format!("ReplicaSet {name:?}") })
    }

    /// Brings an existing new set's annotations, and the Deployment's revision, up to date.
    async fn adjust(&mut self, new: &Arc<ReplicaSet>) -> Result<Arc<ReplicaSet>> {
        let revision = next_revision(&self.old);
        let notes = annotate_new(&self.deployment, new.metadata.annotations.as_ref(), revision);
        let minimum = self.deployment.spec.min_ready_seconds.unwrap_or(0);
        let mut new = Arc::clone(new);
        let same_notes = new.metadata.annotations.as_ref() == Some(&notes);
        if !same_notes || new.spec.min_ready_seconds.unwrap_or(0) != minimum {
            let mut changed = (*new).clone();
            changed.metadata.annotations = Some(notes);
            changed.spec.min_ready_seconds = Some(minimum);
            new = self.sets().update(changed).await?;
            self.new = Some(Arc::clone(&new));
        }
        let current = super::facts::revision(&new);
        self.annotate_revision(current).await?;
        let status = self.deployment.status.as_ref();
        if status::deadline(&self.deployment).is_some()
            && status.and_then(|status| condition(status, PROGRESSING)).is_none()
        {
            let name = new.metadata.name.as_deref().unwrap_or_default();
            let message = format!("Found new replica set {name:?}");
            self.say(&Say::new(PROGRESSING, "True", "FoundNewReplicaSet", message)).await?;
        }
        Ok(new)
    }

    async fn annotate_revision(&mut self, revision: i64) -> Result<()> {
        let notes = self.deployment.metadata.annotations.as_ref();
        if number(notes, REVISION) == Some(revision) {
            return Ok(());
        }
        let mut changed = (*self.deployment).clone();
        let notes = changed.metadata.annotations.get_or_insert_default();
        notes.insert(REVISION.to_owned(), revision.to_string());
        self.deployment = self.deployments().update(changed).await?;
        Ok(())
    }

    async fn resize(&mut self, resizes: Vec<Resize>) -> Result<()> {
        for Resize { set, to } in resizes {
            let from = size(&set);
            let mut changed = (*set).clone();
            changed.spec.replicas = Some(to);
            annotate_size(changed.metadata.annotations.get_or_insert_default(), &self.deployment);
            let written = self.sets().update(changed).await?;
            let way = if to > from { "up" } else { "down" };
            let name = set.metadata.name.as_deref().unwrap_or_default();
            self.tell(format!("Scaled {way} replica set {name} from {from} to {to}"));
            for slot in self.new.iter_mut().chain(&mut self.old) {
                if slot.metadata.uid == written.metadata.uid {
                    *slot = Arc::clone(&written);
                }
            }
        }
        self.annotate_sizes().await
    }

    /// Sets that keep their size still learn the Deployment's.
    async fn annotate_sizes(&mut self) -> Result<()> {
        let (deployment, sets) = (Arc::clone(&self.deployment), self.sets());
        for slot in self.new.iter_mut().chain(&mut self.old).filter(|set| size(set) > 0) {
            let mut notes = slot.metadata.annotations.clone().unwrap_or_default();
            annotate_size(&mut notes, &deployment);
            if slot.metadata.annotations.as_ref() != Some(&notes) {
                let mut changed = (**slot).clone();
                changed.metadata.annotations = Some(notes);
                *slot = sets.update(changed).await?;
            }
        }
        Ok(())
    }

    async fn clean_up(&mut self) -> Result<()> {
        for set in plan::plan_cleanup(&self.deployment, &self.old) {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let uid = set.metadata.uid.clone().unwrap_or_default();
            match self.sets().delete(name, &DeleteOptions::default().uid(uid)).await {
                Err(error) if error.is_not_found() => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Shows that a rollout rests, or goes on: its deadline does not run while it is paused.
    async fn note_pause(&mut self) -> Result<()> {
        if status::deadline(&self.deployment).is_none() {
            return Ok(());
        }
        let known = self.deployment.status.as_ref().and_then(|one| condition(one, PROGRESSING));
        let reason = known.and_then(|known| known.reason.as_deref());
        // A rollout that timed out says so, paused or not.
        if reason == Some(TIMED_OUT) {
            return Ok(());
        }
        let say = match (self.deployment.spec.paused == Some(true), reason) {
            (true, reason) if reason != Some("DeploymentPaused") => {
                Say::new(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into())
            }
            (false, Some("DeploymentPaused")) => Say::new(
                PROGRESSING,
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed".into(),
            ),
            _ => return Ok(()),
        };
        self.say(&say).await
    }

    /// Writes one condition.
    async fn say(&mut self, say: &Say) -> Result<()> {
        if status::deadline(&self.deployment).is_none() {
            return Ok(());
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        set_condition(&mut status, say, self.ctx.now());
        self.write(status).await
    }

    async fn write(&mut self, status: DeploymentStatus) -> Result<()> {
        if status::same(&status, &self.deployment.status.clone().unwrap_or_default()) {
            return Ok(());
        }
        let mut changed = (*self.deployment).clone();
        changed.status = Some(status);
        self.deployment = self.deployments().update_status(changed).await?;
        Ok(())
    }

    async fn write_counts(mut self) -> Result<Action> {
        let now = self.ctx.now();
        let status = compute_status(&self.deployment, self.new.as_ref(), &self.old, now);
        self.write(status).await?;
        Ok(Action::await_change())
    }

    async fn write_rollout(mut self) -> Result<Action> {
        let now = self.ctx.now();
        let status = rollout_status(&self.deployment, self.new.as_ref(), &self.old, now);
        self.write(status.clone()).await?;
        let reason = condition(&status, PROGRESSING).and_then(|one| one.reason.as_deref());
        if reason == Some(NEW_AVAILABLE) {
            tracing::debug!(deployment = self.name(), "the rollout is done");
        }
        Ok(Action::requeue_opt(status::next_check(&self.deployment, &status, now)))
    }

    fn tell(&self, message: String) {
        let about = reference_to(&*self.deployment);
        self.ctx.recorder().normal(&about, "ScalingReplicaSet", message);
    }
}
