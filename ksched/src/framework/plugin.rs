//! Plugins and what makes them.

use std::fmt::{self, Debug};
use std::sync::Arc;

use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::event::{EventRecorder, Source};
use kcore::informer::Informers;
use kcore::random::Random;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    BindPlugin, EnqueueExtensions, EventRegistration, FilterPlugin, PermitPlugin, PostBindPlugin,
    PostFilterPlugin, PreBindPlugin, PreEnqueuePlugin, PreFilterPlugin, PreScorePlugin,
    QueueSortPlugin, ReservePlugin, ScorePlugin, WaitingPods,
};

/// A plugin of one profile: it says where it plugs in.
///
/// **Contract**: `register` plugs the same instance into each point it implements, once, and does
/// nothing else.
pub trait SchedulerPlugin: Debug + Send + Sync + 'static {
    /// Plugs in.
    fn register(self: Arc<Self>, points: &mut ExtensionPoints);
}

/// What a factory returns: an error is a message that says what argument would be right.
pub type BuildResult = Result<Arc<dyn SchedulerPlugin>, String>;

/// Makes one plugin instance per profile.
///
/// **Contract**: `name` never changes; `build` has no effect but the instance.
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no scheduler plugin",
    note = "make a factory of a closure with `plugin_fn(name, |args, handle| …)`"
)]
pub trait PluginFactory: Debug + Send + Sync + 'static {
    /// The plugin's name, as profiles, events and logs have it.
    fn name(&self) -> &str;
    /// Makes the instance of a profile.
    ///
    /// # Errors
    /// What is wrong with the arguments, and what would be right.
    fn build(&self, args: &Args, handle: &Handle) -> BuildResult;
    /// Whether profiles run the plugin that do not mention it.
    fn enabled_by_default(&self) -> bool {
        true
    }
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<F: PluginFactory + ?Sized> PluginFactory for $wrapper<F> {
            fn name(&self) -> &str {
                (**self).name()
            }
            fn build(&self, args: &Args, handle: &Handle) -> BuildResult {
                (**self).build(args, handle)
            }
            fn enabled_by_default(&self) -> bool {
                (**self).enabled_by_default()
            }
        }
    )*};
}

forward!(Arc, Box);

/// Makes a factory of a closure.
pub fn plugin_fn<P, F>(name: impl Into<String>, build: F) -> impl PluginFactory
where
    P: SchedulerPlugin,
    F: Fn(&Args, &Handle) -> Result<P, String> + Send + Sync + 'static,
{
    PluginFn { name: name.into(), build }
}

struct PluginFn<F> {
    name: String,
    build: F,
}

impl<F> Debug for PluginFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PluginFn").field(&self.name).finish()
    }
}

impl<P, F> PluginFactory for PluginFn<F>
where
    P: SchedulerPlugin,
    F: Fn(&Args, &Handle) -> Result<P, String> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self, args: &Args, handle: &Handle) -> BuildResult {
        Ok(Arc::new((self.build)(args, handle)?))
    }
}

/// A plugin's arguments, as the profile has them.
#[derive(Debug, Clone, Default)]
pub struct Args(Value);

impl Args {
    /// Arguments.
    #[must_use]
    pub const fn new(value: Value) -> Self {
        Self(value)
    }

    /// Reads them as a type; its default if there are none.
    ///
    /// # Errors
    /// Where and why they are no `T`.
    pub fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, String> {
        match &self.0 {
            Value::Null => Ok(T::default()),
            value => T::deserialize(value).map_err(|error| error.to_string()),
        }
    }

    /// The arguments as they are; null if there are none.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.0
    }
}

/// What a plugin may hold of the scheduler it runs in.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) profile: Arc<str>,
    pub(crate) client: DynClient,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) waiting: WaitingPods,
    pub(crate) informers: Informers,
    pub(crate) recorder: EventRecorder,
}

impl Handle {
    /// A handle outside of any scheduler, for tests of plugins.
    #[must_use]
    pub fn new(profile: &str, client: DynClient, clock: Clock, random: Random) -> Self {
        let informers = Informers::new(Arc::clone(&client), random.fork());
        let source = Source { component: profile.to_owned(), ..Source::default() };
        let recorder =
            EventRecorder::new(Arc::clone(&client), source, clock.clone(), random.fork());
        let (profile, waiting) = (profile.into(), WaitingPods::default());
        Self { profile, client, clock, random, waiting, informers, recorder }
    }

    /// The same, with informers that somebody else runs.
    #[must_use]
    pub fn with_informers(mut self, informers: Informers) -> Self {
        self.informers = informers;
        self
    }

    /// The scheduler name of the profile.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The cluster.
    #[must_use]
    pub fn client(&self) -> &DynClient {
        &self.client
    }

    /// The wall clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A source of randomness of the profile's own.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// The informers of the scheduler: ask for those of the kinds you need while the plugin is
    /// built, and read from their listers. They run, and have synced, before the first pod is
    /// tried.
    #[must_use]
    pub fn informers(&self) -> &Informers {
        &self.informers
    }

    /// Tells of what happened to objects.
    #[must_use]
    pub fn recorder(&self) -> &EventRecorder {
        &self.recorder
    }

    /// The pods that Permit plugins hold back.
    #[must_use]
    pub fn waiting_pods(&self) -> &WaitingPods {
        &self.waiting
    }
}

/// A plugin at one extension point.
#[derive(Debug)]
pub(crate) struct Plugged<P: ?Sized> {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Arc<P>,
}

type Point<P> = Vec<Plugged<P>>;

/// Where the plugins of a profile are plugged in, in the order they run.
#[derive(Debug, Default)]
pub struct ExtensionPoints {
    pub(crate) current: Option<(Arc<str>, i64)>,
    pub(crate) queue_sort: Point<dyn QueueSortPlugin>,
    pub(crate) pre_enqueue: Point<dyn PreEnqueuePlugin>,
    pub(crate) pre_filter: Point<dyn PreFilterPlugin>,
    pub(crate) filter: Point<dyn FilterPlugin>,
    pub(crate) post_filter: Point<dyn PostFilterPlugin>,
    pub(crate) pre_score: Point<dyn PreScorePlugin>,
    pub(crate) score: Vec<(Plugged<dyn ScorePlugin>, i64)>,
    pub(crate) reserve: Point<dyn ReservePlugin>,
    pub(crate) permit: Point<dyn PermitPlugin>,
    pub(crate) pre_bind: Point<dyn PreBindPlugin>,
    pub(crate) bind: Point<dyn BindPlugin>,
    pub(crate) post_bind: Point<dyn PostBindPlugin>,
    pub(crate) events: Vec<(Arc<str>, Vec<EventRegistration>)>,
}

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident: $point:ident;)*) => {
        impl ExtensionPoints {
            $($(#[$doc])*
            pub fn $name(&mut self, plugin: Arc<dyn $point>) {
                let plugged = Plugged { name: self.name(), plugin };
                self.$name.push(plugged);
            })*
        }
    };
}

points! {
    /// Plugs into QueueSort.
    queue_sort: QueueSortPlugin;
    /// Plugs into PreEnqueue.
    pre_enqueue: PreEnqueuePlugin;
    /// Plugs into PreFilter.
    pre_filter: PreFilterPlugin;
    /// Plugs into Filter.
    filter: FilterPlugin;
    /// Plugs into PostFilter.
    post_filter: PostFilterPlugin;
    /// Plugs into PreScore.
    pre_score: PreScorePlugin;
    /// Plugs into Reserve.
    reserve: ReservePlugin;
    /// Plugs into Permit.
    permit: PermitPlugin;
    /// Plugs into PreBind.
    pre_bind: PreBindPlugin;
    /// Plugs into Bind.
    bind: BindPlugin;
    /// Plugs into PostBind.
    post_bind: PostBindPlugin;
}

impl ExtensionPoints {
    /// Plugs into Score, with the profile's weight.
    pub fn score(&mut self, plugin: Arc<dyn ScorePlugin>) {
        let weight = self.current.as_ref().map_or(1, |(_, weight)| *weight);
        let plugged = Plugged { name: self.name(), plugin };
        self.score.push((plugged, weight));
    }

    /// Says which events may help pods that the plugin turned away.
    #[allow(clippy::needless_pass_by_value, reason = "plugged in as at every other point")]
    pub fn enqueue_extensions(&mut self, plugin: Arc<dyn EnqueueExtensions>) {
        let name = self.name();
        self.events.push((name, plugin.events_to_register()));
    }

    fn name(&self) -> Arc<str> {
        self.current.as_ref().map_or_else(|| Arc::from(""), |(name, _)| Arc::clone(name))
    }
}
