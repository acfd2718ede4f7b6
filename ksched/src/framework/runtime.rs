//! A profile's plugins, put together, and how they are called.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::extenders::{EXTENDER, Extenders};
use super::{
    Args, CycleState, EventRegistration, Extender, ExtensionPoints, Handle, Happening,
    MAX_NODE_SCORE, MAX_PERMIT_WAIT, MIN_NODE_SCORE, Permit, PluginFactory, Point, Profile, Status,
    enabled,
};
use crate::Error;
use crate::plugins;
use crate::snapshot::PodInfo;

/// The heaviest weight a plugin may have.
const MAX_WEIGHT: i64 = 100;

/// A profile's plugins, each built and plugged in.
#[derive(Debug)]
pub struct Framework {
    pub(crate) name: Arc<str>,
    pub(crate) points: ExtensionPoints,
    pub(crate) handle: Handle,
    pub(crate) extenders: Extenders,
}

/// Who failed, and how.
pub(crate) type Failed = (Arc<str>, Status);

impl Framework {
    /// Builds the plugins of a profile, with the default weights of the stock plugins.
    ///
    /// # Errors
    /// Whatever is wrong with the profile.
    pub fn new(
        profile: &Profile,
        factories: &[Arc<dyn PluginFactory>],
        handle: Handle,
    ) -> Result<Self, Error> {
        let known: BTreeSet<&str> = factories.iter().map(|factory| factory.name()).collect();
        if let Some(plugin) = profile.mentioned().find(|name| !known.contains(name.as_str())) {
            let (profile, plugin) = (profile.name.clone(), plugin.clone());
            return Err(Error::UnknownPlugin { profile, plugin });
        }
        let defaults: Vec<String> = factories
            .iter()
            .filter(|factory| factory.enabled_by_default())
            .filter(|factory| !profile.stock_only || plugins::is_stock(factory.name()))
            .map(|factory| factory.name().to_owned())
            .collect();
        let base = enabled::base(profile, &defaults);
        let at_points = profile.points.values().flat_map(|here| &here.enabled);
        let wanted: BTreeSet<&str> =
            base.iter().chain(at_points).map(|(name, _)| name.as_str()).collect();
        let mut points = ExtensionPoints::default();
        for factory in factories.iter().filter(|factory| wanted.contains(factory.name())) {
            plug_in(profile, &base, &**factory, &handle, &mut points)?;
        }
        points.current = None;
        enabled::arrange_all(profile, &base, &mut points)?;
        let name = profile.name.clone();
        match points.queue_sort.len() {
            1 => {}
            count => return Err(Error::QueueSort { profile: name, count }),
        }
        if points.bind.is_empty() {
            return Err(Error::NoBind { profile: name });
        }
        let mut binders = points.bind.iter();
        let greedy = binders.find(|plugged| plugged.plugin.binds_every_pod());
        if let (Some(greedy), Some(behind)) = (greedy, binders.next()) {
            let [before, plugin] = [greedy, behind].map(|plugged| plugged.name.to_string());
            return Err(Error::NeverBinds { profile: name, plugin, before });
        }
        Ok(Self { name: name.into(), points, handle, extenders: Extenders::default() })
    }

    /// The same, with extenders that have a say beside the plugins.
    #[must_use]
    pub fn with_extenders(mut self, extenders: Vec<Arc<dyn Extender>>) -> Self {
        self.extenders = Extenders::new(extenders);
        self
    }

    /// The scheduler name it is for.
    #[must_use]
    pub fn scheduler_name(&self) -> &str {
        &self.name
    }

    /// Which plugin keeps a pod out of the queue, if one does: by a rejection, or by an error that
    /// names profile, plugin and pod.
    #[must_use]
    pub fn gate(&self, pod: &PodInfo) -> Option<(Arc<str>, Status)> {
        self.points.pre_enqueue.iter().find_map(|plugged| {
            let name = &plugged.name;
            let status = match self.guard(name, pod, || Ok(plugged.plugin.pre_enqueue(pod))) {
                Ok(status) if status.is_success() => return None,
                Ok(status) if status.is_rejected() => status,
                Ok(status) => self.fault(name, pod, &status.message()),
                Err(status) => status,
            };
            Some((Arc::clone(name), status))
        })
    }

    /// Whether something that happened may help a pod that `plugins` turned away.
    #[must_use]
    pub fn may_help(
        &self,
        pod: &PodInfo,
        plugins: &BTreeSet<Arc<str>>,
        happening: &Happening,
    ) -> bool {
        plugins.iter().any(|plugin| {
            let registered = self.points.events.iter().find(|(name, _)| name == plugin);
            registered.is_none_or(|(_, events)| {
                let helps = |event: &EventRegistration| event.helps(pod, happening);
                // A hint that panics might have missed something.
                self.guard(plugin, pod, || Ok(events.iter().any(helps))).unwrap_or(true)
            })
        })
    }

    /// Whether one of `plugins` listens to what happened at all.
    pub(crate) fn listens(&self, plugins: &BTreeSet<Arc<str>>, happening: &Happening) -> bool {
        plugins.iter().any(|plugin| {
            let registered = self.points.events.iter().find(|(name, _)| name == plugin);
            registered.is_none_or(|(_, events)| {
                events.iter().any(|event| event.events.covers(&happening.event))
            })
        })
    }

    /// Calls a plugin; a panic becomes an error that names profile, plugin and pod.
    pub(crate) fn guard<T>(
        &self,
        plugin: &str,
        pod: &PodInfo,
        call: impl FnOnce() -> Result<T, Status>,
    ) -> Result<T, Status> {
        catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|panic| Err(self.panicked(plugin, pod, &*panic)))
    }

    /// The same for a call that asks many plugins, and notes whom it asks.
    pub(crate) fn guard_all<T, E: From<Status>>(
        &self,
        asked: &Cell<&str>,
        pod: &PodInfo,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|panic| Err(self.panicked(asked.get(), pod, &*panic).into()))
    }

    fn panicked(&self, plugin: &str, pod: &PodInfo, panic: &(dyn std::any::Any + Send)) -> Status {
        self.fault(plugin, pod, &panic_text(panic))
    }

    /// An error that names profile, plugin and pod.
    pub(crate) fn fault(&self, plugin: &str, pod: &PodInfo, what: &str) -> Status {
        let message =
            format!("profile {:?}: plugin {plugin:?}: pod {:?}: {what}", self.name, pod.key());
        tracing::error!("{message}");
        Status::error(message)
    }

    /// A score that is out of range.
    pub(crate) fn invalid_score(&self, plugin: &str, pod: &PodInfo, score: i64) -> Status {
        let what = format!(
            "returns an invalid score {score}, it should in the range of \
             [{MIN_NODE_SCORE}, {MAX_NODE_SCORE}] after normalizing"
        );
        self.fault(plugin, pod, &what)
    }

    /// Reserves in order.
    pub(crate) fn reserve(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), Failed> {
        for plugged in &self.points.reserve {
            let status = self
                .guard(&plugged.name, pod, || Ok(plugged.plugin.reserve(state, pod, node)))
                .unwrap_or_else(|status| status);
            if !status.is_success() {
                return Err((Arc::clone(&plugged.name), status));
            }
        }
        Ok(())
    }

    /// Gives back in reverse order.
    pub(crate) fn unreserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) {
        for plugged in self.points.reserve.iter().rev() {
            let call = || {
                plugged.plugin.unreserve(state, pod, node);
                Ok(())
            };
            // What it could not give back is logged; the others still do.
            let _ = self.guard(&plugged.name, pod, call);
        }
    }

    /// Asks the Permit plugins, and waits for those that want the pod to.
    pub(crate) async fn permit(
        &self,
        state: &CycleState,
        pod: &Arc<PodInfo>,
        node: &str,
    ) -> Result<(), Failed> {
        if self.points.permit.is_empty() {
            return Ok(());
        }
        let mut pending = BTreeMap::new();
        for plugged in &self.points.permit {
            let call = AssertUnwindSafe(plugged.plugin.permit(state, pod, node)).catch_unwind();
            let name = &plugged.name;
            match call.await {
                Ok(Permit::Allow) => {}
                Ok(Permit::Wait(time)) => {
                    let until = Instant::now() + time.min(MAX_PERMIT_WAIT);
                    pending.insert(Arc::clone(name), until);
                }
                Ok(Permit::Reject(status)) => return Err((Arc::clone(name), status)),
                Err(panic) => {
                    return Err((Arc::clone(name), self.panicked(name, pod, &*panic)));
                }
            }
        }
        if pending.is_empty() {
            return Ok(());
        }
        self.handle.waiting.enter(pod, pending).verdict().await
    }

    /// Prepares and binds.
    pub(crate) async fn bind(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), Failed> {
        for plugged in &self.points.pre_bind {
            let call = AssertUnwindSafe(plugged.plugin.pre_bind(state, pod, node)).catch_unwind();
            let status =
                call.await.unwrap_or_else(|panic| self.panicked(&plugged.name, pod, &*panic));
            if !status.is_success() {
                return Err((Arc::clone(&plugged.name), status));
            }
        }
        match self.bind_by_extender(pod, node).await {
            Some(status) if status.is_success() => return Ok(()),
            Some(status) => return Err((Arc::from(EXTENDER), status)),
            None => {}
        }
        for plugged in &self.points.bind {
            let call = AssertUnwindSafe(plugged.plugin.bind(state, pod, node)).catch_unwind();
            let status =
                call.await.unwrap_or_else(|panic| self.panicked(&plugged.name, pod, &*panic));
            match status {
                status if status.is_success() => return Ok(()),
                status if status.is_skip() => {}
                status => return Err((Arc::clone(&plugged.name), status)),
            }
        }
        let (profile, pod) = (&self.name, pod.key());
        let why = format!("profile {profile:?}: pod {pod:?}: every bind plugin skipped it");
        Err((Arc::from(""), Status::error(why)))
    }

    /// Tells that the pod is bound.
    pub(crate) fn post_bind(&self, state: &CycleState, pod: &PodInfo, node: &str) {
        for plugged in &self.points.post_bind {
            let call = || {
                plugged.plugin.post_bind(state, pod, node);
                Ok(())
            };
            // The pod is bound whatever the plugin makes of it; the fault is logged.
            let _ = self.guard(&plugged.name, pod, call);
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(Cow::Borrowed);
    let text = text.or_else(|| panic.downcast_ref::<String>().map(|text| text.as_str().into()));
    format!("panicked: {}", text.unwrap_or("no message".into()))
}

/// Upstream's default weights.
fn default_weight(plugin: &str) -> i64 {
    match plugin {
        "TaintToleration" => 3,
        "NodeAffinity" | "PodTopologySpread" | "InterPodAffinity" => 2,
        _ => 1,
    }
}

fn plug_in(
    profile: &Profile,
    base: &[(String, Option<i64>)],
    factory: &dyn PluginFactory,
    handle: &Handle,
    points: &mut ExtensionPoints,
) -> Result<(), Error> {
    let (name, plugin) = (profile.name.clone(), factory.name().to_owned());
    let configured = base.iter().find(|(name, _)| *name == plugin);
    let weight = profile.weights.get(&plugin).copied();
    let weight = weight.or_else(|| configured.and_then(|(_, weight)| *weight));
    let weight = weight.unwrap_or_else(|| default_weight(&plugin));
    let at_score = profile.points.get(&Point::Score).and_then(|here| here.enables(&plugin));
    for weight in [Some(weight), at_score.flatten()].into_iter().flatten() {
        if !(1..=MAX_WEIGHT).contains(&weight) {
            return Err(Error::Weight { profile: name, plugin, weight });
        }
    }
    let args = Args::new(profile.args.get(&plugin).cloned().unwrap_or_default());
    let built = factory.build(&args, handle);
    let built = built.map_err(|message| Error::Arguments {
        profile: name,
        plugin: plugin.clone(),
        message,
    })?;
    points.current = Some((plugin.into(), weight));
    built.register(points);
    Ok(())
}
